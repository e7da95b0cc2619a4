package tree

import "faultline/pagemeta"

// PutLong sets key to the long value that ref leads to, whose extents are held;
// from then on they are in use. existed tells whether key had a value. After an
// error nothing has changed, and the extents are held.
func (t *Tree) PutLong(op *Op, key []byte, ref Ref) (existed bool, err error) {
	return t.putEntry(op, entry{key: key, value: ref.Append(nil), long: true}, ref.Extents)
}

// deleteLong is Delete for a key that has a long value, whose pages it gives back.
func (t *Tree) deleteLong(op *Op, key []byte) error {
	sparse, err := t.layAnew(op, key, func(c *change) (at int, ok bool) {
		more, old := c.runs[0].make(Change{Key: key})
		c.count(key, more)
		return -1, c.give(&old)
	})
	if err == nil && sparse {
		_ = t.merge(op, key) // as in Delete
	}
	return err
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
