package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/campaign"
	"faultline/pagemeta"
)

// A rangeRig compares a tree with a map while ranges of keys are deleted.
type rangeRig struct {
	t     *testing.T
	tr    *Tree
	owner *testOwner
	rng   *rand.Rand
	want  model
}

func newRangeRig(t *testing.T, trapOnly bool) *rangeRig {
	r := &rangeRig{t: t, rng: rand.New(rand.NewPCG(campaign.Seed(t), 1)), want: model{}}
	r.tr, r.owner = newTree(t, 20000, trapOnly)
	if err := r.tr.Defer(1<<20, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.tr.Close() })
	return r
}

// put sets key to some value: one in ten is a long one, and now and then it, or that
// the key is gone, is kept beside the leaf.
func (r *rangeRig) put(key []byte) {
	r.t.Helper()
	value := bytes.Repeat([]byte{byte(r.rng.Uint32())}, r.rng.IntN(150))
	var err error
	switch what := r.rng.IntN(20); {
	case what < 2:
		ref := Ref{ID: r.rng.Uint64(), LSN: r.rng.Uint64N(1000), Bytes: 1}
		for range 1 + r.rng.IntN(3) {
			e, err := r.tr.Hold(1+r.rng.IntN(5), true)
			if err != nil {
				r.t.Fatal(err)
			}
			ref.Extents = append(ref.Extents, e)
		}
		value = ref.Append(nil)
		_, err = r.tr.PutLong(&Op{}, key, ref, 0)
	case what < 6 && r.beside(key, value):
	case what < 8 && r.beside(key, nil):
		delete(r.want, string(key))
		return
	default:
		_, err = r.tr.Put(&Op{}, key, value)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.want[string(key)] = string(value)
}

// beside keeps a change beside the leaf of key, as if that were not in memory.
func (r *rangeRig) beside(key, value []byte) bool {
	for {
		f, next, trap := r.tryBeside(key, value)
		if trap.Hit() {
			if err := r.tr.pages.Resolve(&trap, pagemeta.ToWrite); err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		return next == done && f == deferred
	}
}

func (r *rangeRig) tryBeside(key, value []byte) (f fit, next step, trap pagemeta.Trap) {
	defer r.tr.pages.Catch(&trap, pagemeta.Arm())
	id, v, next := r.tr.descend(key)
	if next != done || id == Root {
		return full, next, trap
	}
	f, next = r.tr.tryDefer(id, v, Change{Key: key, Value: value})
	return f, next, trap
}

// deleteRange deletes in steps, checks each, and returns how many there were.
func (r *rangeRig) deleteRange(lower, upper []byte, most int) (steps int) {
	r.t.Helper()
	for from := lower; ; steps++ {
		heads, credits := r.owner.heads.Load(), r.tr.RangeCredits()
		if r.rng.IntN(3) == 0 {
			r.tr.AskRange(from, upper, most)
		}
		next, deleted, err := r.tr.DeleteRange(&Op{}, from, upper, most)
		if err != nil {
			r.t.Fatalf("from %q to %q: %v", from, upper, err)
		}
		if dirty := int(r.owner.heads.Load() - heads); dirty > credits {
			r.t.Fatalf("%d pages are dirty by one step, of %d credits", dirty, credits)
		}
		end := upper
		if next != nil {
			if end = next; bytes.Compare(next, from) <= 0 || upper != nil && bytes.Compare(next, upper) >= 0 {
				r.t.Fatalf("from %q to %q: next is %q", from, upper, next)
			}
		}
		if n := r.want.deleteRange(from, end); n != deleted {
			r.t.Fatalf("from %q to %q: %d keys, want %d", from, end, deleted, n)
		}
		if next == nil {
			return steps + 1
		}
		from = next
	}
}

func (m model) deleteRange(lower, upper []byte) (n int) {
	for k := range m {
		if k >= string(lower) && (upper == nil || k < string(upper)) {
			delete(m, k)
			n++
		}
	}
	return n
}

// compare has all changes beside leaves taken in, and compares the tree with the map.
func (r *rangeRig) compare() {
	r.t.Helper()
	for id := range r.tr.State().Pages {
		if err := r.tr.Absorb(&Op{}, pagemeta.PageID(id)); err != nil {
			r.t.Fatal(err)
		}
	}
	compare(r.t, r.tr, r.want, r.rng, func(rng *rand.Rand) []byte { return []byte{'a' + byte(rng.IntN(26))} })
}

// bound is a key, something near one, or none.
func (r *rangeRig) bound(key []byte) []byte {
	switch r.rng.IntN(12) {
	case 0:
		return nil
	case 1:
		return key[:r.rng.IntN(len(key))]
	case 2:
		return append(bytes.Clone(key), 0)
	}
	return key
}

// TestDeleteRange deletes ranges of all widths from trees with keys of all shapes, with
// long values and changes beside leaves, and compares what is left with a map. At the end
// all goes, and the tree must have the pages of an empty one.
func TestDeleteRange(t *testing.T) {
	for _, km := range keyMakers {
		t.Run(km.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, trapOnly bool) {
				r := newRangeRig(t, trapOnly)
				for range campaign.Scale(t, 15) {
					for range 600 {
						r.put(km.make(r.rng))
					}
					if r.rng.IntN(2) == 0 {
						freeze(t, r.tr.pages)
						r.tr.BeginRound()
						r.tr.EndRound()
					}
					for range 3 {
						lower, upper := r.bound(km.make(r.rng)), r.bound(km.make(r.rng))
						if upper != nil && bytes.Compare(lower, upper) > 0 {
							lower, upper = upper, lower
						}
						r.deleteRange(lower, upper, r.rng.IntN(50))
					}
					r.compare()
				}
				r.deleteRange(nil, nil, 100)
				r.compare()
				if s := r.tr.State(); s.Used != 3 || r.tr.Len() != 0 || s.Values != 0 || s.Inner != 0 {
					t.Errorf("emptied: %+v", s)
				}
			})
		})
	}
}

// TestDeleteRangeWhole deletes all but the first and the last key of a tree of three levels:
// that takes a step for a parent, not for a leaf, and makes no page dirty for a leaf.
func TestDeleteRangeWhole(t *testing.T) {
	r := newRangeRig(t, false)
	const keys = 40_000
	key := func(i int) []byte { return fmt.Appendf(nil, "%012d", i) }
	for i := range keys {
		if _, err := r.tr.Put(&Op{}, key(i), bytes.Repeat([]byte{'v'}, 400)); err != nil {
			t.Fatal(err)
		}
		r.want[string(key(i))] = string(bytes.Repeat([]byte{'v'}, 400))
	}
	freeze(t, r.tr.pages)
	type visit struct {
		leaf    pagemeta.PageID
		version uint64
	}
	var visits []visit // of readers that are on their way to a leaf
	for i := 100; i < keys-100; i += 500 {
		leaf, v, next := r.tr.descend(key(i))
		if next != done {
			t.Fatal(next)
		}
		visits = append(visits, visit{leaf, v})
	}
	s, heads := r.tr.State(), r.owner.heads.Load()
	steps := r.deleteRange(key(1), key(keys-1), maxSlots)
	dirty := int(r.owner.heads.Load() - heads)
	leaves := int(s.Used - s.Inner - 2)
	t.Logf("%d leaves, %d inner nodes: %d steps, %d dirty pages", leaves, s.Inner, steps, dirty)
	if steps > int(s.Inner)+3 || dirty > 2*int(s.Inner)+10 {
		t.Errorf("%d leaves below %d inner nodes took %d steps and %d dirty pages", leaves, s.Inner, steps, dirty)
	}
	for _, v := range visits {
		if r.tr.pages.Unchanged(v.leaf, v.version) {
			t.Fatalf("who has come to leaf %d before would still believe it", v.leaf)
		}
	}
	r.compare()
	if s := r.tr.State(); r.tr.height() != 1 || s.Used != 3 {
		t.Errorf("two keys left: height %d, %d pages", r.tr.height(), s.Used)
	}
}

// TestDeleteRangeBefore lets long values stay whose LSN is not before that of the call.
func TestDeleteRangeBefore(t *testing.T) {
	r := newRangeRig(t, false)
	for i := range 2000 {
		r.put(fmt.Appendf(nil, "%04d", i))
	}
	r.compare()
	const before = 500
	for from := []byte("0"); from != nil; {
		next, _, err := r.tr.DeleteRange(&Op{Before: before}, from, nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		from = next
	}
	kept := 0
	c := r.tr.NewCursor()
	for ok := c.First(); ok; ok = c.Next() {
		ref, err := ParseRef(c.Value())
		if !c.Long() || err != nil || ref.LSN < before {
			t.Fatalf("%q is left: %+v, %v", c.Key(), ref, err)
		}
		kept++
	}
	for k, v := range r.want {
		if ref, err := ParseRef([]byte(v)); err == nil && ref.Bytes == 1 && ref.LSN >= before {
			kept--
		} else {
			delete(r.want, k)
		}
	}
	if kept != 0 || c.Err() != nil {
		t.Errorf("%d too many are left, %v", kept, c.Err())
	}
	r.compare()
}

// TestDeleteRangeFails lets steps fail at every page that they make dirty: nothing may have
// changed then.
func TestDeleteRangeFails(t *testing.T) {
	r := newRangeRig(t, false)
	for i := range 3000 {
		r.put(fmt.Appendf(nil, "%04d", i))
	}
	failures := 0
	for i := range 100 {
		freeze(t, r.tr.pages)
		from := fmt.Appendf(nil, "%04d", r.rng.IntN(3000))
		r.owner.left.Store(int64(1 + i%7))
		keys := r.tr.Len()
		next, deleted, err := r.tr.DeleteRange(&Op{}, from, nil, 5)
		r.owner.left.Store(-1)
		switch {
		case err == nil:
			if n := r.want.deleteRange(from, next); n != deleted {
				t.Fatalf("from %q to %q: %d keys, want %d", from, next, deleted, n)
			}
		case !errors.Is(err, errOwner):
			t.Fatal(err)
		default:
			failures++
			if r.tr.Len() != keys {
				t.Fatalf("%d keys after a failure, of %d", r.tr.Len(), keys)
			}
		}
		if _, err := r.tr.Check(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if failures == 0 {
		t.Error("no step has failed")
	}
	r.compare()
}

// TestDeleteRangeBeside fills and deletes a range again and again, while others read and
// write keys below and above it: they must find what they have written, and readers of the
// range no value of an earlier time.
func TestDeleteRangeBeside(t *testing.T) {
	tr, _ := newTree(t, 20000, false)
	if err := tr.Defer(1<<20, 0); err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	key := func(band byte, i int) []byte { return fmt.Appendf(nil, "%c%05d", band, i) }
	put := func(band byte, i, n int) error {
		_, err := tr.Put(&Op{}, key(band, i), bytes.Repeat(fmt.Appendf(nil, "%08d", n), 20))
		return err
	}
	const keys = 2000
	var now atomic.Int64 // the time of the range: no older value is in it
	over := make(chan struct{})
	var wg sync.WaitGroup
	for _, band := range []byte("ac") {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(band), 1))
			have := map[int]int{}
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				i := rng.IntN(keys)
				want, has := have[i]
				value, found, err := tr.Get(nil, key(band, i))
				if err != nil || (found == Short) != has || has && string(value[:8]) != fmt.Sprintf("%08d", want) {
					t.Errorf("%s: %d, %.8q, %v, want %t %d", key(band, i), found, value, err, has, want)
					return
				}
				if n%3 == 0 {
					delete(have, i)
					_, err = tr.Delete(&Op{}, key(band, i))
				} else {
					have[i] = n
					err = put(band, i, n)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(9, 9))
		for {
			select {
			case <-over:
				return
			default:
			}
			oldest := now.Load()
			i := rng.IntN(keys)
			value, found, err := tr.Get(nil, key('b', i))
			if err != nil || found == Short && string(value[:8]) < fmt.Sprintf("%08d", oldest) {
				t.Errorf("%s: %.8q, %v, though %d has begun", key('b', i), value, err, oldest)
				return
			}
		}
	})
	for n := range campaign.Scale(t, 12) {
		for i := range keys {
			if err := put('b', i, n); err != nil {
				t.Fatal(err)
			}
		}
		for from := []byte("b"); from != nil; {
			var err error
			if from, _, err = tr.DeleteRange(&Op{}, from, []byte("c"), 7); err != nil {
				t.Fatal(err)
			}
		}
		now.Store(int64(n + 1))
	}
	close(over)
	wg.Wait()
	if _, err := tr.Check(context.Background(), nil); err != nil {
		t.Error(err)
	}
}
