package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
)

// TestSweep clears and drops large keyspaces between others, kills the store in the middle
// of the sweep, and looks whether their pages come back, and whether the others are as
// they were.
func TestSweep(t *testing.T) {
	watchdog(t)
	disk := memdisk.New()
	disk.Maps = true
	o := &Options{fs: disk, MemoryBudget: MinMemoryBudget, DirtyBudget: 1 << 20, noHelper: true, CheckpointEvery: -1}
	db, err := Open(filmDir, o)
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 400)
	fill := func(ks *Keyspace, n int) {
		var b Batch
		for i := range n {
			b.begin(ks)
			v := value
			if i%100 == 0 {
				v = strings.Repeat("l", 9000)
			}
			if err := b.Put(fmt.Appendf(nil, "key%06d", i), []byte(v)); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Apply(&b, Async); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(&db.spaces.main, 50)
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	used := db.tree.State().Used
	for _, name := range []string{"a", "b", "c"} {
		fill(keyspace(t, db, name), 1000)
	}
	kept := entries(t, keyspace(t, db, "b"))
	if err := keyspace(t, db, "a").Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.DropKeyspace("c"); err != nil {
		t.Fatal(err)
	}
	fill(keyspace(t, db, "a"), 3)
	slot, gen := keyspace(t, db, "a").slot, byte(0)
	lower := []byte{slot, gen}
	if next, err := db.sweepStep(t.Context(), slot, 1, lower, []byte{slot, 1}); err != nil || next == nil {
		t.Fatalf("one step sweeps all: %q, %v", next, err)
	}
	if err := db.flusher.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := disk.Crash(memdisk.Kill, nil)
	kill(db)
	copied := *o
	copied.fs = left
	if db, err = Open(filmDir, &copied); err != nil {
		t.Fatal(err)
	}
	if n := db.tree.Dead(); n < 1000 {
		t.Errorf("%d dead keys, want more", n)
	}
	if err := db.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := db.tree.Dead(); n != 0 {
		t.Errorf("%d dead keys are left", n)
	}
	wantEntries(t, keyspace(t, db, "b"), kept...)
	if n := keyspace(t, db, "a").Len(); n != 3 {
		t.Errorf("%d keys, want 3", n)
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := keyspace(t, db, name).Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := db.tree.State().Used; now > used+2 {
		t.Errorf("%d pages in use, %d before", now, used)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestGenerations clears a keyspace so often that generations come again, with writes
// between, and kills the store now and then: no key of an earlier life may come back. It
// sweeps nothing and makes no checkpoint, so that a turn has both to do.
func TestGenerations(t *testing.T) {
	watchdog(t)
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 9))
	disk := memdisk.New()
	disk.Maps = true
	w := manner{mapped: true, alone: true, tight: true}
	reopen := func() *DB {
		db, err := Open(filmDir, w.options(disk))
		if err != nil {
			t.Fatal(err)
		}
		db.opts.LogBytes = 1 << 40
		return db
	}
	db := reopen()
	want := map[string]string{}
	for n := range 700 {
		ks := keyspace(t, db, "ks")
		for range rng.IntN(4) {
			key := fmt.Sprintf("key%02d", rng.IntN(20))
			v := fmt.Sprintf("%0*d", []int{10, 1000, 5000}[rng.IntN(3)], n)
			if err := ks.Put([]byte(key), []byte(v), Async); err != nil {
				t.Fatal(err)
			}
			want[key] = v
		}
		var err error
		switch p := rng.IntN(20); {
		case p < 15:
			err = ks.Clear(context.Background())
			clear(want)
		case p < 16:
			err = db.DropKeyspace("ks")
			clear(want)
		case p < 19:
		default:
			disk = disk.Crash(memdisk.Kill, nil)
			kill(db)
			db = reopen()
			if _, err := db.Verify(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, key := range slices.Sorted(maps.Keys(want)) {
			list = append(list, key+"="+want[key])
		}
		wantEntries(t, keyspace(t, db, "ks"), list...)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestDropAfterTurn clears a keyspace until the next generation is again the one that it
// was made in, and kills the store in the middle of its drop.
func TestDropAfterTurn(t *testing.T) {
	disk := memdisk.New()
	disk.Maps = true
	w := manner{mapped: true, alone: true}
	db, err := Open(filmDir, w.options(disk))
	if err != nil {
		t.Fatal(err)
	}
	ks := keyspace(t, db, "ks")
	for range 255 {
		if err := ks.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	db.spaces.changing.Lock()
	lsn, err := db.unmake(t.Context(), ks)
	db.spaces.changing.Unlock()
	if err := errors.Join(err, db.WaitDurable(t.Context(), lsn)); err != nil {
		t.Fatal(err)
	}
	disk = disk.Crash(memdisk.Kill, nil)
	kill(db)
	if db, err = Open(filmDir, w.options(disk)); err != nil {
		t.Fatal(err)
	}
	if names := db.Keyspaces(); len(names) != 1 {
		t.Errorf("keyspaces %q", names)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
