package tree

import "bytes"

// Keys that arrive in order fill the leaf at the end of those before them. When it is
// full, the next key gets a leaf of its own, and the full one stays as it is: it is
// neither cut in half nor laid out anew.
//
//	     [ .. m .. ]                    [ .. m  s .. ]
//	      /    |                         /    |    \
//	...  [a b c d] + e     ==>     ...  [a b c d]  [e]

// outgrown tells whether n is such a leaf and e such a key, and returns how much of the
// prefix of n e has: that is likely to be what the next keys share, too. The newest cell
// of such a leaf is that of its last key; at the end of the tree any will do.
func (n *node) outgrown(e *entry, tail bool) (shared int, yes bool) {
	if !n.changeable() || n.count() == 0 {
		return 0, false
	}
	count, prefix := n.count(), n.prefix()
	last, ok := n.suffix(count-1, leafCellBytes)
	if _, cell, _ := n.slot(count - 1); !ok || !tail && cell != n.heap() {
		return 0, false
	}
	shared = common(prefix, e.key)
	behind := bytes.Compare(prefix[shared:], e.key[shared:]) < 0
	if shared == len(prefix) {
		behind = bytes.Compare(last, e.key[shared:]) < 0
	}
	with := n.used() + (count-1)*(len(prefix)-shared) + slotBytes + leafCellBytes + len(e.key) - shared + len(e.value)
	return shared, behind && (with > room || count == maxSlots)
}

// growsAt tells for cut whether the key that c has put at place at came after the newest
// of its leaf, or at the end of the tree.
func (c *change) growsAt(at int, tail bool) int {
	n := &c.copied
	if at <= 0 || c.taken != 0 || at > n.count() {
		return 0
	}
	if _, cell, _ := n.slot(at - 1); cell == n.heap() || tail && at == n.count() {
		return at
	}
	return 0
}

// planAppend puts e into a new leaf behind that of tr, of which c has a copy that had
// version v. Both have shared bytes in common.
func (t *Tree) planAppend(c *change, tr *trail, v uint64, e entry, shared int) step {
	n, r := &c.copied, &c.runs[0]
	last, _ := n.suffix(n.count()-1, leafCellBytes)
	r.reset(0, 0)
	r.most = shared
	r.insert(0, entry{key: r.hold(n.prefix(), last)})
	r.insert(1, entry{key: r.hold(e.key, nil), value: r.hold(e.value, nil), flags: e.flags})
	c.count(e.key, added(inserted, e.flags, 0))
	return t.planSplit(c, tr, v, 1, n)
}
