package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/memdisk"
)

// holdLog stops the next write of the log: full is closed by then, and the write goes on
// when room is.
func holdLog(m *memdisk.FS) (full, room chan struct{}) {
	full, room = make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.SetHook(func(op, path string) error {
		if op == "write" && strings.HasSuffix(path, ".log") {
			once.Do(func() {
				close(full)
				<-room
			})
		}
		return nil
	})
	return full, room
}

// TestSameKey stops a writer that has changed the tree and waits for room in the log, and
// has another one put the same key meanwhile. After a kill the key must have the value that
// was read before: the log has the writes of a key in the order of the tree. SeenLSN, which
// is called then too, must cover the write that waits, for a reader can see it.
func TestSameKey(t *testing.T) {
	watchdog(t)
	m := memdisk.New()
	o := crowdOptions(m, false)
	o.logBuffer, o.noHelper = 4096, true
	db := open(t, "/d", o)
	put := func(value string) LSN {
		var b Batch
		if err := b.Put([]byte("key"), []byte(value)); err != nil {
			t.Error(err)
		}
		lsn, err := db.Apply(&b, Deferred)
		if err != nil {
			t.Error(err)
		}
		return lsn
	}
	full, room := holdLog(m)
	var wg sync.WaitGroup
	var waits atomic.Int64
	var lsns [5]LSN
	wg.Go(func() {
		for i := range lsns { // one finds the log full
			waits.Store(int64(i))
			lsns[i] = put(strings.Repeat("first", 200))
		}
	})
	<-full
	waiting := waits.Load()
	var over atomic.Int64
	wg.Go(func() {
		put("second")
		over.Add(1)
	})
	var seen LSN
	wg.Go(func() {
		seen = db.SeenLSN()
		over.Add(1)
	})
	for i := 0; i < 100_000 && over.Load() < 2; i++ {
		runtime.Gosched() // both must wait too
	}
	if over.Load() > 0 {
		t.Error("the second writer, or SeenLSN, did not wait for the first")
	}
	close(room)
	wg.Wait()
	if seen < lsns[waiting] {
		t.Errorf("seen LSN %d, the write that was seen ends at %d", seen, lsns[waiting])
	}
	if err := db.WaitWritten(db.LSN()); err != nil {
		t.Fatal(err)
	}
	want := contents(t, db)
	left := *o
	left.fs = m.Crash(memdisk.Kill, nil)
	wantSame(t, contents(t, open(t, "/d", &left)), want)
}

// TestWholeBatch cuts the power while a batch that fills several sectors is on its way to
// the disk. All of it must be there, or nothing; both must happen.
func TestWholeBatch(t *testing.T) {
	found := map[int]int{}
	m := memdisk.New()
	o := crowdOptions(m, false)
	db := open(t, "/d", o)
	var b Batch
	for i := range 3 {
		if err := b.Put(fmt.Appendf(nil, "%d", i), []byte(strings.Repeat("v", 300))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Apply(&b, Async); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(60) {
		left := *o
		left.fs = m.Crash(memdisk.Torn, rand.New(rand.NewPCG(seed, 0)))
		again, err := Open("/d", &left)
		if err != nil {
			t.Fatal(err)
		}
		found[len(contents(t, again))]++
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
	if found[0] == 0 || found[3] == 0 || len(found) != 2 {
		t.Errorf("crashes by how many of 3 writes were found: %v", found)
	}
}

// TestRefused puts into a full store until ErrFull, and kills the process. The write that
// was refused must not be in the log: it would be made at Open, or keep the store from
// opening.
func TestRefused(t *testing.T) {
	m := memdisk.New()
	o := &Options{MemoryBudget: MinMemoryBudget, DirtyBudget: 2 << 20, LogBytes: 1 << 30, CheckpointEvery: -1, fs: m, pages: 1500}
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
	m.SetHook(func(op, path string) error {
		if op == "sync" && path == "/d/data" {
			once.Do(put)
		}
		return nil
	})
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.SetHook(nil)
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

// TestSorted compares both ways in which stripes are put into their order.
func TestSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		list := make([]uint16, n)
		for i := range list {
			list[i] = uint16(r.IntN(stripes))
		}
		want := slices.Clone(list)
		slices.Sort(want)
		want = slices.Compact(want)
		if got := sorted(list); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
