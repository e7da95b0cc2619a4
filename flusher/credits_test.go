package flusher

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"faultline/internal/disk"
)

// TestPace checks that the pause of a writer grows as credits run short, from
// none at a quarter to the longest at none, and no further.
func TestPace(t *testing.T) {
	const total = 1000
	last := time.Duration(0)
	for free := int64(total); free >= -10; free-- {
		d := pace(free, total)
		switch {
		case free >= total/paceShare && d != 0:
			t.Fatalf("%d of %d free: pause of %v", free, total, d)
		case d < last || d > paceMax:
			t.Fatalf("%d of %d free: pause of %v after %v", free, total, d, last)
		}
		last = d
	}
	if last != paceMax {
		t.Fatalf("none free: pause of %v, want %v", last, paceMax)
	}
	if d := pace(0, 2); d != 0 {
		t.Fatalf("total too small to pace: %v", d)
	}
}

// TestOwe has writers share what they owe: no pause is lost, none is made twice, and none
// is shorter than pays.
func TestOwe(t *testing.T) {
	const writers, each, due = 4, 1000, 30 * time.Microsecond
	var c credits
	var made [writers]time.Duration
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range each {
				d := c.owe(due)
				if d != 0 && d < paceLeast {
					t.Errorf("pause of %v", d)
				}
				made[i] += d
			}
		})
	}
	wg.Wait()
	sum := time.Duration(c.owed.Load())
	for _, d := range made {
		sum += d
	}
	if sum != writers*each*due {
		t.Errorf("%v of pauses for %v that were due", sum, writers*each*due)
	}
}

// TestAwaitCredits has an operation want what only the end of another gives
// back, at every level of what is free: it must not wait on once that is there.
func TestAwaitCredits(t *testing.T) {
	for held := 1; held <= 64; held++ {
		f := &Flusher{Config: Config{FS: disk.OS}, kick: make(chan struct{}, 1)}
		f.credits.init(64)
		f.gate.init()
		f.credits.used.Add(int64(held)) // dirty pages
		var wg sync.WaitGroup
		wg.Go(func() {
			n, err := f.Begin(context.Background(), 32, 1)
			if err != nil {
				t.Error(err)
				return
			}
			f.End(n, 1)
		})
		f.credits.give(held) // a round has written them
		wg.Wait()
		if free := f.credits.free(); free != 64 {
			t.Fatalf("%d credits at the end, want 64", free)
		}
	}
}

// TestAwaitCreditsEnds has an operation wait for credits that never come, until
// its context ends, or the flusher stops: it must return that error, with all
// that it took given back.
func TestAwaitCreditsEnds(t *testing.T) {
	f := &Flusher{kick: make(chan struct{}, 1)}
	f.credits.init(64)
	f.gate.init()
	f.credits.used.Add(64)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Begin(ctx, 8, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("begin with a context that has ended: %v", err)
	}
	cause := errors.New("cause")
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := f.Begin(context.Background(), 8, 0); !errors.Is(err, ErrStopped) || !errors.Is(err, cause) {
			t.Errorf("begin on a stopped flusher: %v", err)
		}
	})
	f.Stop(cause)
	wg.Wait()
	if free := f.credits.free(); free != 0 {
		t.Fatalf("%d credits, want 0", free)
	}
	select {
	case <-f.kick:
	default:
		t.Fatal("no round was asked for")
	}
}

// TestTakeMeanwhile has two operations try for what only one of them can have,
// again and again: the one that can must get it every time, though the other
// fails at the same moment.
func TestTakeMeanwhile(t *testing.T) {
	var c credits
	c.init(100)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if c.take(101, 0) {
					t.Error("took 101 of 100")
					return
				}
			}
		}
	})
	for i := range 200_000 {
		if !c.take(100, 0) {
			t.Errorf("try %d: 100 of 100 refused", i)
			break
		}
		c.give(100)
	}
	close(stop)
	wg.Wait()
}
