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
func (t *Tree) merge(op *Op, key []byte) error { return t.mergeFrom(op, key, 0) }

// mergeFrom is merge for the sparse node of key on level.
func (t *Tree) mergeFrom(op *Op, key []byte, level int) error {
	for ; ; level++ {
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

// A pair is two neighbours under one parent, taken out of their pages: the runs
// of their level and of the parent's are filled.
type pair struct {
	parent      pagemeta.PageID
	index       int // of right among the children of parent
	left, right pagemeta.PageID
	versions    [2]uint64 // of left and right
	empty       bool      // one of the two has no keys
	marked      bool      // one of the two has changes beside it
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
	if t.node(above.id).count() == 0 {
		return false, done // an only child
	}
	p := pair{parent: above.id, index: max(above.index, 1)}
	if s := t.takePair(c, &p, level); s != done {
		return false, s
	}
	r := &c.runs[level]
	switch {
	case p.marked:
		return false, done
	case r.size(r.entries) <= mergedBytes || p.empty && r.fits(r.entries):
		return t.planJoin(c, &p, level), done
	case p.empty:
		return false, t.planBalance(c, &p, level)
	}
	return false, done
}

// takePair fills p, from its parent and index, and the runs.
func (t *Tree) takePair(c *change, p *pair, level int) step {
	parent := t.node(p.parent)
	var okL, okR bool
	p.left, okL = parent.child(p.index - 1)
	p.right, okR = parent.child(p.index)
	if !okL || !okR || max(int(p.left), int(p.right)) >= t.pages.Pages {
		return step{kind: damaged, page: p.parent}
	}
	up, r := &c.runs[level+1], &c.runs[level]
	up.reset(level+1, parent.child0())
	if !up.take(parent) {
		return step{kind: damaged, page: p.parent}
	}
	for i, id := range [2]pagemeta.PageID{p.left, p.right} {
		v, s := t.copyNode(c, id)
		if s != done {
			return s
		}
		if t.pages.Marked(id) { // after the version: a mark that comes later changes it
			p.marked = true
		}
		p.versions[i] = v
		p.empty = p.empty || c.copied.count() == 0
		if i == 0 {
			r.reset(level, c.copied.child0())
		} else if level > 0 {
			r.entries = append(r.entries, entry{key: up.entries[p.index-1].key, child: c.copied.child0()})
		}
		if !r.take(&c.copied) {
			return step{kind: damaged, page: id}
		}
	}
	if !up.ascends() || !r.ascends() {
		return step{kind: damaged, page: p.parent}
	}
	return done
}

// planJoin puts all of a pair into the left one, and gives the right one back. A
// root that is left with one child takes its place. sparse tells what the parent
// is then.
func (t *Tree) planJoin(c *change, p *pair, level int) (sparse bool) {
	r, up := &c.runs[level], &c.runs[level+1]
	whole := part{0, len(r.entries)}
	up.entries = append(up.entries[:p.index-1], up.entries[p.index:]...)
	if p.parent == Root && len(up.entries) == 0 {
		r.lay(c.write(Root), whole)
		c.free(p.left, c.rewrite(p.left, p.versions[0]))
		c.free(p.right, c.rewrite(p.right, p.versions[1]))
		c.height = level + 1
		return false
	}
	r.lay(c.rewrite(p.left, p.versions[0]), whole)
	c.free(p.right, c.rewrite(p.right, p.versions[1]))
	image := c.write(p.parent)
	up.lay(image, part{0, len(up.entries)})
	return p.parent != Root && image.sparse()
}

// planBalance lets an empty node, or one with a single child, share the keys of a
// neighbour that is too full to take it in. A pair whose parent has no room for
// the new separator stays as it is.
func (t *Tree) planBalance(c *change, p *pair, level int) step {
	r, up := &c.runs[level], &c.runs[level+1]
	parts := r.cut(0)
	if len(parts) != 2 {
		return done
	}
	up.entries[p.index-1].key = r.separator(parts[1])
	if !up.ascends() {
		return step{kind: damaged, page: p.parent}
	}
	if !up.fits(up.entries) {
		return done
	}
	r.lay(c.rewrite(p.left, p.versions[0]), parts[0])
	r.lay(c.rewrite(p.right, p.versions[1]), parts[1])
	up.lay(c.write(p.parent), part{0, len(up.entries)})
	return done
}
