package tree

import "faultline/pagemeta"

// PutLong sets key to the long value that ref leads to, whose extents are held;
// from then on they are in use. existed tells whether key had a value. After an
// error nothing has changed, and the extents are held.
func (t *Tree) PutLong(op *Op, key []byte, ref Ref) (existed bool, err error) {
	return t.layAnew(op, key, func(c *change) (at int, found, ok bool) {
		c.takes = append(c.takes, ref.Extents...)
		return c.put(entry{key: key, value: ref.Append(nil), long: true})
	})
}

// deleteLong is Delete for a key that has a long value, whose pages it gives back.
func (t *Tree) deleteLong(op *Op, key []byte) error {
	sparse := false
	err := t.restructure(op, func(c *change) step {
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
		more, old := c.runs[0].make(Change{Key: key})
		if !in || !c.give(&old) {
			return step{kind: damaged, page: leaf}
		}
		c.keys += more
		r := &c.runs[0]
		if !r.fits(r.entries) { // what came in beside it is too much
			return t.planSplit(c, &tr, v, false)
		}
		image := c.rewrite(leaf, v)
		r.lay(image, part{0, len(r.entries)})
		sparse = leaf != Root && image.sparse()
		return done
	})
	if err == nil && sparse {
		_ = t.merge(op, key) // as in Delete
	}
	return err
}

// put puts e into the run of level 0, and gives back what its key had. ok is false if
// that is damaged.
func (c *change) put(e entry) (at int, found, ok bool) {
	at, old, found := c.runs[0].put(e)
	return at, found, c.give(&old)
}

// takeLeaf fills the run of level 0 with the entries of a leaf, and returns its
// version.
func (t *Tree) takeLeaf(c *change, leaf pagemeta.PageID) (v uint64, s step) {
	v, s = t.copyNode(c, leaf)
	if s != done {
		return 0, s
	}
	r := &c.runs[0]
	r.reset(0, 0)
	if !r.take(&c.copied) || !r.ascends() {
		return 0, step{kind: damaged, page: leaf}
	}
	return v, done
}

// give gives the pages of e back, if it is a long value. It returns false if e is
// damaged.
func (c *change) give(e *entry) bool {
	if !e.long {
		return true
	}
	ref, err := ParseRef(e.value)
	c.gives = append(c.gives, ref.Extents...)
	return err == nil
}
