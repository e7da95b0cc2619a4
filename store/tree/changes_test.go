package tree

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"faultline/internal/campaign"
	"faultline/pagemeta"
)

// TestChanges puts and deletes at random beside a few leaves, and compares what the
// buffer says with maps: key by key, and leaf by leaf; the fullest zone turns when there
// is little room, is forgotten leaf by leaf, and given back.
func TestChanges(t *testing.T) {
	tr, _ := newTree(t, 100, false)
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 1))
	if err := tr.Defer(64<<10, 0); err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	c := &tr.changes
	type place struct {
		leaf pagemeta.PageID
		key  string
	}
	want := map[place][]byte{} // nil: deleted
	expires := func(value []byte) bool { return len(value)%2 == 1 }
	refused, turns := 0, 0
	for n := range campaign.Scale(t, 30_000) {
		p := place{pagemeta.PageID(3 + rng.IntN(40)), fmt.Sprintf("key%d", rng.IntN(12))}
		var value []byte
		if rng.IntN(3) > 0 {
			value = bytes.Repeat([]byte{byte(n)}, rng.IntN(300))
		}
		if c.add(p.leaf, Change{[]byte(p.key), value, expires(value)}) {
			want[p] = value
		} else {
			refused++
			leaf := p.leaf
			c.forget(leaf) // as if it had taken them in
			for p := range want {
				if p.leaf == leaf {
					delete(want, p)
				}
			}
		}
		if _, full := tr.Deferring(); full {
			turns++
			zone, _ := tr.Fullest(0)
			tr.Turn(zone, uint64(n))
			for _, leaf := range tr.Leaves(zone) {
				c.forget(leaf)
				for p := range want {
					if p.leaf == leaf {
						delete(want, p)
					}
				}
			}
			if err := tr.Done(zone); err != nil {
				t.Fatal(err)
			}
		}
		ch, found := c.find(p.leaf, []byte(p.key))
		if v, ok := want[p]; ok != found || (ch.Value == nil) != (v == nil) || !bytes.Equal(ch.Value, v) || ch.Expires != expires(v) {
			t.Fatalf("change %d: %v is %q, expires %t, found %t; want %q, %t", n, p, ch.Value, ch.Expires, found, v, ok)
		}
		if n%50 == 0 {
			leaf, keys := p.leaf, map[string][]byte{}
			for _, ch := range c.beside(nil, leaf) {
				if _, newer := keys[string(ch.Key)]; !newer {
					keys[string(ch.Key)] = ch.Value
				}
			}
			for p, v := range want {
				if got, ok := keys[p.key]; p.leaf == leaf && (!ok || (got == nil) != (v == nil) || !bytes.Equal(got, v)) {
					t.Fatalf("change %d: beside leaf %d: %s is %q, %t; want %q", n, leaf, p.key, got, ok, v)
				}
			}
		}
	}
	if refused == 0 || turns == 0 {
		t.Errorf("%d refused, %d turns", refused, turns)
	}
}

// TestMergeBeside puts a change beside a leaf and makes its neighbour sparse, so that
// the two would be merged: the change must be found after that.
func TestMergeBeside(t *testing.T) {
	tr, _ := newTree(t, 1000, false)
	if err := tr.Defer(1<<20, 0); err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	key := func(i int) []byte { return fmt.Appendf(nil, "%04d", i) }
	const keys = 100
	for i := range keys {
		if _, err := tr.Put(&Op{}, key(i), bytes.Repeat([]byte("v"), 100)); err != nil {
			t.Fatal(err)
		}
	}
	root := tr.node(Root)
	right, ok := root.child(root.count())
	if !ok || root.count() == 0 {
		t.Fatal("one leaf")
	}
	if f, s := tr.tryDefer(right, tr.pages.Version(right), Change{Key: key(keys), Value: []byte("beside")}); f != deferred || s != done {
		t.Fatal(f, s)
	}
	for i := range keys - 1 {
		if _, err := tr.Delete(&Op{Found: true}, key(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, leaf := range []pagemeta.PageID{right, Root} {
		if value, found, err := tr.Get(nil, key(keys)); found != Short || string(value) != "beside" || err != nil {
			t.Errorf("%q, %d, %v", value, found, err)
		}
		if err := tr.Absorb(&Op{}, leaf); err != nil {
			t.Error(err)
		}
	}
}
