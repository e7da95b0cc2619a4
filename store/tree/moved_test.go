package tree

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestMovedLeaf stops a reader on its way from the root to the first leaf, whose latch
// is taken, and gives the leaf another page meanwhile. The page that the reader goes on
// with is another leaf then: it must look at the root again, and find its key. Should it not have
// come so far when the leaf moves, it finds the key in any case.
func TestMovedLeaf(t *testing.T) {
	tr, _ := newTree(t, 1000, false)
	key := func(i int) []byte { return fmt.Appendf(nil, "%04d", i) }
	want := strings.Repeat("v", 100)
	for i := range 100 {
		if _, err := tr.Put(&Op{}, key(i), []byte(want)); err != nil {
			t.Fatal(err)
		}
	}
	if tr.node(Root).level() != 1 {
		t.Fatal("the first child of the root is no leaf")
	}
	leaf := tr.node(Root).child0()
	if !tr.pages.Latch(leaf, tr.pages.Version(leaf)) {
		t.Fatal("somebody has changed the leaf")
	}
	got := make(chan error)
	go func() {
		value, found, err := tr.Get(nil, key(0))
		if err == nil && (found != Short || string(value) != want) {
			err = fmt.Errorf("found %d, %q", found, value)
		}
		got <- err
	}()
	for range 10_000 {
		runtime.Gosched() // the reader comes to the latch
	}
	err := tr.restructure(&Op{}, func(c *change) step {
		to, err := tr.alloc(c)
		if err != nil {
			return step{kind: failed, err: err}
		}
		if _, s := tr.copyNode(c, Root); s != done {
			return s
		}
		root := c.write(Root)
		*root = c.copied
		le.PutUint32(root[child0At:], uint32(to))
		*c.write(to) = *tr.node(leaf)
		return done
	})
	if err != nil {
		t.Fatal(err)
	}
	tr.writing(leaf).setCount(0)
	tr.pages.Unlatch(leaf, true)
	if err := <-got; err != nil {
		t.Error(err)
	}
}
