package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"faultline/internal/disk"
)

// smallOptions make rounds come often.
func smallOptions(trapOnly bool) *Options {
	return &Options{
		MemoryBudget:    32 << 20,
		DirtyBudget:     2 << 20,
		LogBytes:        1 << 20,
		SegmentBytes:    256 << 10,
		CheckpointEvery: -1,
		TrapOnly:        trapOnly,
	}
}

// open opens a store whose files can be made to stand still, for crashed.
func open(t testing.TB, dir string, o *Options) *DB {
	t.Helper()
	still := *o
	if still.fs == nil {
		still.fs = &stillFS{FS: disk.OS}
	}
	db, err := Open(dir, &still)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// crashed returns a copy of the directory of db as a killed process would leave
// it.
func crashed(t testing.TB, db *DB) string {
	t.Helper()
	dir := t.TempDir()
	still := db.opts.fs.(*stillFS)
	still.moving.Lock() // a round may be running
	defer still.moving.Unlock()
	if err := os.CopyFS(filepath.Join(dir, "copy"), os.DirFS(db.dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "copy")
}

func bothWays(t *testing.T, f func(t *testing.T, trapOnly bool)) {
	t.Run("prepared", func(t *testing.T) { f(t, false) })
	t.Run("trap-only", func(t *testing.T) { f(t, true) })
}

func contents(t testing.TB, db *DB) map[string]string {
	t.Helper()
	m := map[string]string{}
	last := ""
	for item, err := range db.All() {
		if err != nil {
			t.Fatal(err)
		}
		if string(item.Key) <= last {
			t.Fatalf("%q after %q", item.Key, last)
		}
		last = string(item.Key)
		m[last] = string(item.Value)
	}
	return m
}

func wantSame(t testing.TB, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			t.Fatalf("key %.40q: %.40q, %t, want %.40q (%d keys, want %d)", k, g, ok, v, len(got), len(want))
		}
	}
	t.Fatalf("%d keys, want %d", len(got), len(want))
}

// TestReopen makes random writes and batches, and now and then closes the store
// or takes it as a kill would leave it; what is found must be the model's, by
// every way of reading, and verify.
func TestReopen(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		dir := t.TempDir()
		o := smallOptions(trapOnly)
		db := open(t, dir, o)
		r := rand.New(rand.NewPCG(3, 4))
		want := map[string]string{}
		for round := range 12 {
			for range 1500 {
				key := fmt.Sprintf("key%05d", r.IntN(4000))
				switch r.IntN(8) {
				case 0, 1:
					if err := db.Delete([]byte(key), Async); err != nil {
						t.Fatal(err)
					}
					delete(want, key)
				case 2:
					var b Batch
					for range r.IntN(30) {
						k := fmt.Sprintf("key%05d", r.IntN(4000))
						v := strings.Repeat(k, r.IntN(10))
						if err := b.Put([]byte(k), []byte(v)); err != nil {
							t.Fatal(err)
						}
						want[k] = v
					}
					if _, err := db.Apply(&b, Async); err != nil {
						t.Fatal(err)
					}
				default:
					value := strings.Repeat(key, r.IntN(60))
					if err := db.Put([]byte(key), []byte(value), Async); err != nil {
						t.Fatal(err)
					}
					want[key] = value
				}
			}
			switch round % 3 {
			case 0:
				copied := crashed(t, db)
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				dir = copied
			case 1:
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			case 2:
				if err := db.Checkpoint(context.Background()); err != nil {
					t.Fatal(err)
				}
				ro := *o
				ro.ReadOnly = true
				copied := open(t, crashed(t, db), &ro)
				wantSame(t, contents(t, copied), want)
				if err := copied.Put([]byte("a"), nil, Sync); err != ErrReadOnly {
					t.Fatalf("put to a read-only store: %v", err)
				}
				continue
			}
			db = open(t, dir, o)
			wantSame(t, contents(t, db), want)
			rep, err := db.Verify(context.Background())
			if err != nil || rep.Keys != uint64(len(want)) {
				t.Fatalf("verify: %+v, %v", rep, err)
			}
		}
	})
}

// TestSmall goes through the rules of the API: what is an error and which one.
func TestSmall(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, smallOptions(false))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(err, target error) {
		t.Helper()
		if !errors.Is(err, target) {
			t.Fatalf("%v, want %v", err, target)
		}
	}
	_, err := db.Get([]byte("a"))
	want(err, ErrNotFound)
	must(db.Put([]byte("a"), nil, Sync))
	v, err := db.Get([]byte("a"))
	if must(err); v == nil || len(v) != 0 {
		t.Fatalf("empty value: %#v", v)
	}
	want(db.Put(nil, nil, Sync), ErrEmptyKey)
	want(db.Delete(nil, Sync), ErrEmptyKey)
	want(db.Put(make([]byte, MaxKeyBytes+1), nil, Sync), ErrTooLarge)
	want(db.PutReader(t.Context(), []byte("a"), nil, MaxValueBytes+1, Sync), ErrTooLarge)
	must(db.Put([]byte("a"), make([]byte, MaxEntryBytes-1), Sync))
	must(db.Put(bytes.Repeat([]byte{255}, MaxKeyBytes), make([]byte, MaxEntryBytes-MaxKeyBytes), Sync))
	must(db.Delete([]byte("missing"), Sync))

	key, value := []byte("mine"), []byte("value")
	must(db.Put(key, value, Deferred))
	must(db.WaitDurable(context.Background(), db.LSN()))
	copy(key, "hers")
	copy(value, "other")
	if v, err := db.Get([]byte("mine")); err != nil || string(v) != "value" {
		t.Fatalf("after the arguments were used again: %q, %v", v, err)
	}

	var b Batch
	must(b.Put([]byte("x"), []byte("1")))
	must(b.Delete([]byte("a")))
	must(b.Delete([]byte("nothing")))
	_, err = db.Apply(&b, Sync)
	if must(err); b.Found() != 1 {
		t.Fatalf("found %d, want 1", b.Found())
	}
	if n := db.Len(); n != 3 {
		t.Fatalf("%d keys, want 3", n)
	}

	_, err = Open(dir, smallOptions(false))
	want(err, ErrLocked)
	if !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("no pid in %q", err)
	}
	must(db.Close())
	must(db.Close())
	_, err = db.Get([]byte("x"))
	want(err, ErrClosed)
	want(db.Put([]byte("x"), nil, Sync), ErrClosed)
	want(db.Checkpoint(context.Background()), ErrClosed)
	_, err = db.NewIterator(nil)
	want(err, ErrClosed)
	_, err = db.Verify(context.Background())
	want(err, ErrClosed)

	other := t.TempDir()
	must(os.WriteFile(filepath.Join(other, "precious"), nil, 0o600))
	_, err = Open(other, nil)
	want(err, ErrNotStore)
	_, err = Open(t.TempDir(), &Options{ReadOnly: true})
	want(err, ErrNotStore)
}

// TestBounds compares an iterator's moves with a sorted list, under bounds.
func TestBounds(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	var keys []string
	for i := range 300 {
		k := fmt.Sprintf("%03d", i*2)
		keys = append(keys, k)
		if err := db.Put([]byte(k), []byte(k), Async); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []struct{ lower, upper string }{{"", ""}, {"100", "200"}, {"101", "199"}, {"", "050"}, {"590", ""}, {"700", "800"}, {"200", "100"}} {
		o := &IterOptions{Lower: []byte(b.lower)}
		if b.upper != "" {
			o.Upper = []byte(b.upper)
		}
		in := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k < b.lower || b.upper != "" && k >= b.upper })
		it, err := db.NewIterator(o)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, ok bool, at int) {
			t.Helper()
			if want := at >= 0 && at < len(in); ok != want || ok != it.Valid() || ok && string(it.Key()) != in[at] {
				t.Fatalf("[%s,%s) %s: %t, want key %d of %d", b.lower, b.upper, what, ok, at, len(in))
			}
		}
		i := 0
		for ok := it.First(); ok; ok = it.Next() {
			check("next", ok, i)
			i++
		}
		check("end", it.Valid(), i)
		for ok := it.Last(); ok; ok = it.Prev() {
			i--
			check("prev", ok, i)
		}
		for _, k := range []string{"", "000", "100", "101", "150", "199", "200", "598", "599", "9"} {
			at, _ := slices.BinarySearch(in, k)
			check("ge "+k, it.SeekGE([]byte(k)), at)
			check("lt "+k, it.SeekLT([]byte(k)), at-1)
		}
		n := 0
		for _, err := range db.Range(o.Lower, o.Upper) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(in) || it.Close() != nil {
			t.Fatalf("range: %d, want %d, %v", n, len(in), it.Err())
		}
	}
}
