package store

import (
	"errors"
	"fmt"
	"testing"
)

// TestIteratorClosed closes an iterator, and again, while another one has its memory: it
// does nothing any more, and the other goes on.
func TestIteratorClosed(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	for i := range 1000 {
		if err := db.Put(fmt.Appendf(nil, "%04d", i), fmt.Appendf(nil, "value %d", i), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	iterator := func() *Iterator {
		it, err := db.NewIterator(&IterOptions{Lower: []byte("0100")})
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	closed := iterator()
	if !closed.First() || closed.Close() != nil {
		t.Fatal(closed.Err())
	}
	it, n := iterator(), 0
	for ok := it.First(); ok; ok = it.Next() {
		if closed.Next() || closed.Prev() || closed.First() || closed.Last() || closed.SeekGE([]byte("5")) || closed.Valid() ||
			closed.Key() != nil || closed.Value() != nil || closed.ValueBytes() != 0 || !closed.Expiry().IsZero() || closed.Close() != nil {
			t.Fatal("a closed iterator moves")
		}
		if want := fmt.Sprintf("%04d", 100+n); string(it.Key()) != want || string(it.Value()) != fmt.Sprintf("value %d", 100+n) {
			t.Fatalf("%s: %s, want %s", it.Key(), it.Value(), want)
		}
		n++
	}
	if err := errors.Join(it.Close(), it.Close()); err != nil || n != 900 {
		t.Fatalf("%d keys, %v", n, err)
	}
}

// TestIteratorAllocs counts with iterators that are made, used and closed: each is an
// allocation, of itself, and no more.
func TestIteratorAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("a pool forgets on purpose with -race")
	}
	db := open(t, t.TempDir(), smallOptions(false))
	for i := range 1000 {
		if err := db.Put(fmt.Appendf(nil, "%04d", i), make([]byte, 100), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	key := []byte("0500")
	if n := testing.AllocsPerRun(1000, func() {
		it, err := db.NewIterator(nil)
		if err != nil {
			t.Fatal(err)
		}
		ok := it.SeekGE(key)
		for i := 0; ok && i < 100; i++ {
			ok = len(it.Key()) > 0 && len(it.Value()) == 100 && it.Next()
		}
		if !ok || it.Close() != nil {
			t.Fatal(it.Err())
		}
	}); n >= 2 {
		t.Errorf("%v allocations an iterator", n)
	}
}
