package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/disk"
	"faultline/pagemeta"
)

// leanOptions are of a store whose data are a few times its memory.
func leanOptions() *Options {
	return &Options{MemoryBudget: MinMemoryBudget, DirtyBudget: 1 << 20, LogBytes: 4 << 20, SegmentBytes: 1 << 20, CheckpointEvery: -1}
}

// TestDeferred puts, deletes, gets and scans at random in a store that is larger
// than its memory, so that many writes are kept beside leaves, and compares it with
// maps, one for each of several goroutines that write keys of their own: while it is
// used, after a merge, after a crash, after Close.
func TestDeferred(t *testing.T) {
	watchdog(t)
	seed := campaign.Seed(t)
	const writers = 4
	keys, rounds := 10_000, campaign.Scale(t, 4_000)
	if raceEnabled {
		rounds /= 8
	}
	o := leanOptions()
	db := open(t, t.TempDir(), o)
	key := func(w, i int) []byte { return fmt.Appendf(nil, "key%06d", i*writers+w) }
	filler := strings.Repeat("v", 180)
	all := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			want := map[string]string{}
			var b Batch
			for i := range keys {
				k, v := key(w, i), filler+value(uint64(i))
				want[string(k)] = v
				if err := b.Put(k, []byte(v)); err != nil {
					t.Error(err)
				}
				if b.Len() == 100 || i == keys-1 {
					if _, err := db.Apply(&b, Deferred); err != nil {
						t.Error(err)
					}
					b.Reset()
				}
			}
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for n := range rounds {
				k := key(w, rng.IntN(keys))
				switch rng.IntN(8) {
				case 0, 1, 2, 3:
					v := filler[:rng.IntN(len(filler))] + value(uint64(n))
					if err := db.Put(k, []byte(v), Deferred); err != nil {
						t.Error(err)
					}
					want[string(k)] = v
				case 4:
					if err := db.Delete(k, Deferred); err != nil {
						t.Error(err)
					}
					delete(want, string(k))
				case 5, 6:
					got, err := db.Get(k)
					if v, ok := want[string(k)]; string(got) != v || ok == errors.Is(err, ErrNotFound) {
						t.Errorf("%s: %.20q, %v, want %t %.20q", k, got, err, ok, v)
						return
					}
				default:
					if n%16 == 0 && !scanned(t, db, want, w, writers, string(k)) {
						return
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for k, v := range want {
				all[k] = v
			}
		})
	}
	wg.Wait()
	m := db.Metrics()
	t.Logf("%d pages evicted, %d loaded, %d rounds; %+v", m.Pages.Evicted, m.Pages.Loads, m.Flush.Rounds, m.Changes)
	if c := m.Changes; m.Pages.Evicted == 0 || c.Kept == 0 || c.TakenIn == 0 || c.TakenIn > c.Kept {
		t.Error("everything was in memory")
	}
	wantSame(t, contents(t, db), all)
	for i := range 2000 { // some stay beside their leaves when the cut is made
		k := key(i%writers, i*7919%keys)
		all[string(k)] = filler
		if err := db.Put(k, []byte(filler), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.flusher.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if some, _ := db.tree.Deferring(); !some {
		t.Error("nothing is beside a leaf")
	}
	if err := db.WaitDurable(context.Background(), db.LSN()); err != nil {
		t.Fatal(err)
	}
	wantSame(t, contents(t, open(t, crashed(t, db), o)), all)
	if n := db.Len(); n != uint64(len(all)) {
		t.Errorf("%d keys, want %d", n, len(all))
	}
	if _, err := db.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	wantSame(t, contents(t, db), all)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, db.dir, o)
	wantSame(t, contents(t, again), all)
	if n := again.Metrics().Keys; n != uint64(len(all)) {
		t.Errorf("%d keys after Close, want %d", n, len(all))
	}
}

// scanned compares some keys of writer w, from k on, with want.
func scanned(t *testing.T, db *DB, want map[string]string, w, writers int, k string) bool {
	it, err := db.NewIterator(nil)
	if err != nil {
		t.Error(err)
		return false
	}
	defer it.Close()
	n := 0
	for ok := it.SeekGE([]byte(k)); ok && n < 200; ok = it.Next() {
		var i int
		if _, err := fmt.Sscanf(string(it.Key()), "key%06d", &i); err != nil {
			t.Error(err)
			return false
		}
		if i%writers != w {
			continue
		}
		n++
		if v, there := want[string(it.Key())]; !there || v != string(it.Value()) {
			t.Errorf("scan: %s is %.20q, want %t %.20q", it.Key(), it.Value(), there, v)
			return false
		}
	}
	if err := it.Err(); err != nil {
		t.Error(err)
		return false
	}
	return true
}

// TestBatchBeside makes a batch of writes all over a store that is larger than its
// memory: they must be kept beside their leaves, and not have them read.
func TestBatchBeside(t *testing.T) {
	watchdog(t)
	const keys, writes = 100_000, 2000
	db := open(t, t.TempDir(), leanOptions())
	key := func(i int) []byte { return fmt.Appendf(nil, "key%06d", i) }
	filler := []byte(strings.Repeat("v", 150))
	var b Batch
	for i := range keys {
		if err := b.Put(key(i), filler); err != nil {
			t.Fatal(err)
		}
		if b.Len() == 1000 {
			if _, err := db.Apply(&b, Deferred); err != nil {
				t.Fatal(err)
			}
			b.Reset()
		}
	}
	if err := db.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 1))
	for range writes {
		if err := b.Put(key(rng.IntN(keys)), filler); err != nil {
			t.Fatal(err)
		}
	}
	before := db.Metrics().Pages.Loads
	if _, err := db.Apply(&b, Deferred); err != nil {
		t.Fatal(err)
	}
	if loads := db.Metrics().Pages.Loads - before; loads > writes/4 {
		t.Errorf("%d pages loaded for %d writes", loads, writes)
	}
}

// TestSickZone fills the memory for changes while one leaf with changes cannot be
// read. The others must be merged, so that memory comes free again, and that leaf when
// it can be read.
func TestSickZone(t *testing.T) {
	watchdog(t)
	const keys = 100_000
	s := &sickFS{FS: disk.OS}
	o := leanOptions()
	o.fs, o.noHelper, o.LogBytes = s, true, 1<<30
	db := open(t, t.TempDir(), o)
	key := func(i int) []byte { return fmt.Appendf(nil, "key%06d", i%keys) }
	filler := []byte(strings.Repeat("v", 150))
	for i := range keys {
		if err := db.Put(key(i), filler, Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i += 7919 { // until there is little room for more
		if err := db.Put(key(i), filler[:100], Deferred); err != nil {
			t.Fatal(err)
		}
		if _, full := db.tree.Deferring(); full {
			break
		}
	}
	zone, _ := db.tree.Fullest(0)
	leaf := db.tree.Leaves(zone)[0]
	s.bad.Store(&sector{filepath.Join(db.dir, "data"), int64(leaf) * pagemeta.PageBytes, syscall.EIO})
	db.merger.wake()
	for db.Metrics().MergeErrors == 0 {
		runtime.Gosched()
	}
	if _, full := db.tree.Deferring(); full {
		t.Error("nothing was merged but the zone of a leaf that cannot be read")
	}
	if err := db.merge(context.Background()); !errors.Is(err, syscall.EIO) {
		t.Errorf("merge: %v", err)
	}
	s.bad.Store(nil)
	if err := db.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	if some, _ := db.tree.Deferring(); some {
		t.Error("changes are left beside leaves")
	}
}
