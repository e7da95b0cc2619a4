package store

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"faultline/internal/memdisk"
)

// TestSameKeys has four writers put the same keys at the same time, in batches, then other
// ones, and kills the process. What was read last of each key must be found again: the log
// has the writes of a key in the order of the tree.
func TestSameKeys(t *testing.T) {
	watchdog(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // a writer is preempted wherever it is
	const rounds, writers, keys = 500, 4, 20
	m := memdisk.New()
	o := crowdOptions(m, false)
	o.LogBytes = 1 << 30
	db := open(t, "/d", o)
	for round := range rounds {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				var b Batch
				for i := range keys {
					if err := b.Put(fmt.Appendf(nil, "%d/%d", round, i), fmt.Appendf(nil, "of writer %d", w)); err != nil {
						t.Error(err)
					}
				}
				if _, err := db.Apply(&b, Async); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	want := contents(t, db)
	if len(want) != rounds*keys {
		t.Errorf("%d keys, want %d", len(want), rounds*keys)
	}
	left := *o
	left.fs = m.Crash(memdisk.Kill, nil)
	wantSame(t, contents(t, open(t, "/d", &left)), want)
}

// TestRefused puts into a full store until ErrFull, and kills the process. The write that
// was refused must not be in the log: it would be made at Open, or keep the store from
// opening.
func TestRefused(t *testing.T) {
	m := memdisk.New()
	o := &Options{MemoryBudget: MinMemoryBudget, DirtyBudget: 2 << 20, LogBytes: 1 << 30, CheckpointEvery: -1, fs: m}
	db := open(t, "/d", o)
	want := map[string]string{}
	value := strings.Repeat("v", 1500)
	for i := 0; ; i++ {
		key := fmt.Sprintf("%06d", i)
		err := db.Put([]byte(key), []byte(value), Async)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want[key] = value
	}
	if err := db.WaitWritten(db.LSN()); err != nil {
		t.Fatal(err)
	}
	left := *o
	left.fs = m.Crash(memdisk.Kill, nil)
	wantSame(t, contents(t, open(t, "/d", &left)), want)
}

// TestTrimmed writes many segments of log while a round puts its pages in place, so that
// the log is trimmed far behind its end, and more after it, which goes into the segments that
// were trimmed. After a kill all of it must be there.
func TestTrimmed(t *testing.T) {
	watchdog(t)
	m := memdisk.New()
	o := crowdOptions(m, false)
	o.SegmentBytes, o.LogBytes = 8<<10, 1<<20
	db := open(t, "/d", o)
	want := map[string]string{}
	put := func() {
		for i := range 50 {
			key, value := fmt.Sprint(len(want)), strings.Repeat("v", 1000+i)
			if err := db.Put([]byte(key), []byte(value), Sync); err != nil {
				t.Error(err)
			}
			want[key] = value
		}
	}
	put()
	var once sync.Once
	m.Hook = func(op, path string) error {
		if op == "sync" && path == "/d/data" {
			once.Do(put)
		}
		return nil
	}
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Hook = nil
	for range 3 {
		put()
	}
	if n := db.Metrics().Log.Recycled; n < 5 || len(want) != 250 {
		t.Errorf("%d keys, %d trimmed segments used again: the test shows nothing", len(want), n)
	}
	left := *o
	left.fs = m.Crash(memdisk.Kill, nil)
	wantSame(t, contents(t, open(t, "/d", &left)), want)
}
