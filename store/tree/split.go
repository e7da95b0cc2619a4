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
	existed, _, err = t.putEntry(op, entry{key: key, value: value, flags: flags}, nil, nil)
	return existed, err
}

// putEntry puts e into its leaf, laid out anew, or into a new one behind it, and then
// the first also of more, whose keys come after it, with it; takes are pages that are in
// use then.
func (t *Tree) putEntry(op *Op, e entry, more []Write, takes []Extent) (existed bool, also int, err error) {
	err = t.restructure(op, func(c *change) (s step) {
		var tr trail
		also = 0
		v, s := t.copyLeaf(c, e.key, &tr)
		if s != done {
			return s
		}
		c.takes = append(c.takes, takes...)
		if shared, yes := c.copied.outgrown(&e, tr.tail); yes && !t.pages.Marked(tr.at(0).id) {
			existed, op.Was = false, 0
			also, s = t.planAppend(c, &tr, v, e, more, shared)
			return s
		}
		_, s = t.planAnew(c, &tr, v, func(c *change) (at int, ok bool) {
			at, old, found := c.runs[0].put(e)
			existed, op.Was = found, old.expiry()
			c.count(e.key, old.replacedBy(found, e.flags))
			return at, c.give(&old)
		})
		return s
	})
	return existed, also, err
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
		v, s := t.copyLeaf(c, key, &tr)
		if s == done {
			sparse, s = t.planAnew(c, &tr, v, do)
		}
		return s
	})
	return sparse, err
}

// copyLeaf finds the way to the leaf of key, and copies it.
func (t *Tree) copyLeaf(c *change, key []byte, tr *trail) (v uint64, s step) {
	if s := t.trailTo(key, tr); s != done {
		return 0, s
	}
	return t.copyNode(c, tr.at(0).id)
}

// planAnew is what layAnew does with the leaf of tr, of which c has a copy that had
// version v.
func (t *Tree) planAnew(c *change, tr *trail, v uint64, do func(c *change) (at int, ok bool)) (sparse bool, s step) {
	leaf := tr.at(0).id
	if s := c.takeCopied(leaf); s != done {
		return false, s
	}
	in := t.takeIn(c, leaf)
	at, ok := do(c)
	if !in || !ok {
		return false, step{kind: damaged, page: leaf}
	}
	return t.planLeaf(c, tr, v, at)
}

// planLeaf lays the run of level 0 out anew, in the leaf of tr, which had version v. A key
// was put at place at of it, or none if that is -1.
func (t *Tree) planLeaf(c *change, tr *trail, v uint64, at int) (sparse bool, s step) {
	r, leaf := &c.runs[0], tr.at(0).id
	if !r.fits(r.entries) {
		grows := c.growsAt(at, tr.tail)
		return false, t.planSplit(c, tr, v, r.cut(grows), grows, nil)
	}
	image := c.rewrite(leaf, v)
	r.lay(image, part{0, len(r.entries)})
	return leaf != Root && image.sparse(), done
}

// planSplit splits the run of level 0 into parts, and as many levels above as need it. v is
// the version of the leaf. grows is as of cut; the first part may be kept, a leaf as it is.
func (t *Tree) planSplit(c *change, tr *trail, v uint64, parts []part, grows int, kept *node) step {
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
			if image := write(ids[i]); i == 0 && level == 0 && kept != nil {
				*image = *kept
			} else {
				r.lay(image, p)
			}
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
		if c.insertParts(parent, n, r, parts, ids[:]) {
			return done
		}
		up.reset(level+1, n.child0())
		if !up.take(n) {
			return step{kind: damaged, page: parent.id}
		}
		up.adopt(parent.index, r, parts, ids[:])
		if grows > 0 && parent.index == n.count() {
			grows = up.fullBefore(parent.index + 1)
		} else {
			grows = 0
		}
		if !up.ascends() {
			return step{kind: damaged, page: parent.id}
		}
		if up.fits(up.entries) {
			up.lay(c.write(parent.id), part{0, len(up.entries)})
			return done
		}
		parts = up.cut(grows)
	}
}

// insertParts puts the parts of r, from the second on, into n, the node above, as it is
// laid out, where parent says. It returns false, and has done nothing, if n has no room.
func (c *change) insertParts(parent *crumb, n *node, r *run, parts []part, ids []pagemeta.PageID) bool {
	c.copied = *n
	for i, p := range parts[1:] {
		key := r.separator(p)
		if !c.copied.takesChild(parent.index+i, key) {
			return false
		}
		c.copied.insertChild(parent.index+i, key, ids[i+1])
	}
	*c.write(parent.id) = c.copied
	return true
}

// adopt makes the parts of r, from the second on, children of the run above it,
// right of its child index.
func (up *run) adopt(index int, r *run, parts []part, ids []pagemeta.PageID) {
	for i := 1; i < len(parts); i++ {
		up.insert(index+i-1, entry{key: r.separator(parts[i]), child: ids[i]})
	}
}
