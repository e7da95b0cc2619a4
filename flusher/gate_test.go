package flusher

import (
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faultline/pagemeta"
)

// watchdog ends the process with the stacks of all goroutines if the test has
// not ended in time.
func watchdog(t testing.TB) {
	dog := time.AfterFunc(2*time.Minute, func() {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		panic("watchdog: " + t.Name() + " hangs")
	})
	t.Cleanup(func() { dog.Stop() })
}

// TestGate has goroutines go in and out of a gate on all its shards, while others
// close and open it. Who has closed it looks, without a lock, whether anybody is
// inside: a plain variable that those inside change would be a race, and a count
// of them must be zero and stay so. All must come to an end: a wake-up that is
// lost would leave one waiting, and the watchdog barks. The control is that the
// count is often not zero when somebody looks without closing the gate.
func TestGate(t *testing.T) {
	watchdog(t)
	const goers, closers, times = 12, 3, 400
	var g gate
	g.init()
	var inside, seen atomic.Int64
	exclusive := 0 // by closers
	var wg sync.WaitGroup
	for i := range goers {
		wg.Go(func() {
			for n := range times {
				shard := uint64(i * n)
				g.enter(shard)
				inside.Add(1)
				_ = exclusive // the race detector looks
				if n%4 == 0 {
					runtime.Gosched()
				}
				inside.Add(-1)
				g.leave(shard)
			}
		})
	}
	for range closers {
		wg.Go(func() {
			for n := range times {
				if n%8 == 0 {
					runtime.Gosched()
				}
				seen.Add(inside.Load())
				g.close()
				exclusive++
				for range 3 {
					if n := inside.Load(); n != 0 {
						t.Errorf("%d inside a closed gate", n)
					}
					runtime.Gosched()
				}
				g.open()
			}
		})
	}
	wg.Wait()
	if exclusive != closers*times {
		t.Errorf("closed %d times, want %d", exclusive, closers*times)
	}
	if g.inside() != 0 || g.shut.Load() {
		t.Errorf("at the end %d are inside, shut %t", g.inside(), g.shut.Load())
	}
	if seen.Load() == 0 {
		t.Error("nobody was ever inside: the test shows nothing")
	}
}

// TestSlotOf looks for every page of a cut with gaps.
func TestSlotOf(t *testing.T) {
	var cut []pagemeta.FrozenPage
	for id := pagemeta.PageID(0); id < 300; id += 1 + id%7 {
		cut = append(cut, pagemeta.FrozenPage{ID: id})
		for slot, p := range cut {
			if got := slotOf(cut, p.ID); got != slot {
				t.Fatalf("page %d of a cut of %d has slot %d, want %d", p.ID, len(cut), got, slot)
			}
		}
	}
}
