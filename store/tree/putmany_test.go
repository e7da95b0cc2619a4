package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"faultline/internal/campaign"
	"faultline/pagemeta"
)

// TestPutMany makes lists of writes, and the same on a map one after the other: random keys,
// runs of neighbours, keys behind all others, keys that come twice, deletes, keys that
// expire; every other list is sorted. Each write must say what the map does, and the tree must hold what the map holds.
func TestPutMany(t *testing.T) {
	for _, km := range keyMakers {
		t.Run(km.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, trapOnly bool) {
				tr, _ := newTree(t, 20000, trapOnly)
				r := rand.New(rand.NewPCG(campaign.Seed(t), 3))
				m, all := &manyModel{tr, model{}, map[string]uint64{}}, []string(nil)
				if k := km.make(r); len(k) > 1 {
					tr.Renew(k[0], k[1]) // so that keys are counted by expiry
				}
				for i := range campaign.Scale(t, 120) {
					var w []Write
					for j := range 1 + r.IntN(200) {
						w = append(w, Write{Change: randomChange(r, nextKey(r, i%4, j, all, km.make), i%3)})
					}
					if r.IntN(2) == 0 {
						w = sorted(t, w)
					}
					m.make(t, w)
					all = m.values.sorted()
					if i%7 == 6 {
						freeze(t, tr.pages)
					}
					if i%20 == 19 {
						compare(t, tr, m.values, r, km.make)
					}
				}
				var w []Write
				for k := range m.values {
					w = append(w, Write{Change: Change{Key: []byte(k)}})
				}
				m.make(t, w)
				compare(t, tr, m.values, r, km.make)
				if s := tr.State(); tr.height() > 2 || s.Used > 5 {
					t.Errorf("emptied tree: height %d, %d pages in use", tr.height(), s.Used)
				}
			})
		})
	}
}

// sorted is w as Writes.Sort has it, which must be that of a stable sort.
func sorted(t *testing.T, w []Write) []Write {
	t.Helper()
	want := slices.Clone(w)
	slices.SortStableFunc(want, func(a, b Write) int { return bytes.Compare(a.Key, b.Key) })
	list := Writes{List: w}
	list.Sort()
	if !reflect.DeepEqual(list.List, want) {
		t.Fatalf("%d writes are not sorted", len(w))
	}
	return list.List
}

// nextKey is the key of write j of a list: one of four kinds of lists.
func nextKey(r *rand.Rand, kind, j int, all []string, random func(*rand.Rand) []byte) []byte {
	switch {
	case kind == 1 && len(all) > 0: // behind all others, as far as a key may be so long
		last := all[len(all)-1]
		return fmt.Appendf(nil, "%s~%05d", last[:min(len(last), MaxKeyBytes-6)], j)
	case kind == 2 && len(all) > 0: // neighbours of one that is there
		near := all[len(all)/2]
		return fmt.Appendf(nil, "%s%05d", near[:min(len(near), MaxKeyBytes-5)], r.IntN(300))
	case kind == 3 && len(all) > 0: // those that are there
		return []byte(all[(len(all)/3+j)%len(all)])
	}
	return random(r)
}

// randomChange puts a value that is short, or longer, or as long as may be, or deletes; of
// kind 2 it deletes most often.
func randomChange(r *rand.Rand, key []byte, kind int) Change {
	if r.IntN(10) < 1+3*kind {
		return Change{Key: key}
	}
	size := r.IntN(150)
	if r.IntN(60) == 0 {
		size = MaxEntryBytes - ExpiryBytes - len(key)
	}
	c := Change{Key: key, Value: make([]byte, 0, ExpiryBytes+size), Expires: r.IntN(3) == 0}
	if c.Expires {
		c.Value = AppendExpiry(c.Value, 1+r.Uint64N(1000))
	}
	for range size {
		c.Value = append(c.Value, byte(r.Uint32()))
	}
	return c
}

// A manyModel is what PutMany is compared with.
type manyModel struct {
	tr      *Tree
	values  model
	expires map[string]uint64
}

// make makes writes in the tree and in the maps, and compares what each has met.
func (m *manyModel) make(t *testing.T, w []Write) {
	t.Helper()
	wants := slices.Clone(w)
	if made, err := m.tr.PutMany(&Op{Found: true}, w); made != len(wants) || err != nil {
		t.Fatalf("%d of %d writes made: %v", made, len(wants), err)
	}
	for i, want := range wants {
		key := string(want.Key)
		_, want.Existed = m.values[key]
		want.Was = m.expires[key]
		if got := w[i]; !reflect.DeepEqual(got, want) {
			t.Fatalf("write %d of %d: %.40q, existed %t, was to expire at %d; want %.40q, %t, %d",
				i, len(wants), got.Key, got.Existed, got.Was, want.Key, want.Existed, want.Was)
		}
		delete(m.expires, key)
		switch {
		case want.Value == nil:
			delete(m.values, key)
		case want.Expires:
			m.values[key], m.expires[key] = string(want.Value[ExpiryBytes:]), want.Expiry()
		default:
			m.values[key] = string(want.Value)
		}
	}
}

// TestPutManyFails has the owner refuse a page in the middle of a list: the writes that
// were made must be there, and no other.
func TestPutManyFails(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		partly := 0
		for pages := range int64(60) {
			tr, owner := newTree(t, 2000, trapOnly)
			m := &manyModel{tr, model{}, map[string]uint64{}}
			var w []Write
			for i := range 400 {
				w = append(w, Write{Change: Change{Key: fmt.Appendf(nil, "%04d", 2*i), Value: make([]byte, 100)}})
			}
			m.make(t, w)
			freeze(t, tr.pages)
			w = w[:0]
			for i := range 300 {
				w = append(w, Write{Change: Change{Key: fmt.Appendf(nil, "%04d", 650+i), Value: make([]byte, 90)}})
			}
			owner.left.Store(pages + 1)
			made, err := tr.PutMany(&Op{}, w)
			if owner.left.Store(0); made == len(w) {
				continue
			}
			if !errors.Is(err, errOwner) {
				t.Fatalf("%d pages: %v", pages, err)
			}
			if made > 0 {
				partly++
			}
			for _, write := range w[:made] {
				m.values[string(write.Key)] = string(write.Value)
			}
			compare(t, tr, m.values, rand.New(rand.NewPCG(1, 2)), keyMakers[0].make)
		}
		if partly == 0 {
			t.Error("no list was made in part")
		}
	})
}

// TestPutManyAppend is TestAppend for lists of writes: their leaves must be as full.
func TestPutManyAppend(t *testing.T) {
	for where, prefix := range map[string]string{"before others": "b", "at the end": "d"} {
		tr, _ := newTree(t, 4096, false)
		var w []Write
		w = append(w, Write{Change: Change{Key: []byte("aaaaaaaa"), Value: []byte("first")}})
		w = append(w, Write{Change: Change{Key: []byte("cccccccc"), Value: []byte("last")}})
		const keys = 20_000
		for i := 0; i < keys; w = w[:0] {
			for range 137 {
				w = append(w, Write{Change: Change{Key: fmt.Appendf(nil, "%s%07d", prefix, i), Value: make([]byte, 100)}})
				i++
			}
			if made, err := tr.PutMany(&Op{}, w); made != len(w) || err != nil {
				t.Fatal(made, err)
			}
		}
		if _, err := tr.Check(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		const full = keys * (8 + 100) / (pagemeta.PageBytes - pagemeta.HeaderBytes)
		if n := int(tr.leaves.Load()); n > full*118/100 {
			t.Errorf("%s: %d leaves, and %d have room for all", where, n, full)
		}
	}
}
