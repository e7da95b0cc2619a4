package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/pagemeta"
)

// A testOwner keeps nothing: all pages stay in memory.
type testOwner struct {
	heads atomic.Uint32
	fail  atomic.Bool
	left  atomic.Int64 // pages until it fails; 0 and less: no limit
}

var errOwner = errors.New("owner fails")

func (o *testOwner) Stop(cause error) error { return cause }

func (o *testOwner) ReadPage(id pagemeta.PageID, _ *pagemeta.Page) error {
	return fmt.Errorf("page %d was never written", id)
}

func (o *testOwner) Mkwrite(id pagemeta.PageID, head uint32, frozen *pagemeta.Page) (uint32, error) {
	if o.fail.Load() || o.left.Load() > 0 && o.left.Add(-1) == 0 {
		return 0, errOwner
	}
	return o.heads.Add(1), nil
}

func (o *testOwner) Forget(uint32) {}

// freeze makes all Dirty pages Clean, as a flush round would.
func freeze(t testing.TB, pages *pagemeta.Table) {
	cut, err := pages.Freeze(nil)
	if err != nil {
		t.Fatal(err)
	}
	var image pagemeta.Page
	for _, p := range cut {
		pages.Capture(p.ID, &image)
		pages.Written(p.ID)
	}
}

func newTree(t testing.TB, pages int, trapOnly bool) (*Tree, *testOwner) {
	t.Helper()
	owner := &testOwner{}
	table, err := pagemeta.New(pagemeta.Config{Pages: pages, Owner: owner, TrapOnly: trapOnly})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	tr, err := New(table)
	if err != nil {
		t.Fatal(err)
	}
	return tr, owner
}

// bothWays runs f with Prepare and with traps alone.
func bothWays(t *testing.T, f func(t *testing.T, trapOnly bool)) {
	t.Run("prepared", func(t *testing.T) { f(t, false) })
	t.Run("trap-only", func(t *testing.T) { f(t, true) })
}

// A model is the dumb implementation: a map, sorted when asked.
type model map[string]string

func (m model) sorted() []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// keyMakers are the key shapes that make trees differ: prefixes that all keys
// share, prefixes of each other, long ones, random ones.
var keyMakers = []struct {
	name string
	make func(r *rand.Rand) []byte
}{
	{"decimal", func(r *rand.Rand) []byte { return fmt.Appendf(nil, "%016d", r.IntN(3000)) }},
	{"binary", func(r *rand.Rand) []byte { return []byte{byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(3))} }},
	{"nested", func(r *rand.Rand) []byte { return bytes.Repeat([]byte{'a'}, 1+r.IntN(900)) }},
	{"long", func(r *rand.Rand) []byte {
		k := bytes.Repeat([]byte{byte('a' + r.IntN(3))}, MaxKeyBytes-4)
		return fmt.Appendf(k, "%04d", r.IntN(500))
	}},
	{"mixed", func(r *rand.Rand) []byte {
		k := make([]byte, 1+r.IntN(40))
		for i := range k {
			k[i] = byte(r.IntN(3))
		}
		return k
	}},
}

// TestAgainstMap makes random changes to a tree and to a map, with flush rounds
// between, and compares what they hold: by key, forward, backward, by seeks, and
// by the tree's own check.
func TestAgainstMap(t *testing.T) {
	for _, km := range keyMakers {
		t.Run(km.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, trapOnly bool) {
				tr, _ := newTree(t, 20000, trapOnly)
				r := rand.New(rand.NewPCG(1, 2))
				m := model{}
				for i := range 12000 {
					key := km.make(r)
					if grow := (i/2000)%2 == 0; r.IntN(10) < 3 == grow {
						existed, err := tr.Delete(&Op{}, key)
						if _, want := m[string(key)]; err != nil || existed != want {
							t.Fatalf("op %d: delete %q = %t, %v, want %t", i, key, existed, err, want)
						}
						delete(m, string(key))
					} else {
						value := make([]byte, r.IntN(200))
						if r.IntN(50) == 0 {
							value = make([]byte, MaxEntryBytes-len(key))
						}
						for j := range value {
							value[j] = byte(r.Uint32())
						}
						existed, err := tr.Put(&Op{}, key, value)
						if _, want := m[string(key)]; err != nil || existed != want {
							t.Fatalf("op %d: put %q = %t, %v, want %t", i, key, existed, err, want)
						}
						m[string(key)] = string(value)
					}
					if i%500 == 499 {
						freeze(t, tr.pages)
					}
					if i%1500 == 1499 {
						compare(t, tr, m, r, km.make)
					}
				}
				for k := range m {
					if _, err := tr.Delete(&Op{}, []byte(k)); err != nil {
						t.Fatal(err)
					}
					delete(m, k)
				}
				compare(t, tr, m, r, km.make)
				if s := tr.State(); tr.height() != 1 || s.Used != 3 {
					t.Errorf("emptied tree: height %d, %d pages in use, want 1 and 3", tr.height(), s.Used)
				}
			})
		})
	}
}

func compare(t *testing.T, tr *Tree, m model, r *rand.Rand, makeKey func(*rand.Rand) []byte) {
	t.Helper()
	report, err := tr.Check(context.Background(), nil)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if report.Keys != uint64(len(m)) || report.Height != tr.height() {
		t.Fatalf("check: %+v, want %d keys, height %d", report, len(m), tr.height())
	}
	keys := m.sorted()
	c := tr.NewCursor()
	i := 0
	for ok := c.First(); ok; ok = c.Next() {
		if i >= len(keys) || string(c.Key()) != keys[i] || string(c.Value()) != m[keys[i]] {
			t.Fatalf("forward: key %d is %q", i, c.Key())
		}
		i++
	}
	if i != len(keys) || c.Err() != nil {
		t.Fatalf("forward: %d keys, want %d, %v", i, len(keys), c.Err())
	}
	for ok := c.Last(); ok; ok = c.Prev() {
		i--
		if i < 0 || string(c.Key()) != keys[i] || string(c.Value()) != m[keys[i]] {
			t.Fatalf("backward: key %d is %q", i, c.Key())
		}
	}
	if i != 0 {
		t.Fatalf("backward: %d keys missing", i)
	}
	var dst []byte
	for range 200 {
		key := makeKey(r)
		value, found, err := tr.Get(dst[:0], key)
		if want, ok := m[string(key)]; err != nil || (found != Nothing) != ok || string(value) != want {
			t.Fatalf("get %q: %d, %v, want %t", key, found, err, ok)
		}
		at, _ := slices.BinarySearch(keys, string(key))
		if ok := c.SeekGE(key); ok != (at < len(keys)) || ok && string(c.Key()) != keys[at] {
			t.Fatalf("seek ge %q: %t %q", key, ok, c.Key())
		}
		if ok := c.SeekLT(key); ok != (at > 0) || ok && string(c.Key()) != keys[at-1] {
			t.Fatalf("seek lt %q: %t %q", key, ok, c.Key())
		}
	}
}

// TestConcurrent lets goroutines write keys of their own while others read and
// scan them: a reader must see values that were written to that key, and a scan
// every key that is never deleted, in order.
func TestConcurrent(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		tr, _ := newTree(t, 20000, trapOnly)
		const writers, readers, rounds = 4, 2, 6000
		for i := range 2000 { // keys that stay
			key := fmt.Appendf(nil, "%06d/stays", i)
			if _, err := tr.Put(&Op{}, key, key); err != nil {
				t.Fatal(err)
			}
		}
		var wg, rg sync.WaitGroup
		var stop atomic.Bool
		for w := range writers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 7))
				for range rounds {
					key := fmt.Appendf(nil, "%06d/%d", r.IntN(2000), w)
					var err error
					switch {
					case w%2 == 1:
						err = putNeighbours(tr, r, w)
					case r.IntN(3) == 0:
						_, err = tr.Delete(&Op{}, key)
					default:
						_, err = tr.Put(&Op{}, key, bytes.Repeat(key, 1+r.IntN(20)))
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for g := range readers {
			rg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 8))
				var buf []byte
				for !stop.Load() {
					key := fmt.Appendf(nil, "%06d/%d", r.IntN(2000), r.IntN(writers))
					value, found, err := tr.Get(buf[:0], key)
					if err != nil {
						t.Error(err)
						return
					}
					if found != Nothing && !bytes.Equal(value, bytes.Repeat(key, len(value)/len(key))) {
						t.Errorf("get %q: %q", key, value)
						return
					}
					buf = value
				}
			})
			rg.Go(func() {
				for back := false; !stop.Load(); back = !back {
					c := tr.NewCursor()
					first, step, dir := c.First, c.Next, +1
					if back {
						first, step, dir = c.Last, c.Prev, -1
					}
					stays, last := 0, []byte(nil)
					for ok := first(); ok; ok = step() {
						if last != nil && bytes.Compare(c.Key(), last) != dir {
							t.Errorf("scan: %q after %q", c.Key(), last)
							return
						}
						last = append(last[:0], c.Key()...)
						if value := c.Value(); !bytes.Equal(value, bytes.Repeat(last, len(value)/len(last))) {
							t.Errorf("scan: %q has %q", last, value)
							return
						}
						if bytes.HasSuffix(last, []byte("/stays")) {
							stays++
						}
					}
					if stays != 2000 || c.Err() != nil {
						t.Errorf("scan saw %d of 2000 keys that stay: %v", stays, c.Err())
						return
					}
					c.Close()
				}
			})
		}
		wg.Wait()
		stop.Store(true)
		rg.Wait()
		if _, err := tr.Check(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
}

// putNeighbours makes some writes of writer w's by one call.
func putNeighbours(tr *Tree, r *rand.Rand, w int) error {
	var list []Write
	from := r.IntN(2000)
	for i := range r.IntN(30) {
		c := Change{Key: fmt.Appendf(nil, "%06d/%d", (from+i)%2000, w)}
		if r.IntN(3) > 0 {
			c.Value = bytes.Repeat(c.Key, 1+r.IntN(20))
		}
		list = append(list, Write{Change: c})
	}
	_, err := tr.PutMany(&Op{}, list)
	return err
}

// TestFailure has the owner refuse mkwrite: every change must then return that
// error and leave the tree as it was.
func TestFailure(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		tr, owner := newTree(t, 1000, trapOnly)
		for i := range 500 {
			key := fmt.Appendf(nil, "%04d", i)
			if _, err := tr.Put(&Op{}, key, bytes.Repeat(key, 20)); err != nil {
				t.Fatal(err)
			}
		}
		freeze(t, tr.pages)
		owner.fail.Store(true)
		if _, err := tr.Put(&Op{}, []byte("0001"), nil); !errors.Is(err, errOwner) {
			t.Errorf("put: %v", err)
		}
		if _, err := tr.Put(&Op{}, []byte("00015"), make([]byte, 3000)); !errors.Is(err, errOwner) {
			t.Errorf("put with a split: %v", err)
		}
		if _, err := tr.Delete(&Op{}, []byte("0002")); !errors.Is(err, errOwner) {
			t.Errorf("delete: %v", err)
		}
		owner.fail.Store(false)
		if r, err := tr.Check(context.Background(), nil); err != nil || r.Keys != 500 {
			t.Errorf("check: %+v, %v", r, err)
		}
		if v, _, err := tr.Get(nil, []byte("0001")); err != nil || string(v) != string(bytes.Repeat([]byte("0001"), 20)) {
			t.Errorf("get: %q, %v", v, err)
		}
	})
}

// TestFull fills the file: the put that finds no page must fail with nothing
// changed, and deletes must make room again.
func TestFull(t *testing.T) {
	tr, _ := newTree(t, 40, false)
	n := 0
	for ; ; n++ {
		_, err := tr.Put(&Op{}, fmt.Appendf(nil, "%04d", n), make([]byte, 500))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if r, err := tr.Check(context.Background(), nil); err != nil || r.Keys != uint64(n) {
		t.Fatalf("check: %+v, %v, want %d keys", r, err, n)
	}
	for i := range n / 2 {
		if _, err := tr.Delete(&Op{}, fmt.Appendf(nil, "%04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n / 5 {
		if _, err := tr.Put(&Op{}, fmt.Appendf(nil, "%04d", i), make([]byte, 500)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tr.Check(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}
