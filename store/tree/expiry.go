package tree

import (
	"errors"

	"faultline/pagemeta"
)

// When a key expires is a number that is not 0; the tree compares such numbers and
// nothing else. It stands before the value, little-endian.

// ExpiryBytes is how many bytes it has.
const ExpiryBytes = 8

var errExpiry = errors.New("it expires, and does not say when")

// AppendExpiry appends expiry to dst: a value that PutExpiring gets begins with it.
func AppendExpiry(dst []byte, expiry uint64) []byte { return le.AppendUint64(dst, expiry) }

// split divides what stands in a cell into when its key expires, 0 if it does not, and
// the value, or the Ref of a long one.
func split(cell []byte, expires bool) (value []byte, expiry uint64, ok bool) {
	if !expires {
		return cell, 0, true
	}
	if len(cell) < ExpiryBytes {
		return nil, 0, false
	}
	expiry = le.Uint64(cell)
	return cell[ExpiryBytes:], expiry, expiry != 0
}

func (e *entry) long() bool    { return e.flags&longBit != 0 }
func (e *entry) expires() bool { return e.flags&expiryBit != 0 }

// expiry is when the key expires, or 0.
func (e *entry) expiry() uint64 {
	_, expiry, _ := split(e.value, e.expires())
	return expiry
}

// ref returns where the value of e is, a long one.
func (e *entry) ref() (Ref, error) {
	value, _, ok := split(e.value, e.expires())
	if !ok {
		return Ref{}, errExpiry
	}
	return ParseRef(value)
}

// replacedBy is the delta of a put with flags over e, if e was found.
func (e *entry) replacedBy(found bool, flags int) delta {
	if found {
		return added(replaced, flags, e.expiry())
	}
	return added(inserted, flags, 0)
}

// expiry returns what stands in the cell of slot at of a leaf that is changeable, and
// when the key expires, or 0.
func (n *node) expiry(at int) (cell []byte, expiry uint64, ok bool) {
	if cell, ok = n.cellValue(at); !ok {
		return nil, 0, false
	}
	_, expiry, ok = split(cell, n.expires(at))
	return cell, expiry, ok
}

// SetExpiry lets key expire at expiry, or never if that is 0. It does nothing if there
// is no such key, or one that has expired at now or before. found tells whether it was
// there, and op.Was when it was to expire. After an error nothing has changed.
func (t *Tree) SetExpiry(op *Op, key []byte, expiry, now uint64) (found bool, err error) {
	for {
		seen := t.moves.Load()
		f, next, trap := t.trySetExpiry(op, key, expiry, now)
		switch {
		case trap.Hit():
		case next == done && f == full:
			return t.setExpiryAnew(op, key, expiry, now)
		case next == done:
			if f == replaced {
				t.counts.add(key, renewed(op.Was, expiry))
			}
			return f == replaced, nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return false, err
		}
	}
}

// renewed is the delta of a key that was to expire at was and now is to at expiry.
func renewed(was, expiry uint64) delta {
	if expiry == 0 {
		return added(replaced, 0, was)
	}
	return added(replaced, expiryBit, was)
}

// trySetExpiry is SetExpiry in two phases, as tryPut is Put.
func (t *Tree) trySetExpiry(op *Op, key []byte, expiry, now uint64) (f fit, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	op.Was = 0
	id, v, next := t.descend(key)
	if next != done {
		return full, next, trap
	}
	if next = t.latchLeaf(id, v); next != done {
		return full, next, trap
	}
	trap.Commit()
	n := t.writing(id)
	if f = t.absorb(id, n); f == replaced {
		f, op.Was = n.setExpiry(key, expiry, now)
	}
	t.pages.Unlatch(id, true)
	if f == broken {
		return f, step{kind: damaged, page: id}, trap
	}
	return f, done, trap
}

// setExpiry is SetExpiry in a leaf that is changeable: replaced, missing, full or broken.
func (n *node) setExpiry(key []byte, expiry, now uint64) (f fit, was uint64) {
	at, found, ok := n.search(key)
	if !ok {
		return broken, 0
	}
	if !found {
		return missing, 0
	}
	old, was, ok := n.expiry(at)
	head, cell, length := n.slot(at)
	flags := n.flags(at)
	switch {
	case !ok:
		return broken, 0
	case was != 0 && was <= now:
		return missing, was
	case was != 0 && expiry != 0:
		le.PutUint64(old, expiry)
	case was != 0:
		copy(old, old[ExpiryBytes:])
		le.PutUint16(n[cell:], uint16(len(old)-ExpiryBytes))
		n.setSlot(at, head, cell, length|flags&^expiryBit)
		n.setDead(n.dead() + ExpiryBytes)
	case expiry != 0:
		need := leafCellBytes + length + ExpiryBytes + len(old)
		if n.free() < need {
			return full, 0
		}
		to := n.heap() - need
		le.PutUint16(n[to:], uint16(ExpiryBytes+len(old)))
		copy(n[to+leafCellBytes:], n[cell+leafCellBytes:][:length])
		le.PutUint64(n[to+leafCellBytes+length:], expiry)
		copy(n[to+leafCellBytes+length+ExpiryBytes:], old)
		n.setHeap(to)
		n.setSlot(at, head, to, length|flags|expiryBit)
		n.setDead(n.dead() + leafCellBytes + length + len(old))
	}
	return replaced, was
}

// setExpiryAnew is SetExpiry for a leaf that has no room as it is.
func (t *Tree) setExpiryAnew(op *Op, key []byte, expiry, now uint64) (set bool, err error) {
	_, err = t.layAnew(op, key, func(c *change) (at int, ok bool) {
		r := &c.runs[0]
		op.Was = 0
		if at, set = r.find(key); !set {
			return -1, true
		}
		e := &r.entries[at]
		value, was, ok := split(e.value, e.expires())
		if op.Was = was; was != 0 && was <= now {
			set = false
			return -1, ok
		}
		if e.flags &^= expiryBit; expiry != 0 {
			value = r.hold(AppendExpiry(nil, expiry), value)
			e.flags |= expiryBit
		}
		e.value = value
		c.count(key, renewed(was, expiry))
		return -1, ok
	})
	return set, err
}
