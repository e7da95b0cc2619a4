package tree

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// mixedLeaf is a leaf with keys of many lengths, some of which expire.
func mixedLeaf() *node {
	r := &run{}
	r.reset(0, 0)
	for i := range 60 {
		e := entry{key: fmt.Appendf([]byte("prefix"), "%02d%.*s", i/3, i%3*3, "abcdef"), value: bytes.Repeat([]byte{byte(i)}, i%20)}
		if i%7 == 0 {
			e.value, e.flags = append(AppendExpiry(nil, uint64(i+1)), e.value...), expiryBit
		}
		r.put(e)
	}
	n := &node{}
	r.lay(n, part{0, len(r.entries)})
	return n
}

// TestSpoiltLeaf spoils a leaf, some bytes at a time. A cursor that does not refuse it must
// return keys that ascend, from either end, and values that are in the page.
func TestSpoiltLeaf(t *testing.T) {
	tr, _ := newTree(t, 64, false)
	good := mixedLeaf()
	r := rand.New(rand.NewPCG(1, 2))
	whole, refused := 0, 0
	for i := range 20_000 {
		n := *good
		for range i % 4 {
			n[r.IntN(nodeBytes)] = byte(r.IntN(256))
			n[r.IntN(slotsAt+slotBytes*good.count())] ^= 1 << r.IntN(8)
		}
		for _, dir := range []int{+1, -1} {
			c := Cursor{t: tr}
			if !c.hold(Root, &n) {
				refused++
				continue
			}
			var last []byte
			at := 0
			if dir < 0 {
				at = c.n - 1
			}
			ok := c.n > 0 && c.take(at)
			for ; ok; ok = (at+dir >= 0 && at+dir < c.n) && c.move(dir) {
				at = c.at
				if last != nil && bytes.Compare(c.Key(), last) != dir {
					t.Fatalf("leaf %d: %q after %q", i, c.Key(), last)
				}
				last = append(last[:0], c.Key()...)
				if len(c.Value()) > nodeBytes || c.flags&expiryBit != 0 && c.Expiry() == 0 {
					t.Fatalf("leaf %d: value %q, expires at %d", i, c.Value(), c.Expiry())
				}
			}
			if c.err == nil && c.n == good.count() {
				whole++
			} else {
				refused++
			}
		}
	}
	if whole < 1000 || refused < 1000 {
		t.Errorf("%d leaves were read, %d refused", whole, refused)
	}
}

// TestCursorBounds compares the moves of cursors within bounds with a sorted list.
func TestCursorBounds(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		tr, _ := newTree(t, 1024, trapOnly)
		var keys []string
		for i := range 1000 {
			keys = append(keys, fmt.Sprintf("%04d", 2*i))
			if _, err := tr.Put(&Op{}, []byte(keys[i]), make([]byte, 40)); err != nil {
				t.Fatal(err)
			}
		}
		r := rand.New(rand.NewPCG(1, 2))
		pick := func() []byte { return fmt.Appendf(nil, "%04d", r.IntN(2002)) }
		for range 300 {
			c := tr.NewCursor()
			lower, upper := pick(), pick()
			in := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k < string(lower) || k >= string(upper) })
			c.Bound(lower, upper)
			sought := slices.MaxFunc([][]byte{lower, pick()}, bytes.Compare)
			at, _ := slices.BinarySearch(in, string(sought))
			ok := c.SeekGE(sought)
			for range 200 {
				if inside := at >= 0 && at < len(in); ok != inside || ok && string(c.Key()) != in[at] {
					t.Fatalf("[%s,%s) from %s: %t %q, want key %d of %d", lower, upper, sought, ok, c.Key(), at, len(in))
				}
				if !ok {
					break
				}
				if r.IntN(2) == 0 {
					at, ok = at+1, c.Next()
				} else {
					at, ok = at-1, c.Prev()
				}
				if r.IntN(30) == 0 && ok { // a long way, over many leaves
					for range r.IntN(300) {
						if ok {
							at, ok = at-1, c.Prev()
						}
					}
				}
			}
			if c.Err() != nil {
				t.Fatal(c.Err())
			}
			c.Close()
		}
	})
}
