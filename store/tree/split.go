package tree

import "faultline/pagemeta"

// putAnew is Put for a leaf that has no room as it is: it is laid out anew, with
// the changes beside it, and split if that does not help.
//
//	   [ .. m .. ]                       [ .. m  s .. ]
//	   /    |                            /    |   \
//	...  [a b d e] + c     ==>        ...  [a b]  [c d e]
//
// s, the separator, goes into the parent; a parent that has no room is split in
// turn. The root keeps its page: its parts move to new ones, and it becomes
// their parent.
func (t *Tree) putAnew(op *Op, key, value []byte, flags int) (existed bool, err error) {
	return t.putEntry(op, entry{key: key, value: value, flags: flags}, nil)
}

// putEntry puts e into its leaf, laid out anew; takes are pages that are in use then.
func (t *Tree) putEntry(op *Op, e entry, takes []Extent) (existed bool, err error) {
	_, err = t.layAnew(op, e.key, func(c *change) (at int, ok bool) {
		c.takes = append(c.takes, takes...)
		at, old, found := c.runs[0].put(e)
		existed, op.Was = found, old.expiry()
		c.count(e.key, old.replacedBy(found, e.flags))
		return at, c.give(&old)
	})
	return existed, err
}

// settle is putAnew without a put: the leaf of key takes in the changes beside it.
func (t *Tree) settle(op *Op, key []byte) error {
	op.merges = true
	defer func() { op.merges = false }()
	_, err := t.layAnew(op, key, func(*change) (at int, ok bool) { return -1, true })
	return err
}

// layAnew lays the leaf of key out anew, with the changes beside it, and what do does
// to its run: at is where it has put a key, or -1, ok is false if an entry is damaged.
// sparse tells that the leaf should be merged with a neighbour.
func (t *Tree) layAnew(op *Op, key []byte, do func(c *change) (at int, ok bool)) (sparse bool, err error) {
	err = t.restructure(op, func(c *change) step {
		var tr trail
		if s := t.trailTo(key, &tr); s != done {
			return s
		}
		leaf := tr.at(0).id
		v, s := t.takeLeaf(c, leaf)
		if s != done {
			return s
		}
		in := t.takeIn(c, leaf)
		at, ok := do(c)
		if !in || !ok {
			return step{kind: damaged, page: leaf}
		}
		sparse, s = t.planLeaf(c, &tr, v, at)
		return s
	})
	return sparse, err
}

// planLeaf lays the run of level 0 out anew, in the leaf of tr, which had version v. A key
// was put at place at of it, or none if that is -1.
func (t *Tree) planLeaf(c *change, tr *trail, v uint64, at int) (sparse bool, s step) {
	r, leaf := &c.runs[0], tr.at(0).id
	if !r.fits(r.entries) {
		return false, t.planSplit(c, tr, v, tr.tail && at == len(r.entries)-1)
	}
	image := c.rewrite(leaf, v)
	r.lay(image, part{0, len(r.entries)})
	return leaf != Root && image.sparse(), done
}

// planSplit splits the run of level 0, and of as many levels above as need it.
// v is the version of the leaf.
func (t *Tree) planSplit(c *change, tr *trail, v uint64, tail bool) step {
	for level := 0; ; level++ {
		r := &c.runs[level]
		id := tr.at(level).id
		if level+1 == maxHeight {
			return step{kind: damaged, page: id}
		}
		write := func(to pagemeta.PageID) *node {
			if level == 0 && to == id {
				return c.rewrite(id, v)
			}
			return c.write(to)
		}
		parts := r.cut(tail)
		var ids [maxParts]pagemeta.PageID
		if len(parts) > maxParts {
			return step{kind: damaged, page: id}
		}
		for i, p := range parts {
			if i == 0 && id != Root {
				ids[i] = id
			} else {
				var err error
				if ids[i], err = t.alloc(c); err != nil {
					return step{kind: failed, err: err}
				}
			}
			r.lay(write(ids[i]), p)
		}
		up := &c.runs[level+1]
		if id == Root {
			up.reset(level+1, ids[0])
			up.adopt(0, r, parts, ids[:])
			up.lay(write(Root), part{0, len(up.entries)})
			c.height = level + 2
			return done
		}
		parent := tr.at(level + 1)
		n := t.node(parent.id)
		up.reset(level+1, n.child0())
		if !up.take(n) {
			return step{kind: damaged, page: parent.id}
		}
		up.adopt(parent.index, r, parts, ids[:])
		if !up.ascends() {
			return step{kind: damaged, page: parent.id}
		}
		if up.fits(up.entries) {
			up.lay(c.write(parent.id), part{0, len(up.entries)})
			return done
		}
	}
}

// adopt makes the parts of r, from the second on, children of the run above it,
// right of its child index.
func (up *run) adopt(index int, r *run, parts []part, ids []pagemeta.PageID) {
	for i := 1; i < len(parts); i++ {
		up.insert(index+i-1, entry{key: r.separator(parts[i]), child: ids[i]})
	}
}
