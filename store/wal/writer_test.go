package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
)

// TestLeader stops the leader inside its fdatasync and looks at what the others
// can do: Append and Write go on, a follower leaves when its context ends, and
// one that stays is served by the next group.
func TestLeader(t *testing.T) {
	m := memdisk.New()
	l := mustOpen(t, testOptions(m))
	mustSync(t, l, mustAppend(t, l, "makes the segment"))

	inSync, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.SetHook(func(op, path string) error {
		if op == "sync" {
			once.Do(func() {
				close(inSync)
				<-goOn
			})
		}
		return nil
	})
	a := mustAppend(t, l, "a")
	leader, follower := make(chan error, 1), make(chan error, 1)
	go func() { leader <- l.Sync(context.Background(), a) }()
	<-inSync

	b := mustAppend(t, l, "b")
	if err := l.Write(b); err != nil {
		t.Error(err)
	}
	if l.Written() < b || l.Durable() >= a {
		t.Errorf("written %d, durable %d", l.Written(), l.Durable())
	}
	appended := l.Appended()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Sync(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("follower with a context that has ended: %v", err)
	}
	go func() { follower <- l.Sync(context.Background(), b) }()
	close(goOn)
	if err := errors.Join(<-leader, <-follower); err != nil {
		t.Error(err)
	}
	if l.Durable() != appended || l.Appended() != appended {
		t.Errorf("durable %d, appended %d, want %d: no mark alone", l.Durable(), l.Appended(), appended)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestGroup has followers that all come during one sync: one more sync must be
// enough for all of them.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memdisk.New()
		l := mustOpen(t, testOptions(m))
		mustSync(t, l, mustAppend(t, l, "makes the segment"))
		syncs := 0
		m.SetHook(func(op, path string) error {
			if op == "sync" {
				syncs++
				time.Sleep(time.Second) // of the bubble: until all others wait
			}
			return nil
		})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				mustSync(t, l, mustAppend(t, l, fmt.Sprint(i)))
			})
		}
		wg.Wait()
		if syncs > 2 {
			t.Errorf("%d syncs for 20 commits at once", syncs)
		}
	})
}

// TestClose closes a log with a helper that has made segments: what was appended
// is durable, the helper has ended (synctest waits for it), and every call says
// ErrClosed.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memdisk.New()
		o := testOptions(m)
		o.NoHelper = false
		l := mustOpen(t, o)
		for i := range 40 {
			end := mustAppend(t, l, fmt.Sprintf("%0500d", i))
			if err := l.Write(end); err != nil {
				t.Fatal(err)
			}
		}
		end := l.Appended()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l.Durable() < end {
			t.Errorf("durable %d, appended %d", l.Durable(), end)
		}
		_, err := l.Append(nil)
		_, replayErr := l.Replay(0, nil)
		for _, err := range []error{err, replayErr, l.Write(end), l.Sync(context.Background(), end), l.Trim(end), l.Close()} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		if _, got := replayAll(t, testOptions(m.Crash(memdisk.Drop, nil)), 0); len(got) != 40 {
			t.Errorf("%d records found", len(got))
		}
	})
}

// TestAppendLimits checks MaxPayload and the bound of the buffer.
func TestAppendLimits(t *testing.T) {
	m := memdisk.New()
	o := testOptions(m)
	o.SegmentBytes, o.BufferBytes = 1<<20, 1000
	l := mustOpen(t, o)
	if _, err := l.Append(make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("MaxPayload+1: %v", err)
	}
	for range 100 {
		mustAppend(t, l, "some text")
		if n := l.Appended() - l.Written(); n > 1000+markBytes {
			t.Fatalf("%d bytes are in memory", n)
		}
	}
	big := make([]byte, MaxPayload)
	big[MaxPayload-1] = 1
	if _, err := l.Append(big); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, got := replayAll(t, o, 0)
	if len(got) != 101 || !bytes.Equal([]byte(got[100]), big) {
		t.Errorf("%d records found", len(got))
	}
}

// TestReadOnly checks that a log opened read-only changes nothing and refuses
// what would.
func TestReadOnly(t *testing.T) {
	m := memdisk.New()
	o := testOptions(m)
	o.ReadOnly = true
	l, got := replayAll(t, o, 0) // of a directory that is not there
	if len(got) > 0 || l.Close() != nil {
		t.Errorf("found %q", got)
	}
	w := mustOpen(t, testOptions(m))
	mustSync(t, w, mustAppend(t, w, "x"))
	m.SetHook(func(op, path string) error {
		t.Errorf("%s %s", op, path)
		return nil
	})
	l, got = replayAll(t, o, 0)
	_, err := l.Append(nil)
	if len(got) != 1 || !errors.Is(err, ErrReadOnly) || !errors.Is(l.Trim(24), ErrReadOnly) {
		t.Errorf("found %q, Append: %v", got, err)
	}
	if err := l.Sync(context.Background(), 24); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestYielder goes through what a yielder is told, and when it yields next.
func TestYielder(t *testing.T) {
	var y yielder
	y.sync = 100 * time.Microsecond
	for _, step := range []struct {
		took time.Duration
		skip int
	}{
		{50 * time.Microsecond, 0},
		{longYield, 0},
		{longYield + 1, minSkip},
		{time.Second, 2 * minSkip},
		{time.Second, 4 * minSkip},
		{0, 0},
		{time.Second, minSkip},
	} {
		y.skip = 0
		if y.yielded(step.took); y.skip != step.skip {
			t.Errorf("yield of %v: skip %d, want %d", step.took, y.skip, step.skip)
		}
	}
	for range 20 {
		y.yielded(time.Second)
	}
	if y.skip != maxSkip {
		t.Errorf("skip %d, want %d", y.skip, maxSkip)
	}
	y.sync = time.Second
	if y.yielded(time.Second); y.back != 0 {
		t.Error("a yield as long as a sync is too long")
	}
}

// TestDisk runs a log on the real file system, over many segments, with eight
// goroutines, trims and a helper, and reads it again.
func TestDisk(t *testing.T) {
	o := Options{FS: disk.OS, Dir: filepath.Join(t.TempDir(), "wal"), SegmentBytes: 1 << 16, Salt: testSalt}
	l := mustOpen(t, o)
	var mu sync.Mutex
	var from LSN // of the last trim
	records := map[LSN]string{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				payload := fmt.Sprintf("%d/%0300d", g, i)
				end, err := l.Append([]byte(payload))
				mu.Lock()
				records[end] = payload
				mu.Unlock()
				if err == nil && i%8 == 0 {
					err = l.Sync(context.Background(), end)
				}
				if err == nil && i%80 == 40 {
					mu.Lock()
					from = max(from, end)
					mu.Unlock()
					err = l.Trim(end)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	m := l.Metrics()
	if m.Appends != 1600 || m.Recycled == 0 || m.Syncs == 0 || m.SyncTime == 0 {
		t.Errorf("metrics %+v", m)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	end := l.Appended()
	var want []string
	for _, at := range slices.Sorted(maps.Keys(records)) {
		if at > from {
			want = append(want, records[at])
		}
	}
	l, got := replayAll(t, o, from)
	if l.Appended() != end || !slices.Equal(got, want) {
		t.Errorf("%d records found, end %d; want %d, end %d", len(got), l.Appended(), len(want), end)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
