//go:build lmdb && cgo

package lmdb

import (
	"errors"
	"fmt"
	"testing"
)

// TestStore does each call of the package, with more entries than one crossing fetches, and
// again on the store that was closed.
func TestStore(t *testing.T) {
	const entries = 1000
	dir := t.TempDir()
	for _, synced := range []bool{true, false} {
		db, err := Open(dir, synced)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, db, entries)
		walk(t, db, entries)
		r := db.NewReader()
		for i := range entries + 1 {
			if found, err := r.Get(key(i)); err != nil || found != (i < entries) {
				t.Errorf("key %d: found %t, %v", i, found, err)
			}
		}
		for range 2 { // the second time it is gone already
			if err := db.Delete(key(7)); err != nil {
				t.Error(err)
			}
		}
		if found, err := r.Get(key(7)); err != nil || found {
			t.Errorf("found %t, %v after a delete", found, err)
		}
		if err := db.Put(make([]byte, 512), nil); !errors.Is(err, ErrKeySize) {
			t.Errorf("a key of 512 bytes: error %v, want %v", err, ErrKeySize)
		}
		if err := errors.Join(db.Sync(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func key(i int) []byte { return fmt.Appendf(nil, "%08d", i) }

// fill puts n keys, in a batch but for the last.
func fill(t *testing.T, db *DB, n int) {
	t.Helper()
	b := db.NewBatch()
	for i := range n - 1 {
		if err := b.Put(key(i), key(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.Commit(), db.Put(key(n-1), key(n-1))); err != nil {
		t.Fatal(err)
	}
}

// walk wants keys 0 to n-1 in order, forwards from the first and from the middle, and
// backwards.
func walk(t *testing.T, db *DB, n int) {
	t.Helper()
	it, err := db.NewIterator()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		from, step, end int
		begin           func() bool
		next            func() bool
	}{
		{0, 1, n, it.First, it.Next},
		{n / 2, 1, n, func() bool { return it.SeekGE(key(n / 2)) }, it.Next},
		{n - 1, -1, -1, it.Last, it.Prev},
	} {
		i := w.from
		for ok := w.begin(); ok; ok = w.next() {
			if string(it.Key()) != string(key(i)) || string(it.Value()) != string(key(i)) {
				t.Fatalf("%s = %q, want key %d", it.Key(), it.Value(), i)
			}
			i += w.step
		}
		if i != w.end {
			t.Errorf("from %d: ended before key %d", w.from, i)
		}
	}
	if err := it.Close(); err != nil {
		t.Error(err)
	}
}
