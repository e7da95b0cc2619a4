package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

func compactOptions(m *memdisk.FS) *Options {
	return &Options{
		MemoryBudget:    32 << 20,
		DirtyBudget:     4 << 20,
		LogBytes:        1 << 20,
		SegmentBytes:    256 << 10,
		CheckpointEvery: -1,
		fs:              m,
	}
}

// sizes returns the bytes of the data file and of rounds.
func sizes(m *memdisk.FS) (data, rounds int) {
	return len(m.Bytes("/d/data")), len(m.Bytes("/d/rounds"))
}

// TestShrink fills a store with several groups of pages' worth of data and deletes all of
// it: a round must make the files short again, without Compact, but leave some room. Then
// most of it is deleted here and there: Compact must bring the files down to what is in use,
// in the open store and after a crash, and they must grow again.
func TestShrink(t *testing.T) {
	watchdog(t)
	m := memdisk.New()
	db := open(t, "/d", compactOptions(m))
	value, n := strings.Repeat("v", 1900), 10_000
	if raceEnabled {
		n = 6000
	}
	want := map[string]string{}
	fill := func() {
		t.Helper()
		for i := range n {
			key := fmt.Sprintf("%07d", i)
			if err := db.Put([]byte(key), []byte(value), Deferred); err != nil {
				t.Fatal(err)
			}
			want[key] = value
		}
	}
	remove := func(which string) { // by the third digit from the end: neighbours go together
		t.Helper()
		for key := range want {
			if strings.Contains(which, key[4:5]) {
				if err := db.Delete([]byte(key), Deferred); err != nil {
					t.Fatal(err)
				}
				delete(want, key)
			}
		}
		if err := db.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	full, _ := sizes(m)
	remove("0123456789")
	data, _ := sizes(m)
	if full < n*2000 || data > 5<<20 || data < 4<<20 {
		t.Errorf("%d bytes, %d after all was deleted", full, data)
	}
	fill()
	remove("0134679")
	before, _ := sizes(m)
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, rounds := sizes(m)
	s := db.tree.State()
	if data != int(s.Pages)*pagemeta.PageBytes || s.Pages-s.Used > s.Used/20+20 || data >= before || rounds > data/1000+pagemeta.PageBytes {
		t.Errorf("%d bytes before, %d after (%d of rounds): %+v", before, data, rounds, s)
	}
	if db.Metrics().Moved == 0 {
		t.Error("nothing was moved")
	}
	check := func(db *DB) {
		t.Helper()
		wantSame(t, contents(t, db), want)
		if _, err := db.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	check(db)
	left := compactOptions(m.Crash(memdisk.Drop, rand.New(rand.NewPCG(1, 1))))
	check(open(t, "/d", left))
	fill()
	check(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, "/d", compactOptions(m))
	check(db)
}

// TestCompactCrowd runs Compact again and again beside readers, writers and rounds. Each
// writer must read what it has written, readers and iterators see keys in order and no
// value of another key, and at the end everything must be there, also after a crash.
func TestCompactCrowd(t *testing.T) {
	t.Run("in memory", func(t *testing.T) { compactCrowd(t, compactOptions) })
	t.Run("evicted", func(t *testing.T) { // changes are kept beside leaves, too
		compactCrowd(t, func(m *memdisk.FS) *Options {
			o := compactOptions(m)
			o.MemoryBudget, o.DirtyBudget = MinMemoryBudget, 1<<20
			return o
		})
	})
}

func compactCrowd(t *testing.T, options func(m *memdisk.FS) *Options) {
	watchdog(t)
	seed := campaign.Seed(t)
	m := memdisk.New()
	db := open(t, "/d", options(m))
	const keys, writers = 2500, 3
	turns := 6000
	if raceEnabled {
		turns = 1500
	}
	var wants [writers]map[string]string
	var over atomic.Bool
	var wg, others sync.WaitGroup
	for w := range writers {
		want := map[string]string{}
		wants[w] = want
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for turn := range turns {
				n := rng.IntN(keys)
				name := func(n int) string { return fmt.Sprintf("%d/%05d", w, n) }
				key := name(n)
				var b Batch
				var err error
				if cycle := turns / 3; turn%cycle < cycle*19/20 { // it grows for some time, and then shrinks fast
					want[key] = strings.Repeat(key, 1+rng.IntN(450))
					err = b.Put([]byte(key), []byte(want[key]))
				} else {
					for i := range 30 {
						delete(want, name(n+i))
						err = errors.Join(err, b.Delete([]byte(name(n+i))))
					}
				}
				if err == nil {
					_, err = db.Apply(&b, Deferred)
				}
				if err != nil {
					t.Error(err)
					return
				}
				got, err := db.Get([]byte(key))
				if string(got) != want[key] || err != nil && !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: %.40q, %v, want %.40q", key, got, err, want[key])
					return
				}
			}
		})
	}
	others.Go(func() {
		for !over.Load() {
			last := ""
			for item, err := range db.All() {
				if err != nil || string(item.Key) <= last || !strings.HasPrefix(string(item.Value), string(item.Key)) {
					t.Errorf("%q after %q: %.40q, %v", item.Key, last, item.Value, err)
					return
				}
				last = string(item.Key)
			}
		}
	})
	compacted, interrupted := 0, 0
	others.Go(func() {
		for turn := 0; !over.Load(); turn++ {
			ctx, cancel := context.WithCancel(t.Context())
			if turn%3 == 2 {
				go cancel() // at once, or soon
			}
			switch err := db.Compact(ctx); {
			case err == nil:
				compacted++
			case errors.Is(err, context.Canceled) && ctx.Err() != nil:
				interrupted++
			default:
				t.Error(err)
			}
			cancel()
		}
	})
	wg.Wait()
	over.Store(true)
	others.Wait()
	want := map[string]string{}
	for _, w := range wants {
		for k, v := range w {
			want[k] = v
		}
	}
	if err := db.WaitDurable(t.Context(), db.LSN()); err != nil {
		t.Fatal(err)
	}
	left := options(m.Crash(memdisk.Drop, rand.New(rand.NewPCG(seed, 9))))
	for _, db := range []*DB{db, open(t, "/d", left)} {
		wantSame(t, contents(t, db), want)
		if _, err := db.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d times compacted, %d interrupted, %d pages moved, %d evicted", compacted, interrupted, db.Metrics().Moved, db.Metrics().Pages.Evicted)
	if compacted == 0 || db.Metrics().Moved == 0 {
		t.Error("nothing was compacted")
	}
}

// TestCompactValues puts long values and short ones between them, deletes most of both,
// and compacts, while one key gets other values and another is read: what is left must
// be right, and the file short, also after a crash.
func TestCompactValues(t *testing.T) {
	watchdog(t)
	seed := campaign.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	m := memdisk.New()
	db := open(t, "/d", compactOptions(m))
	want := map[string]string{}
	long := func(n int) string {
		return strings.Repeat(fmt.Sprintf("%09d.", n), 1000+rng.IntN(100_000))
	}
	for i := range 60 {
		key := fmt.Sprintf("long%03d", i)
		want[key] = long(i)
		if err := db.Put([]byte(key), []byte(want[key]), Deferred); err != nil {
			t.Fatal(err)
		}
		for j := range 30 {
			key := fmt.Sprintf("short%03d/%d", i, j)
			want[key] = strings.Repeat("s", 1000)
			if err := db.Put([]byte(key), []byte(want[key]), Deferred); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key := range want {
		if key < "long045" || key > "m" && key < "short050" {
			if err := db.Delete([]byte(key), Deferred); err != nil {
				t.Fatal(err)
			}
			delete(want, key)
		}
	}
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, _ := sizes(m)
	var over atomic.Bool
	var wg sync.WaitGroup
	read, written := want["long055"], want["long050"]
	wg.Go(func() {
		for i := 0; !over.Load() && i < 20; i++ {
			written = long(i)
			if err := db.Put([]byte("long050"), []byte(written), Async); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for !over.Load() {
			if v, err := db.Get([]byte("long055")); err != nil || string(v) != read {
				t.Errorf("%d bytes, %v", len(v), err)
				return
			}
		}
	})
	for range 2 {
		if err := db.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	over.Store(true)
	wg.Wait()
	want["long050"] = written
	for range 3 { // what the last writes have freed must cool down before a value goes there
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	data, _ := sizes(m)
	s := db.tree.State()
	if int(s.Pages) > int(s.Used)*5/4+50 || data != int(s.Pages)*pagemeta.PageBytes {
		t.Errorf("%d bytes before, %d after: %+v", before, data, s)
	}
	for _, db := range []*DB{db, open(t, "/d", compactOptions(m.Crash(memdisk.Drop, rng)))} {
		wantSame(t, contents(t, db), want)
		if _, err := db.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d bytes before, %d after, %d pages moved", before, data, db.Metrics().Moved)
}
