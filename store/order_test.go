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

// TestSameKey has four writers put the same key at the same time, one key after the
// other, and kills the process. What was read last of each key must be found again: the
// log has the writes of a key in the order of the tree.
func TestSameKey(t *testing.T) {
	watchdog(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // a writer is preempted wherever it is
	const keys, writers = 3000, 4
	m := memdisk.New()
	o := crowdOptions(m, false)
	o.LogBytes = 1 << 30
	db := open(t, "/d", o)
	key := func(i int) []byte { return fmt.Appendf(nil, "key %d", i) }
	var want [keys]string
	for i := range keys {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				if err := db.Put(key(i), fmt.Appendf(nil, "of writer %d", w), Async); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		value, err := db.Get(key(i))
		if err != nil {
			t.Fatal(err)
		}
		want[i] = string(value)
	}
	left := m.Crash(memdisk.Kill, nil)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, "/d", crowdOptions(left, false))
	for i := range keys {
		if got, err := db.Get(key(i)); err != nil || string(got) != want[i] {
			t.Errorf("%s is %q, %v; it was %q before the crash", key(i), got, err, want[i])
		}
	}
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
// the log is trimmed far behind its end, and as many again, which go into the segments that
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
	put()
	if db.Metrics().Log.Recycled == 0 || len(want) != 150 {
		t.Errorf("%d keys, no trimmed segment used again: the test shows nothing", len(want))
	}
	left := *o
	left.fs = m.Crash(memdisk.Kill, nil)
	wantSame(t, contents(t, open(t, "/d", &left)), want)
}
