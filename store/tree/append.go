package tree

import "bytes"

// Keys that arrive in order fill the leaf at the end of those before them. When it is
// full, the next key gets a leaf of its own, and the full one stays as it is: it is
// neither cut in half nor laid out anew.
//
//	     [ .. m .. ]                    [ .. m  s .. ]
//	      /    |                         /    |    \
//	...  [a b c d] + e     ==>     ...  [a b c d]  [e]
//
// Of many writes made together, those that come next go with it, into as many leaves as
// they fill.

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
// version v, and after it the first also of more, in as many leaves as they take. The old
// leaf and e have shared bytes in common.
func (t *Tree) planAppend(c *change, tr *trail, v uint64, e entry, more []Write, shared int) (also int, s step) {
	n, r := &c.copied, &c.runs[0]
	last, _ := n.suffix(n.count()-1, leafCellBytes)
	r.reset(0, 0)
	r.most = shared
	e.key, e.value = r.hold(e.key, nil), r.hold(e.value, nil)
	r.entries = append(r.entries, entry{key: r.hold(n.prefix(), last)}, e)
	c.count(e.key, added(inserted, e.flags, 0))

	var memory [maxParts]part
	parts := append(memory[:0], part{0, 1}, part{1, 2})
	bytes := r.entrySize(&e) // of the last part, without a prefix
	for ; also < len(more) && t.follows(tr, e.key, &more[also]); also++ {
		e = more[also].entry()
		bytes += r.entrySize(&e)
		p := &parts[len(parts)-1]
		if !r.fitsBehind(p, &e, bytes) {
			if len(parts) == maxParts {
				break
			}
			parts = append(parts, part{p.to, p.to})
			p, bytes = &parts[len(parts)-1], r.entrySize(&e)
		}
		p.to++
		r.entries = append(r.entries, e)
		c.count(e.key, added(inserted, e.flags, 0))
	}
	return also, t.planSplit(c, tr, v, parts, 1, n)
}

// follows tells whether w puts a key that comes after last, and belongs to the leaf of tr.
func (t *Tree) follows(tr *trail, last []byte, w *Write) bool {
	if w.Value == nil || bytes.Compare(last, w.Key) >= 0 {
		return false
	}
	for level := 1; level < tr.height; level++ {
		crumb := tr.at(level)
		if n := t.node(crumb.id); crumb.index < n.count() {
			return n.precedes(w.Key, crumb.index)
		}
	}
	return true
}

// fitsBehind tells whether a leaf has room for e behind part p, which together have so many
// bytes without a prefix.
func (r *run) fitsBehind(p *part, e *entry, bytes int) bool {
	prefix := min(common(r.entries[p.from].key, e.key), r.most)
	count := p.to - p.from + 1
	return count <= maxSlots && bytes-(count-1)*prefix <= room
}
