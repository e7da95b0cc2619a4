package store

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
)

// TestReplayCut has rounds in the middle of windows of a replay, since the log is of more
// leaves than may be dirty, and crashes there. What is found then must be what was
// written. The log has all kinds of records, and keys with many writes.
func TestReplayCut(t *testing.T) {
	t.Run("one goroutine", func(t *testing.T) { replayCut(t, true, MinMemoryBudget) })
	t.Run("several", func(t *testing.T) { replayCut(t, false, MinMemoryBudget) })
	t.Run("in memory", func(t *testing.T) { replayCut(t, true, 64<<20) }) // else a cut is as old as what is kept beside leaves
}

func replayCut(t *testing.T, alone bool, memory int64) {
	r := rand.New(rand.NewPCG(campaign.Seed(t), 1))
	o := &Options{MemoryBudget: 256 << 20, LogBytes: 1 << 30, CheckpointEvery: -1, noHelper: alone, fs: memdisk.New()}
	db := open(t, filmDir, o)
	want := map[string]string{}
	writeMuch(t, db, r, want)
	m := db.opts.fs.(*memdisk.FS).Crash(memdisk.Drop, nil)
	kill(db)

	// A frame for some of the calls that the rounds of the recovery make.
	var mu sync.Mutex
	var frames []*memdisk.FS
	calls := 0
	m.SetHook(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%50 == 0 && len(frames) < 10 {
			frames = append(frames, m.Crash(memdisk.Kill, nil))
		}
		return nil
	})
	o.fs, o.MemoryBudget, o.DirtyBudget = m, memory, minCredits*4096
	db = open(t, filmDir, o)
	m.SetHook(nil)
	rounds := db.Metrics().Flush.Rounds
	sameContents(t, db, want)
	kill(db)
	if rounds < 3 || len(frames) < 3 {
		t.Fatalf("%d rounds, %d crashes", rounds, len(frames))
	}
	for i, f := range frames[:min(len(frames), campaign.Scale(t, 30))] {
		o.fs = f.Crash([]memdisk.Loss{memdisk.Drop, memdisk.Keep, memdisk.Torn}[i%3], r)
		db := open(t, filmDir, o)
		sameContents(t, db, want)
		kill(db)
	}
}

// writeMuch makes a store with some hundred leaves, and then a log of all kinds of records,
// which is durable.
func writeMuch(t *testing.T, db *DB, r *rand.Rand, want map[string]string) {
	t.Helper()
	const keys = 8000
	key := func() []byte { return fmt.Appendf(nil, "key%09d", r.IntN(keys)) }
	put := func(b *Batch, key []byte, bytes int) {
		value := make([]byte, bytes)
		for i := range value {
			value[i] = byte(r.Uint32())
		}
		must(t, b.PutExpiring(key, value, []time.Time{{}, time.Now().Add(time.Hour)}[r.IntN(2)]))
		want[string(key)] = string(value)
	}
	apply := func(b *Batch) {
		_, err := db.Apply(b, Deferred)
		must(t, err)
		b.Reset()
	}
	var b Batch
	for i := range keys {
		if put(&b, fmt.Appendf(nil, "key%09d", i), 120); b.Len() == 100 {
			apply(&b)
		}
	}
	must(t, db.Checkpoint(t.Context()))
	for i := range 12000 {
		switch n := r.IntN(2000); {
		case n == 0:
			lower := key()
			upper := append(slices.Clone(lower), '9')
			_, err := db.DeleteRange(t.Context(), lower, upper, Deferred)
			must(t, err)
			maps.DeleteFunc(want, func(key, _ string) bool { return string(lower) <= key && key < string(upper) })
		case n == 1:
			put(&b, key(), 6000)
			apply(&b)
		case n < 300:
			k := key()
			must(t, b.Delete(k))
			delete(want, string(k))
		case n < 500:
			must(t, b.SetExpiry(key(), time.Now().Add(time.Minute*time.Duration(1+r.IntN(100)))))
		default:
			put(&b, key(), r.IntN(200))
		}
		if b.Len() > i%5 {
			apply(&b)
		}
	}
	apply(&b)
	must(t, db.WaitDurable(context.Background(), db.LSN()))
}

// sameContents checks that db has what it should have, and the index of what expires.
func sameContents(t *testing.T, db *DB, want map[string]string) {
	t.Helper()
	if got := contents(t, db); !maps.Equal(got, want) {
		for k, v := range want {
			if g, ok := got[k]; g != v {
				t.Fatalf("%s: %d bytes (%v), want %d", k, len(g), ok, len(v))
			}
		}
		t.Fatalf("%d keys, want %d", len(got), len(want))
	}
	if _, err := checkIndex(db); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLocateAll splits leaves while the leaves of a window are looked for, in which each key
// has two writes far apart: they must come to one leaf.
func TestLocateAll(t *testing.T) {
	const keys = 20_000
	db := open(t, t.TempDir(), &Options{CheckpointEvery: -1})
	key := func(i int) []byte { return fmt.Appendf(nil, "key%05d", i) }
	w := newWindow(0)
	for n := range 2 * keys {
		var b Batch
		if err := b.Put(key(n%keys), nil); err != nil {
			t.Fatal(err)
		}
		if err := b.collect(db); err != nil {
			t.Fatal(err)
		}
		if short, err := w.add(b.data); !short || err != nil {
			t.Fatal(short, err)
		}
	}
	var splits sync.WaitGroup
	begun := make(chan struct{})
	var ended atomic.Bool
	splits.Go(func() {
		defer ended.Store(true)
		for i := range keys {
			if i == 100 {
				close(begun)
			}
			if err := db.Put(key(i*7919%keys), make([]byte, 200), Deferred); err != nil {
				t.Error(err)
				return
			}
		}
	})
	<-begun
	for again := true; again; {
		again = !ended.Load()
		if err := db.locateAll(w, 1); err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			if a, b := w.writes[i].at.Leaf(), w.writes[i+keys].at.Leaf(); a != b {
				t.Fatalf("two writes of key %d are for leaves %d and %d", i, a, b)
			}
		}
	}
	splits.Wait()
}
