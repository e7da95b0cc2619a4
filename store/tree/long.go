package tree

import "faultline/pagemeta"

// PutLong sets key to the long value that ref leads to, whose extents are held;
// from then on they are in use. existed tells whether key had a value. After an
// error nothing has changed, and the extents are held. The key expires at expiry, unless
// that is 0.
func (t *Tree) PutLong(op *Op, key []byte, ref Ref, expiry uint64) (existed bool, err error) {
	e := entry{key: key, flags: longBit}
	if expiry != 0 {
		e.value, e.flags = AppendExpiry(nil, expiry), longBit|expiryBit
	}
	e.value = ref.Append(e.value)
	existed, _, err = t.putEntry(op, e, nil, ref.Extents)
	return existed, err
}

// deleteLong is Delete for a key that has a long value, whose pages it gives back.
func (t *Tree) deleteLong(op *Op, key []byte) error {
	sparse, err := t.layAnew(op, key, func(c *change) (at int, ok bool) {
		d, old := c.runs[0].make(Change{Key: key})
		op.Was = old.expiry()
		c.count(key, d)
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
	return v, c.takeCopied(leaf)
}

// takeCopied is takeLeaf of a leaf that c has a copy of.
func (c *change) takeCopied(leaf pagemeta.PageID) step {
	r := &c.runs[0]
	r.reset(0, 0)
	if !r.take(&c.copied) || !r.ascends() {
		return step{kind: damaged, page: leaf}
	}
	return done
}

// give gives the pages of e back, if it is a long value. It returns false if e is
// damaged.
func (c *change) give(e *entry) bool {
	if !e.long() {
		return true
	}
	ref, err := e.ref()
	c.gives = append(c.gives, ref.Extents...)
	return err == nil
}
