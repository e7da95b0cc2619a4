package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"faultline/store"
)

// TestEngines does the same to a store of each engine and wants the same of it,
// also after it was closed and opened again.
func TestEngines(t *testing.T) {
	for _, name := range Embedded {
		t.Run(name, func(t *testing.T) {
			e := New(name, Setup{MemoryBytes: 16 << 20, PebbleBloom: true})
			if e.Name() != name || e.Version() == "" || len(e.Settings()) == 0 {
				t.Errorf("%s %s, settings %v", e.Name(), e.Version(), e.Settings())
			}
			dir := t.TempDir()
			db := open(t, e, dir)
			fill(t, db)
			look(t, db)
			if err := errors.Join(db.Settle(t.Context()), db.Close()); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time nothing has changed
				db = open(t, e, dir)
				look(t, db)
				if self, ok := db.(Checker); ok {
					if err := self.Check(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func open(t *testing.T, e Engine, dir string) DB {
	t.Helper()
	db, err := e.Open(dir, Mode{})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// entries are the keys 0 to entries-1, the last of which is put alone.
const entries = 1000

func keyOf(i int) []byte { return fmt.Appendf(nil, "%08d", i) }

// fill writes some keys twice, with batches that are used again.
func fill(t *testing.T, db DB) {
	t.Helper()
	b := db.NewBatch()
	for _, value := range []string{"old", "new"} {
		for i := range entries - 1 {
			if err := b.Put(keyOf(i), []byte(value)); err != nil {
				t.Fatal(err)
			}
			if i%100 != 99 && i != entries-2 {
				continue
			}
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.Put(keyOf(entries-1), []byte("new")); err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, db DB) {
	t.Helper()
	r := db.NewReader()
	for i, want := range map[int]bool{0: true, entries / 2: true, entries - 1: true, entries: false} {
		if found, err := r.Get(keyOf(i)); err != nil || found != want {
			t.Errorf("key %d: found %t, %v", i, found, err)
		}
	}
	it, err := db.NewIterator()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int{0, entries - 10, entries} {
		i := from
		ok := it.First()
		if from > 0 {
			ok = it.SeekGE(keyOf(from))
		}
		for ; ok; ok = it.Next() {
			if string(it.Key()) != string(keyOf(i)) || string(it.Value()) != "new" {
				t.Fatalf("from %d: %s = %q, want key %d", from, it.Key(), it.Value(), i)
			}
			i++
		}
		if i != entries {
			t.Errorf("from %d: ends before %d", from, i)
		}
	}
	if err := it.Close(); err != nil {
		t.Error(err)
	}
}

// onEach runs a test on a filled store of each engine.
func onEach(t *testing.T, test func(t *testing.T, db DB)) {
	for _, name := range Embedded {
		t.Run(name, func(t *testing.T) {
			db := open(t, New(name, Setup{MemoryBytes: 16 << 20}), t.TempDir())
			fill(t, db)
			test(t, db)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBackwards walks each engine's store from its end.
func TestBackwards(t *testing.T) {
	onEach(t, func(t *testing.T, db DB) {
		it, err := db.NewIterator()
		if err != nil {
			t.Fatal(err)
		}
		i := entries
		for ok := it.Last(); ok; ok = it.Prev() {
			if i--; string(it.Key()) != string(keyOf(i)) {
				t.Fatalf("key %s, want %d", it.Key(), i)
			}
		}
		if err := it.Close(); err != nil || i != 0 {
			t.Errorf("ends before key %d, %v", i, err)
		}
	})
}

// TestDelete checks that a deleted key is gone, and that deleting it again is no error.
func TestDelete(t *testing.T) {
	onEach(t, func(t *testing.T, db DB) {
		r := db.NewReader()
		for range 2 {
			if err := db.Delete(keyOf(7)); err != nil {
				t.Fatal(err)
			}
			if found, err := r.Get(keyOf(7)); err != nil || found {
				t.Errorf("found %t, %v", found, err)
			}
		}
	})
}

// TestLongKey puts the longest key of Faultline: an engine takes it, or says that it cannot.
func TestLongKey(t *testing.T) {
	onEach(t, func(t *testing.T, db DB) {
		cannot := new(CannotError)
		if err := db.Put(make([]byte, store.MaxKeyBytes), nil); err != nil && !errors.As(err, &cannot) {
			t.Error(err)
		}
	})
}

// TestSync has several clients make synced writes, of which the store keeps all.
func TestSync(t *testing.T) {
	const clients, each = 8, 5
	for _, name := range append(slices.Clone(Embedded), "rawlog") {
		t.Run(name, func(t *testing.T) {
			e, dir := New(name, Setup{MemoryBytes: 16 << 20}), t.TempDir()
			db, err := e.Open(dir, Mode{Sync: true, Writers: clients})
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			var group errgroup
			for c := range clients {
				group.run(func() error {
					for i := range each {
						if err := db.Put(keyOf(c*each+i), []byte("value")); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := group.wait(); err != nil {
				t.Fatal(err)
			}
			if counter, ok := db.(Lener); ok {
				if n, err := counter.Len(); err != nil || n != clients*each {
					t.Errorf("%d records, %v", n, err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if name == "rawlog" {
				lookIntoLog(t, dir, clients*each)
				return
			}
			db = open(t, e, dir)
			defer db.Close()
			r := db.NewReader()
			for i := range clients * each {
				if found, err := r.Get(keyOf(i)); err != nil || !found {
					t.Errorf("key %d: found %t, %v", i, found, err)
				}
			}
		})
	}
}

// lookIntoLog wants n records in the file of a bare log, each once.
func lookIntoLog(t *testing.T, dir string, n int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for {
		size := binary.LittleEndian.Uint32(b)
		if size == 0 {
			break
		}
		seen[string(b[rawLogHeader:size])] = true
		b = b[size:]
	}
	if len(seen) != n {
		t.Errorf("%d different records in the log, want %d", len(seen), n)
	}
}

// TestCannot checks that a bare log says what it cannot do.
func TestCannot(t *testing.T) {
	e := New("rawlog", Setup{})
	_, unsynced := e.Open(t.TempDir(), Mode{})
	db, err := e.Open(t.TempDir(), Mode{Sync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, iterator := db.NewIterator()
	_, get := db.NewReader().Get(keyOf(1))
	for what, err := range map[string]error{
		"unsynced": unsynced, "iterator": iterator, "get": get, "delete": db.Delete(keyOf(1)), "batch": db.NewBatch().Commit(),
	} {
		if cannot := new(CannotError); !errors.As(err, &cannot) || cannot.Why == "" || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: error %v, want one that says why", what, err)
		}
	}
}

// An errgroup is goroutines that may fail.
type errgroup struct {
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

func (g *errgroup) run(f func() error) {
	g.running.Go(func() {
		err := f()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.errs = append(g.errs, err)
	})
}

func (g *errgroup) wait() error {
	g.running.Wait()
	return errors.Join(g.errs...)
}

// TestBboltFreeList checks that a store that was closed has its free list in the
// file: without it each Open would read the whole tree. While it is written to,
// it has none.
func TestBboltFreeList(t *testing.T) {
	dir := t.TempDir()
	e := New("bbolt", Setup{})
	db := open(t, e, dir)
	fill(t, db)
	if hasFreeList(t, dir) {
		t.Error("there is a free list after a put")
	}
	for range 2 { // the second time nothing has changed
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if !hasFreeList(t, dir) {
			t.Error("there is no free list after a close")
		}
		db = open(t, e, dir)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// hasFreeList tells whether the newer meta page of a bbolt file refers to one
// (bbolt/internal/common/meta.go).
func hasFreeList(t *testing.T, dir string) bool {
	t.Helper()
	const listAt, txnAt, none = 48, 64, 1<<64 - 1
	file, err := os.ReadFile(filepath.Join(dir, "bolt.db"))
	if err != nil {
		t.Fatal(err)
	}
	word := func(page, at int) uint64 { return binary.NativeEndian.Uint64(file[page*os.Getpagesize()+at:]) }
	newer := 0
	if word(1, txnAt) > word(0, txnAt) {
		newer = 1
	}
	return word(newer, listAt) != none
}
