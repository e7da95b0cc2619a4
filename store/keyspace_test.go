package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"faultline/internal/memdisk"
)

// mainKey is the tree's key for key, of a default keyspace that was never cleared.
func mainKey(key []byte) []byte { return append([]byte{mainSlot, 0}, key...) }

// keyspace returns a keyspace of db.
func keyspace(t testing.TB, db *DB, name string) *Keyspace {
	t.Helper()
	ks, err := db.Keyspace(name)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// entries returns all that ks has, in order, read forward and backward.
func entries(t testing.TB, ks *Keyspace) (list []string) {
	t.Helper()
	it, err := ks.NewIterator(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		list = append(list, string(it.Key())+"="+string(it.Value()))
	}
	var back []string
	for ok := it.Last(); ok; ok = it.Prev() {
		back = append(back, string(it.Key())+"="+string(it.Value()))
	}
	slices.Reverse(back)
	if err := it.Close(); err != nil || !slices.Equal(list, back) {
		t.Fatalf("%v: forward %q, backward %q", err, list, back)
	}
	if n := ks.Len(); n != uint64(len(list)) {
		t.Fatalf("keyspace %q: %d keys, Len is %d", ks.Name(), len(list), n)
	}
	return list
}

// wantEntries compares what ks has with list.
func wantEntries(t testing.TB, ks *Keyspace, list ...string) {
	t.Helper()
	if got := entries(t, ks); !slices.Equal(got, list) {
		t.Fatalf("keyspace %q: %q, want %q", ks.Name(), got, list)
	}
	for _, entry := range list {
		key, value, _ := strings.Cut(entry, "=")
		if got, err := ks.Get([]byte(key)); err != nil || string(got) != value {
			t.Fatalf("keyspace %q: %q: %q, %v", ks.Name(), key, got, err)
		}
	}
}

// TestKeyspaces writes the same keys to several keyspaces, clears one and drops one, and
// looks at all of them, before and after the store was opened again.
func TestKeyspaces(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, &Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b := keyspace(t, db, "a"), keyspace(t, db, "b")
	if again := keyspace(t, db, "a"); again != a {
		t.Fatal("another keyspace of the same name")
	}
	for i, ks := range []*Keyspace{keyspace(t, db, ""), a, b} {
		for _, key := range []string{"k", "\xff\xff", strings.Repeat("l", 100), strings.Repeat("\xff", MaxKeyBytes)} {
			must(ks.Put([]byte(key), []byte{byte('0' + i)}, Async))
		}
	}
	long := strings.Repeat("l", 100)
	longest := strings.Repeat("\xff", MaxKeyBytes)
	all := func(v string) []string { return []string{"k=" + v, long + "=" + v, "\xff\xff=" + v, longest + "=" + v} }
	wantEntries(t, &db.spaces.main, all("0")...)
	wantEntries(t, a, all("1")...)
	wantEntries(t, b, all("2")...)

	var batch Batch
	must(batch.Put([]byte("main"), []byte("3")))
	batch.Use(a)
	must(batch.Put([]byte("a"), []byte("4")))
	must(batch.Delete([]byte("k")))
	must(a.Clear(t.Context()))
	wantEntries(t, a)
	_, err := db.Apply(&batch, Async)
	must(err)
	wantEntries(t, a, "a=4")
	if got, err := db.Get([]byte("main")); err != nil || string(got) != "3" {
		t.Fatalf("%q, %v", got, err)
	}

	must(db.DropKeyspace("b"))
	for _, err := range []error{
		b.Put([]byte("k"), nil, Async),
		func() error { _, err := b.Get([]byte("k")); return err }(),
		func() error { _, err := b.Has([]byte("k")); return err }(),
		func() error { _, err := b.NewIterator(nil); return err }(),
		b.Clear(t.Context()),
		db.DropKeyspace("b"),
		db.DropKeyspace(""),
	} {
		if !errors.Is(err, ErrNoKeyspace) {
			t.Errorf("of a keyspace that was dropped: %v", err)
		}
	}
	b = keyspace(t, db, "b")
	wantEntries(t, b)
	must(b.Put([]byte("new"), []byte("5"), Async))
	if names := db.Keyspaces(); !slices.Equal(names, []string{"", "a", "b"}) {
		t.Errorf("keyspaces %q", names)
	}

	for range 2 {
		if _, err := db.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		must(db.Close())
		db = open(t, dir, &Options{})
		if names := db.Keyspaces(); !slices.Equal(names, []string{"", "a", "b"}) {
			t.Errorf("keyspaces %q", names)
		}
		wantEntries(t, keyspace(t, db, "a"), "a=4")
		wantEntries(t, keyspace(t, db, "b"), "new=5")
		if n := db.Len(); n != 5 {
			t.Errorf("%d keys in the default keyspace, want 5", n)
		}
	}
}

// TestKeyspaceLimits makes as many keyspaces as there can be, and names that are too long.
func TestKeyspaceLimits(t *testing.T) {
	db := open(t, t.TempDir(), &Options{})
	for i := range MaxKeyspaces - 1 {
		ks := keyspace(t, db, fmt.Sprint(i))
		if err := ks.Put([]byte("k"), fmt.Append(nil, i), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Keyspace("more"); !errors.Is(err, ErrTooManyKeyspaces) {
		t.Error(err)
	}
	if err := db.DropKeyspace("77"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Keyspace(strings.Repeat("n", MaxNameBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	wantEntries(t, keyspace(t, db, strings.Repeat("n", MaxNameBytes)))
	wantEntries(t, keyspace(t, db, "125"), "k=125")
	other := open(t, t.TempDir(), &Options{})
	var b Batch
	b.Use(keyspace(t, other, "o"))
	if err := b.Put([]byte("k"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Apply(&b, Async); !errors.Is(err, ErrNoKeyspace) {
		t.Error(err)
	}
}

// TestIteratorOfCleared walks a keyspace that is cleared meanwhile, and then dropped.
func TestIteratorOfCleared(t *testing.T) {
	db := open(t, t.TempDir(), &Options{})
	ks := keyspace(t, db, "ks")
	fill := func(keys ...string) {
		for _, key := range keys {
			if err := ks.Put([]byte(key), nil, Deferred); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill("a", "b", "c", "d")
	it, err := ks.NewIterator(nil)
	if err != nil || !it.SeekGE([]byte("b")) || string(it.Key()) != "b" {
		t.Fatal(err)
	}
	if err := ks.Clear(context.Background()); err != nil {
		t.Fatal(err)
	}
	fill("a", "b", "d", "e")
	if !it.Next() || string(it.Key()) != "d" || !it.Prev() || string(it.Key()) != "b" {
		t.Fatalf("at %q, %v", it.Key(), it.Err())
	}
	if err := ks.Clear(context.Background()); err != nil {
		t.Fatal(err)
	}
	fill("a", "e")
	if !it.Prev() || string(it.Key()) != "a" || !it.Last() || string(it.Key()) != "e" || it.Next() || it.Err() != nil {
		t.Fatalf("at %q, %v", it.Key(), it.Err())
	}
	if it.First(); db.DropKeyspace("ks") != nil || it.Next() || !errors.Is(it.Err(), ErrNoKeyspace) {
		t.Fatal(it.Err())
	}
}

// TestClearReplayed clears and drops at every stage of a store that is killed then: with
// pages older and newer than the records.
func TestClearReplayed(t *testing.T) {
	for checkpoint := range 7 {
		disk := memdisk.New()
		o := &Options{fs: disk, MemoryBudget: MinMemoryBudget, noHelper: true, CheckpointEvery: -1}
		db, err := Open("/d", o)
		if err != nil {
			t.Fatal(err)
		}
		ks := keyspace(t, db, "ks")
		steps := []func() error{
			func() error { return ks.Put([]byte("a"), []byte("1"), Sync) },
			func() error { return ks.Clear(context.Background()) },
			func() error { return ks.Put([]byte("b"), []byte("2"), Sync) },
			func() error { return ks.Clear(context.Background()) },
			func() error { return ks.Put([]byte("c"), []byte("3"), Sync) },
			func() error { return db.DropKeyspace("ks") },
		}
		want := [][]string{nil, {"a=1"}, nil, {"b=2"}, nil, {"c=3"}, nil}
		for i := range len(steps) + 1 {
			if i == checkpoint {
				if err := db.Checkpoint(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			m := disk.Crash(memdisk.Kill, nil)
			copied := *o
			copied.fs = m
			again, err := Open("/d", &copied)
			if err != nil {
				t.Fatal(err)
			}
			names := again.Keyspaces()
			if had := slices.Contains(names, "ks"); had != (i < len(steps)) {
				t.Errorf("checkpoint %d, step %d: keyspaces %q", checkpoint, i, names)
			}
			wantEntries(t, keyspace(t, again, "ks"), want[i]...)
			if _, err := again.Verify(t.Context()); err != nil {
				t.Error(err)
			}
			if err := again.Close(); err != nil {
				t.Error(err)
			}
			if i < len(steps) {
				if err := steps[i](); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
