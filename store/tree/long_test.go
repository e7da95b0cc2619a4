package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"faultline/pagemeta"
)

// A longModel is what a tree with long values should have, and which pages may be
// written now, beside it: those that neither the last cut on disk nor the round
// under way has anything to do with.
type longModel struct {
	expiry map[string]uint64
	tr     *Tree
	keys   map[string]string // the value, or the Ref of a long one
	onDisk map[pagemeta.PageID]bool
	inCut  map[pagemeta.PageID]bool // nil: no round is under way
}

// used is which pages are in use now.
func (m *longModel) used() map[pagemeta.PageID]bool {
	used := map[pagemeta.PageID]bool{}
	for id := range pagemeta.PageID(m.tr.State().Pages) {
		if at, mask := bit(m.tr.pages.Page(bitmapOf(id)), id); *at&mask != 0 {
			used[id] = true
		}
	}
	return used
}

// check fails if a value could be written over what a crash may need.
func (m *longModel) check(t *testing.T, e Extent) {
	t.Helper()
	for id := e.Page; id < e.End(); id++ {
		if m.onDisk[id] || m.inCut[id] {
			t.Fatalf("page %d is held, and the cut on disk has it", id)
		}
		if s := m.tr.pages.State(id); s != pagemeta.Absent && s != pagemeta.Clean {
			t.Fatalf("page %d is held, and %v: a round will write it", id, s)
		}
	}
}

// TestLong makes random changes to a tree, half of them of long values and half of them
// of keys that expire, with rounds that begin and end between them, and compares it with
// a model: what it has by key, which pages it has in use, and that what Hold returns is
// nothing that the cut on disk or the one on its way there refers to.
func TestLong(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		const limit = 3000
		tr, _ := newTree(t, limit, trapOnly)
		r := rand.New(rand.NewPCG(3, 4))
		m := longModel{tr: tr, keys: map[string]string{}, expiry: map[string]uint64{}}
		var cut []pagemeta.FrozenPage
		begin := func() {
			tr.BeginRound()
			var err error
			if cut, err = tr.pages.Freeze(nil); err != nil {
				t.Fatal(err)
			}
			m.inCut = m.used()
		}
		end := func() {
			var image pagemeta.Page
			for _, p := range cut {
				tr.pages.Capture(p.ID, &image)
				tr.pages.Written(p.ID)
			}
			tr.EndRound()
			m.onDisk, m.inCut = m.inCut, nil
		}
		full := 0
		for i := range 6000 {
			key := fmt.Sprintf("%0*d", 1+r.IntN(2)*300, r.IntN(300))
			expiry := r.Uint64N(3) * r.Uint64N(100)
			switch r.IntN(9) {
			case 0, 1, 2:
				ref := Ref{ID: r.Uint64(), Bytes: r.IntN(1 << 28)}
				want := 1 + r.IntN(1<<r.IntN(8))
				for want > Pages(ref.Extents) && len(ref.Extents) < MaxExtents {
					e, err := tr.Hold(want-Pages(ref.Extents), true)
					if errors.Is(err, ErrFull) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					m.check(t, e)
					ref.Extents = append(ref.Extents, e)
				}
				if want > Pages(ref.Extents) || r.IntN(5) == 0 {
					if want > Pages(ref.Extents) {
						full++
					}
					tr.Drop(ref.Extents...)
					break
				}
				var op Op
				existed, err := tr.PutLong(&op, []byte(key), ref, expiry)
				if errors.Is(err, ErrFull) {
					tr.Drop(ref.Extents...)
					break
				}
				if _, has := m.keys[key]; err != nil || existed != has || op.Was != m.expiry[key] {
					t.Fatalf("put long %q: %t, %d, %v, want %t, %d", key, existed, op.Was, err, has, m.expiry[key])
				}
				m.expire(key, expiry)
				m.keys[key] = string(ref.Append([]byte("long")))
			case 3, 4:
				value := bytes.Repeat([]byte(key[len(key)-1:]), r.IntN(1000))
				var op Op
				var existed bool
				var err error
				if expiry == 0 {
					existed, err = tr.Put(&op, []byte(key), value)
				} else {
					existed, err = tr.PutExpiring(&op, []byte(key), append(AppendExpiry(nil, expiry), value...))
				}
				if _, has := m.keys[key]; err != nil || existed != has || op.Was != m.expiry[key] {
					t.Fatalf("put %q: %t, %d, %v, want %t, %d", key, existed, op.Was, err, has, m.expiry[key])
				}
				m.expire(key, expiry)
				m.keys[key] = string(value)
			case 5, 6:
				var op Op
				existed, err := tr.Delete(&op, []byte(key))
				if _, has := m.keys[key]; err != nil || existed != has || op.Was != m.expiry[key] {
					t.Fatalf("delete %q: %t, %d, %v, want %t, %d", key, existed, op.Was, err, has, m.expiry[key])
				}
				delete(m.keys, key)
				delete(m.expiry, key)
			case 8:
				var op Op
				now := r.Uint64N(20)
				_, has := m.keys[key]
				was := m.expiry[key]
				has = has && (was == 0 || was > now)
				set, err := tr.SetExpiry(&op, []byte(key), expiry, now)
				if err != nil || set != has || op.Was != was {
					t.Fatalf("set expiry of %q: %t, %d, %v, want %t, %d", key, set, op.Was, err, has, was)
				}
				if set {
					m.expire(key, expiry)
				}
			case 7:
				if m.inCut == nil && r.IntN(3) == 0 {
					begin()
				} else if m.inCut != nil {
					end()
				}
			}
			if i%1000 == 999 {
				m.compare(t)
			}
		}
		m.compare(t)
		if full == 0 {
			t.Error("the tree was never full: no hold in scattered pages was tried")
		}
		for _, key := range slices.Collect(maps.Keys(m.keys)) {
			if _, err := tr.Delete(&Op{}, []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		if s := tr.State(); s.Values != 0 || tr.Len() != 0 || tr.mu.space.holding != 0 || len(tr.mu.space.held) != 0 {
			t.Errorf("emptied: %+v, %d pages held", s, tr.mu.space.holding)
		}
	})
}

// expire notes when key expires.
func (m *longModel) expire(key string, expiry uint64) {
	if m.expiry[key] = expiry; expiry == 0 {
		delete(m.expiry, key)
	}
}

// compare checks the whole tree.
func (m *longModel) compare(t *testing.T) {
	t.Helper()
	values := 0
	if _, err := m.tr.Check(context.Background(), func(Ref) error { values++; return nil }); err != nil {
		t.Fatal(err)
	}
	for key, want := range m.keys {
		got, found, expiry, err := m.tr.GetExpiring(nil, []byte(key))
		if expiry != m.expiry[key] {
			t.Fatalf("%q expires at %d, want %d", key, expiry, m.expiry[key])
		}
		if found == Long {
			values--
			got = append([]byte("long"), got...)
		}
		if err != nil || found == Nothing || string(got) != want {
			t.Fatalf("get %q: %d, %v, %q, want %q", key, found, err, got, want)
		}
	}
	if values != 0 {
		t.Fatalf("%d long values more in Check than by Get", values)
	}
	seen := 0
	c := m.tr.NewCursor()
	for ok := c.First(); ok; ok = c.Next() {
		seen++
		if c.Long() != (len(m.keys[string(c.Key())]) > 4 && m.keys[string(c.Key())][:4] == "long") {
			t.Fatalf("%q: long %t", c.Key(), c.Long())
		}
		if want := m.expiry[string(c.Key())]; c.Expiry() != want {
			t.Fatalf("%q expires at %d, want %d", c.Key(), c.Expiry(), want)
		}
	}
	if seen != len(m.keys) || c.Err() != nil {
		t.Fatalf("%d keys, %v, want %d", seen, c.Err(), len(m.keys))
	}
}

// TestFailedChange lets a change fail after it has made a page writable that it
// would have taken. The page is free then, but Dirty, so the next round writes it:
// Hold must not return it before.
func TestFailedChange(t *testing.T) {
	tr, owner := newTree(t, 100, false)
	for i := range 5 {
		if _, err := tr.Put(&Op{}, fmt.Appendf(nil, "%d", i), make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	freeze(t, tr.pages)
	for i := range 5 {
		owner.left.Store(int64(i + 1))
		_, err := tr.Put(&Op{}, []byte("00"), make([]byte, 4000))
		if err == nil {
			break
		}
		if !errors.Is(err, errOwner) {
			t.Fatal(err)
		}
		owner.left.Store(-1)
		e, err := tr.Hold(4, true)
		if err != nil {
			t.Fatal(err)
		}
		for id := e.Page; id < e.End(); id++ {
			if s := tr.pages.State(id); s != pagemeta.Absent && s != pagemeta.Clean {
				t.Errorf("after %d pages: page %d is held, and %v", i+1, id, s)
			}
		}
		tr.Drop(e)
	}
}

// TestHoldAgain checks that only free pages can be held again, all or none.
func TestHoldAgain(t *testing.T) {
	tr, _ := newTree(t, 1000, false)
	e, err := tr.Hold(10, true)
	if err != nil {
		t.Fatal(err)
	}
	tr.Drop(e)
	rest := Extent{e.End(), 5}
	for _, bad := range [][]Extent{
		{rest, {Root, 1}}, {rest, {1, 1}}, {rest, {e.End() + 4, 1}}, {rest, {999, 2}}, {rest, {50, 0}},
	} {
		if err := tr.HoldAgain(bad); err == nil {
			t.Errorf("%v: held", bad)
		}
		if tr.mu.space.holding != 0 {
			t.Fatalf("%v: %d pages held", bad, tr.mu.space.holding)
		}
	}
	if err := tr.HoldAgain([]Extent{e, rest}); err != nil {
		t.Fatal(err)
	}
	if next, err := tr.Hold(1, true); err != nil || next.Page != rest.End() {
		t.Errorf("held %v, %v, want page %d", next, err, rest.End())
	}
}

// TestExtents checks which extents are good ones, at the borders of groups, and
// that a Ref is parsed as it was written, and nothing else.
func TestExtents(t *testing.T) {
	for _, c := range []struct {
		e    Extent
		good bool
	}{
		{Extent{0, 1}, false}, {Extent{1, 1}, false}, {Extent{Root, 1}, false}, {Extent{3, 0}, false},
		{Extent{3, 1}, true}, {Extent{3, groupPages - 3}, true}, {Extent{3, groupPages - 2}, true},
		{Extent{3, groupPages - 1}, false}, {Extent{groupPages, 1}, true}, {Extent{groupPages, 2}, false},
		{Extent{groupPages + 1, 1}, false}, {Extent{groupPages + 2, groupPages - 1}, true},
		{Extent{groupPages + 2, groupPages}, false}, {Extent{groupPages + 2, 1<<32 - 1}, false},
		{Extent{1<<31 - 1, 1}, true}, {Extent{1 << 31, 1}, false}, {Extent{1<<32 - 2, 1}, false},
	} {
		if got := c.e.good(); got != c.good {
			t.Errorf("%v: %t, want %t", c.e, got, c.good)
		}
	}
	ref := Ref{77, 1 << 60, 12345678, []Extent{{5, 6}, {100, 1}, {groupPages + 2, groupPages - 1}}}
	b := ref.Append(nil)
	got, err := ParseRef(b)
	if err != nil || got.ID != ref.ID || got.LSN != ref.LSN || got.Bytes != ref.Bytes || !slices.Equal(got.Extents, ref.Extents) {
		t.Errorf("%+v, %v, want %+v", got, err, ref)
	}
	for _, bad := range [][]byte{
		nil, b[:19], b[:20], b[:len(b)-1], append(bytes.Clone(b), 1),
		Ref{1, 3, 2, []Extent{{5, 6}, {10, 1}}}.Append(nil),
		Ref{1, 3, 2, slices.Repeat([]Extent{{9, 1}}, 2)}.Append(nil),
		Ref{1, 3, 2, make([]Extent, 17)}.Append(nil),
	} {
		if got, err := ParseRef(bad); err == nil {
			t.Errorf("%x: %+v", bad, got)
		}
	}
}
