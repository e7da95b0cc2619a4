package tree

import (
	"bytes"

	"faultline/pagemeta"
)

// A drop is a leaf that goes whole. Its page is not written: it is marked as free, and its
// latch has another version from then on, which is what a reader that has come
// by an old pointer looks at.
type drop struct {
	id      pagemeta.PageID
	version uint64
}

// planDrops plans that the leaf of lower goes, and those after it under the same parent,
// as long as they lie inside the range with all their keys. It plans nothing if the first
// one does not.
//
//	   [ .. m  p  s .. ]                   [ .. m .. ]
//	   /    |  |   \                       /    |
//	...  [m n][p q][s t]        ==>     ...  [s t]       and two free pages
func (t *Tree) planDrops(c *change, k *cut) step {
	parent := k.trail.at(1)
	up := &c.runs[1]
	n := t.node(parent.id)
	up.reset(1, n.child0())
	if !up.take(n) || !up.ascends() {
		return step{kind: damaged, page: parent.id}
	}
	lo, end, s := t.bounds(&k.trail, 1)
	if s != done {
		return s
	}
	for i := parent.index; i <= len(up.entries) && len(c.drops) < k.most; i++ {
		hi := end
		if i > 0 {
			lo = up.entries[i-1].key
		}
		if i < len(up.entries) {
			hi = up.entries[i].key
		}
		if i > parent.index && !k.above(lo) {
			break
		}
		whole, s := t.planDrop(c, k, up.childAt(i), k.holds(lo, hi))
		if s != done {
			return s
		}
		if !whole {
			break
		}
		k.next = nil
		k.goOn(hi)
	}
	if len(c.drops) == 0 {
		return done
	}
	return t.planOrphans(c, k)
}

// holds tells whether all keys from lo on that are less than hi are in the range.
func (k *cut) holds(lo, hi []byte) bool {
	return bytes.Compare(k.lower, lo) <= 0 && (k.upper == nil || hi != nil && bytes.Compare(hi, k.upper) <= 0)
}

// planDrop adds leaf id to those that go, if all of its keys are in the range: inside
// tells that others cannot be in it.
func (t *Tree) planDrop(c *change, k *cut, id pagemeta.PageID, inside bool) (whole bool, s step) {
	if int(id) >= t.pages.Pages {
		return false, step{kind: damaged, page: k.trail.at(1).id}
	}
	if err := t.pages.Ask(id, pagemeta.Cold); err != nil {
		return false, step{kind: failed, err: err}
	}
	v := t.pages.Version(id)
	n := t.node(id)
	if !n.is(0) || !n.sane() {
		return false, t.believe(id, v, false)
	}
	beside := t.pages.Marked(id)
	if !inside && (beside || !k.holdsAll(n)) {
		return false, t.believe(id, v, true)
	}
	extents, keep, ok := t.extentsOf(c.op, n)
	if s := t.believe(id, v, ok); s != done || keep {
		return false, s
	}
	keys := n.count()
	if beside {
		if keys, s = t.countWith(c, id); s != done {
			return false, s
		}
	}
	before := len(k.bitmaps)
	if !k.give(append(extents, Extent{id, 1})) {
		return false, step{kind: damaged, page: id}
	}
	if len(k.bitmaps) > cutBitmaps && before > 0 || len(k.bitmaps) > cutBitmaps+MaxExtents {
		return false, done // too many places for this time
	}
	c.drops = append(c.drops, drop{id, v})
	c.frees = append(c.frees, id)
	c.gives = append(c.gives, extents...)
	k.deleted += keys
	return true, t.believe(id, v, c.uncount(n))
}

// uncount notes that the keys of a sane leaf are gone. It returns false if one of them is
// out of bounds.
func (c *change) uncount(n *node) bool {
	if prefix := n.prefix(); len(prefix) >= OwnerBytes {
		d := delta{keys: -n.count()}
		for i := range n.count() {
			if n.expires(i) {
				d.expiring--
			}
		}
		c.count(prefix, d)
		return true
	}
	for i := range n.count() {
		key, ok := n.keyAt(i)
		if !ok {
			return false
		}
		d := delta{keys: -1}
		if n.expires(i) {
			d.expiring = -1
		}
		c.count(key, d)
	}
	return true
}

// holdsAll tells whether all keys of a leaf are in the range, as far as they can be read.
func (k *cut) holdsAll(n *node) bool {
	if n.count() == 0 {
		return true
	}
	first, ok := n.keyAt(0)
	last, in := n.keyAt(n.count() - 1)
	return ok && in && bytes.Compare(k.lower, first) <= 0 && k.above(last)
}

// extentsOf returns where the long values of a leaf are. keep tells that one of them is
// not to be deleted, ok that all could be read.
func (t *Tree) extentsOf(op *Op, n *node) (extents []Extent, keep, ok bool) {
	if t.mu.space.values == 0 {
		return nil, false, true
	}
	for i := range n.count() {
		if !n.isLong(i) {
			continue
		}
		value, in := n.value(i)
		more, kept, good := op.extents(&entry{value: value, flags: n.flags(i)})
		if !in || !good {
			return nil, false, false
		}
		extents, keep = append(extents, more...), keep || kept
	}
	return extents, keep, true
}

// countWith returns how many keys leaf id has with the changes beside it.
func (t *Tree) countWith(c *change, id pagemeta.PageID) (keys int, s step) {
	if _, s := t.takeLeaf(c, id); s != done {
		return 0, s
	}
	var memory [32]Change
	list := t.changes.beside(memory[:0], id)
	for i := len(list) - 1; i >= 0; i-- {
		c.runs[0].make(list[i])
	}
	return len(c.runs[0].entries), done
}

// planOrphans takes the leaves that go from their parent. A node that is left without
// a child goes too. A root without a child is an empty leaf.
func (t *Tree) planOrphans(c *change, k *cut) step {
	first, n := k.trail.at(1).index, len(c.drops)
	for level := 1; level < k.trail.height; level++ {
		at := k.trail.at(level)
		up := &c.runs[level]
		if level > 1 {
			node := t.node(at.id)
			up.reset(level, node.child0())
			if !up.take(node) || !up.ascends() {
				return step{kind: damaged, page: at.id}
			}
			first, n = at.index, 1
		}
		if n <= len(up.entries) {
			up.removeChildren(first, n)
			image := c.write(at.id)
			up.lay(image, part{0, len(up.entries)})
			if at.id == Root {
				k.lone = len(up.entries) == 0
			} else if image.sparse() {
				k.sparse = level
			}
			return done
		}
		if at.id != Root {
			c.free(at.id, c.write(at.id))
		}
	}
	c.runs[0].reset(0, 0)
	c.runs[0].lay(c.write(Root), part{})
	c.height = 1
	return done
}

// removeChildren removes n children of a run of an inner node, from the first on. One at
// least is left.
func (r *run) removeChildren(first, n int) {
	if first == 0 {
		r.child0 = r.entries[n-1].child
		r.entries = r.entries[n:]
		return
	}
	r.entries = append(r.entries[:first-1], r.entries[first-1+n:]...)
}

// latchDrops takes the latches of the leaves that go, or none.
func (t *Tree) latchDrops(c *change) bool {
	for i, d := range c.drops {
		if !t.pages.Latch(d.id, d.version) {
			for _, held := range c.drops[:i] {
				t.pages.Unlatch(held.id, false)
			}
			return false
		}
	}
	return true
}

// commitDrops lets the leaves that go be nobody's, in phase 2: what is kept beside them is
// of no use any more.
func (t *Tree) commitDrops(c *change) {
	for _, d := range c.drops {
		if t.pages.Marked(d.id) {
			t.changes.forget(d.id)
			t.pages.Unmark(d.id)
		}
		t.pages.Cool(d.id)
		t.pages.Unlatch(d.id, true)
	}
}

// collapse gives the root the place of its only child, as long as it has one alone.
func (t *Tree) collapse(op *Op) error {
	for {
		var beside pagemeta.PageID
		more := false
		err := t.restructure(op, func(c *change) (s step) {
			more, beside, s = t.planCollapse(c)
			return s
		})
		if err == nil && beside != 0 {
			more, err = true, t.Absorb(op, beside)
		}
		if err != nil || !more {
			return err
		}
	}
}

// planCollapse plans it once. beside is a child that must take in its changes first.
func (t *Tree) planCollapse(c *change) (more bool, beside pagemeta.PageID, s step) {
	if err := t.pages.Ask(Root, pagemeta.Hot); err != nil {
		return false, 0, step{kind: failed, err: err}
	}
	n := t.node(Root)
	level, child := n.level(), n.child0()
	if level == 0 || n.count() > 0 {
		return false, 0, done
	}
	if int(child) >= t.pages.Pages {
		return false, 0, step{kind: damaged, page: Root}
	}
	v, s := t.copyNode(c, child)
	if s != done {
		return false, 0, s
	}
	if !c.copied.is(level - 1) {
		return false, 0, step{kind: damaged, page: child}
	}
	if t.pages.Marked(child) {
		return false, child, done
	}
	*c.write(Root) = c.copied
	c.free(child, c.rewrite(child, v))
	c.height = level
	return true, 0, done
}
