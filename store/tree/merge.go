package tree

import "faultline/pagemeta"

const (
	// sparseBytes is the use below which a node is merged with a neighbour.
	sparseBytes = room / 4
	// mergedBytes is the most that a merged node may use, so that the next put
	// does not split it again.
	mergedBytes = room * 3 / 4
)

// merge merges the sparse leaf of key with a neighbour under the same parent,
// and goes on upwards while that leaves the parent sparse.
//
//	   [ .. m  s .. ]                   [ .. m .. ]
//	   /    |   \                       /    |
//	...  [a b]  [c]        ==>       ...  [a b c]       and a free page
func (t *Tree) merge(op *Op, key []byte) error {
	for level := 0; ; level++ {
		more := false
		err := t.restructure(op, func(c *change) (s step) {
			more, s = t.planMerge(c, key, level)
			return s
		})
		if err != nil || !more {
			return err
		}
	}
}

// planMerge plans one merge, of the node of key on level. more tells that its
// parent should be merged next.
func (t *Tree) planMerge(c *change, key []byte, level int) (more bool, s step) {
	var tr trail
	if s := t.trailTo(key, &tr); s != done {
		return false, s
	}
	if level+1 >= tr.height {
		return false, done // the root has no neighbour
	}
	above := tr.at(level + 1)
	parent := t.node(above.id)
	if parent.count() == 0 {
		return false, done
	}
	index := max(above.index, 1) // of the right one of the two
	left, okL := parent.child(index - 1)
	right, okR := parent.child(index)
	if !okL || !okR || max(int(left), int(right)) >= t.pages.Pages {
		return false, step{kind: damaged, page: above.id}
	}

	up, r := &c.runs[level+1], &c.runs[level]
	up.reset(level+1, parent.child0())
	if !up.take(parent) {
		return false, step{kind: damaged, page: above.id}
	}
	var versions [2]uint64
	empty := false
	for i, id := range [2]pagemeta.PageID{left, right} {
		v, s := t.copyLeaf(c, id)
		if s != done {
			return false, s
		}
		versions[i] = v
		empty = empty || c.leaf.count() == 0
		if i == 0 {
			r.reset(level, c.leaf.child0())
		} else if level > 0 {
			r.entries = append(r.entries, entry{key: up.entries[index-1].key, child: c.leaf.child0()})
		}
		if !r.take(&c.leaf) {
			return false, step{kind: damaged, page: id}
		}
	}
	if size := r.size(r.entries); size > mergedBytes && !(empty && r.fits(r.entries)) {
		return false, t.planBalance(c, empty, left, right, versions, above.id, index)
	}

	whole := part{0, len(r.entries)}
	up.entries = append(up.entries[:index-1], up.entries[index:]...)
	if above.id == Root && len(up.entries) == 0 {
		r.lay(c.write(Root), whole)
		c.free(left, c.writeLeaf(left, versions[0]))
		c.free(right, c.writeLeaf(right, versions[1]))
		c.height = level + 1
		return false, done
	}
	r.lay(c.writeLeaf(left, versions[0]), whole)
	c.free(right, c.writeLeaf(right, versions[1]))
	image := c.write(above.id)
	up.lay(image, part{0, len(up.entries)})
	return above.id != Root && image.sparse(), done
}

// planBalance is what is left to do for a node that is empty, or has one child
// only, while its neighbour is too full to take it in: both share the keys of
// both. A parent that has no room for the new separator stays as it is.
func (t *Tree) planBalance(c *change, empty bool, left, right pagemeta.PageID, versions [2]uint64, above pagemeta.PageID, index int) step {
	level := t.node(above).level()
	r, up := &c.runs[level-1], &c.runs[level]
	if !empty {
		return done
	}
	parts := r.cut(false)
	if len(parts) != 2 {
		return done
	}
	up.entries[index-1].key = r.separator(parts[1])
	if !up.fits(up.entries) {
		return done
	}
	r.lay(c.writeLeaf(left, versions[0]), parts[0])
	r.lay(c.writeLeaf(right, versions[1]), parts[1])
	up.lay(c.write(above), part{0, len(up.entries)})
	return done
}
