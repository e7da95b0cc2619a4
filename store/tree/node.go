package tree

import (
	"bytes"
	"encoding/binary"

	"faultline/pagemeta"
)

// A node is a page of the tree, little-endian:
//
//	0        16      18      20      22      24      26      28       32
//	+--------+-------+-------+-------+-------+-------+-------+--------+
//	| header | level | count | heap  | dead  |prefix |   0   | child0 |
//	+--------+-------+-------+-------+-------+-------+-------+--------+
//	32               32+8*count        heap              4096-prefix  4096
//	+-------+-------+----------------- ... +-------+-------+----------+
//	| slot  | slot  | -->     room     <-- | cell  | cell  |  prefix  |
//	+-------+-------+----------------- ... +-------+-------+----------+
//
//	level   0 in a leaf, one more in each inner node above
//	count   slots
//	heap    where the lowest cell begins
//	dead    bytes of cells that no slot points to
//	prefix  length of what all keys of the node begin with; the bytes lie at
//	        the very end, and cells hold the rest of their keys, the suffix
//	child0  inner: the child left of the first key
//
// Slots are in the order of the keys:
//
//	0         4       6       8
//	+---------+-------+-------+
//	|  head   | cell  | length|
//	+---------+-------+-------+
//
//	head    the first four bytes of the suffix as a number, big-endian, padded
//	        with zeros: most comparisons end here and never touch a cell
//	cell    where the cell begins
//	length  of the suffix in bytes; of the upper five bits the highest is the long
//	        bit, the next the expiry bit, the others are zero, and kept for other
//	        kinds of cells
//
// A cell of a leaf is the length of the value (2 bytes), the suffix, the value;
// a cell of an inner node is the child right of the key (4 bytes), the suffix.
// With the long bit, the value is a Ref to where it is. With the expiry bit, eight
// bytes before the value or the Ref say when the key expires; the length of the value
// counts them too.
//
// Readers look at nodes that are being changed. Every method that they use
// stands any bytes at all: it keeps inside the page, and says when something is
// out of bounds. What it returned is believed only if the version agrees.
type node pagemeta.Page

const (
	levelAt  = 16
	countAt  = 18
	heapAt   = 20
	deadAt   = 22
	prefixAt = 24
	child0At = 28
	slotsAt  = 32

	slotBytes      = 8
	longBit        = 1 << 15 // in the length of a slot
	expiryBit      = 1 << 14 // in the length of a slot
	flagBits       = longBit | expiryBit
	leafCellBytes  = 2
	innerCellBytes = 4
	nodeBytes      = pagemeta.PageBytes
	maxSlots       = (nodeBytes - slotsAt) / slotBytes

	// room is what slots, cells and prefix of a node share.
	room = nodeBytes - slotsAt

	// MaxKeyBytes is the longest key. Those of users have 1024 bytes at most: the rest
	// is for what the store puts before them.
	MaxKeyBytes = 1040
	// MaxEntryBytes is the most that a key and its value may have together, with when
	// it expires: an entry alone fits a leaf. A value that has more is a long one.
	MaxEntryBytes = room - slotBytes - leafCellBytes
)

// An inner node has room for at least three keys, so that it can be split.
const _ = uint(room - 3*(slotBytes+innerCellBytes+MaxKeyBytes))

// Kinds of pages. Zero is none.
const (
	KindSuper  = 1 + iota // page 0
	KindBitmap            // which pages are in use, see space.go
	KindLeaf
	KindInner
	KindFree // was a node once
)

var le = binary.LittleEndian

// isInner is 1 for an inner node.
func (n *node) isInner() int {
	if n.Kind() == KindInner {
		return 1
	}
	return 0
}

func (n *node) level() int       { return int(le.Uint16(n[levelAt:])) }
func (n *node) count() int       { return int(le.Uint16(n[countAt:])) }
func (n *node) heap() int        { return int(le.Uint16(n[heapAt:])) }
func (n *node) dead() int        { return int(le.Uint16(n[deadAt:])) }
func (n *node) prefixBytes() int { return int(le.Uint16(n[prefixAt:])) }
func (n *node) child0() pagemeta.PageID {
	return pagemeta.PageID(le.Uint32(n[child0At:]))
}

func (n *node) setCount(v int) { le.PutUint16(n[countAt:], uint16(v)) }
func (n *node) setHeap(v int)  { le.PutUint16(n[heapAt:], uint16(v)) }
func (n *node) setDead(v int)  { le.PutUint16(n[deadAt:], uint16(v)) }

// sane tells whether count and prefix stay inside the page. All other methods
// need it.
func (n *node) sane() bool {
	return n.count() <= maxSlots && n.prefixBytes() <= MaxKeyBytes
}

// is tells whether n is a node of a level: each has its kind.
func (n *node) is(level int) bool {
	kind := byte(KindLeaf)
	if level > 0 {
		kind = KindInner
	}
	return n.Kind() == kind && n.level() == level
}

// changeable tells whether slots, cells and prefix of a leaf keep out of each
// other's way, so that put and remove can change it in place.
func (n *node) changeable() bool {
	return n.is(0) && n.sane() && n.free() >= 0 && n.heap() <= nodeBytes-n.prefixBytes()
}

func (n *node) prefix() []byte { return n[nodeBytes-n.prefixBytes():] }

// slot returns the head of slot i, where its cell begins, and how long the
// suffix is; isLong and expires, whether it has these bits.
func (n *node) slot(i int) (head uint32, cell, length int) {
	s := le.Uint64(n[slotsAt+slotBytes*i:])
	return uint32(s), int(uint16(s >> 32)), int(uint16(s>>48) &^ flagBits)
}

// flags returns the bits of slot i that are not of its length.
func (n *node) flags(i int) int {
	return int(le.Uint16(n[slotsAt+slotBytes*i+6:]) & flagBits)
}

func (n *node) isLong(i int) bool  { return n.flags(i)&longBit != 0 }
func (n *node) expires(i int) bool { return n.flags(i)&expiryBit != 0 }

func (n *node) setSlot(i int, head uint32, cell, length int) {
	le.PutUint64(n[slotsAt+slotBytes*i:], uint64(head)|uint64(cell)<<32|uint64(length)<<48)
}

// headOf returns the head of a suffix.
func headOf(suffix []byte) uint32 {
	if len(suffix) >= 4 {
		return binary.BigEndian.Uint32(suffix)
	}
	switch len(suffix) {
	case 3:
		return uint32(suffix[0])<<24 | uint32(suffix[1])<<16 | uint32(suffix[2])<<8
	case 2:
		return uint32(suffix[0])<<24 | uint32(suffix[1])<<16
	case 1:
		return uint32(suffix[0]) << 24
	}
	return 0
}

// span returns the bytes from at to at+length, or false if they are not all in
// the page.
func (n *node) span(at, length int) ([]byte, bool) {
	if at+length > nodeBytes {
		return nil, false
	}
	return n[at : at+length], true
}

// suffix returns the suffix of slot i; skip is what precedes it in a cell.
func (n *node) suffix(i, skip int) ([]byte, bool) {
	_, cell, length := n.slot(i)
	return n.span(cell+skip, length)
}

// skip is how many bytes of a cell precede the suffix.
func (n *node) skip() int {
	if n.level() == 0 {
		return leafCellBytes
	}
	return innerCellBytes
}

// search returns the first slot whose key is not less than key, and whether it
// is key. ok is false if the node is not sane.
func (n *node) search(key []byte) (at int, found, ok bool) {
	if !n.sane() {
		return 0, false, false
	}
	count := n.count()
	if prefix := n.prefix(); len(prefix) > 0 {
		if len(key) < len(prefix) || string(key[:len(prefix)]) != string(prefix) {
			if bytes.Compare(key, prefix) < 0 {
				return 0, false, true
			}
			return count, false, true
		}
		key = key[len(prefix):]
	}
	head, skip := headOf(key), n.skip()
	lo, hi := 0, count
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		h, cell, length := n.slot(mid)
		if h != head {
			if h < head {
				lo = mid + 1
			} else {
				hi = mid
			}
			continue
		}
		suffix, in := n.span(cell+skip, length)
		if !in {
			return 0, false, false
		}
		switch c := bytes.Compare(suffix, key); {
		case c < 0:
			lo = mid + 1
		case c == 0:
			return mid, true, true
		default:
			hi = mid
		}
	}
	return lo, false, true
}

// child returns child i of an inner node, 0 being the leftmost.
func (n *node) child(i int) (pagemeta.PageID, bool) {
	if i == 0 {
		return n.child0(), true
	}
	_, cell, _ := n.slot(i - 1)
	b, ok := n.span(cell, innerCellBytes)
	if !ok {
		return 0, false
	}
	return pagemeta.PageID(le.Uint32(b)), true
}

// setChild makes id child i of a sane inner node, where child has found one.
func (n *node) setChild(i int, id pagemeta.PageID) {
	at := child0At
	if i > 0 {
		_, at, _ = n.slot(i - 1)
	}
	le.PutUint32(n[at:], uint32(id))
}

// childFor returns which child of an inner node key belongs to.
func (n *node) childFor(key []byte) (index int, id pagemeta.PageID, ok bool) {
	at, found, ok := n.search(key)
	if !ok {
		return 0, 0, false
	}
	if found {
		at++ // a key separates what is less from what is not
	}
	id, ok = n.child(at)
	return at, id, ok
}

// precedes tells whether key is less than that of slot i of an inner node, as far as that
// is in the page.
func (n *node) precedes(key []byte, i int) bool {
	prefix := n.prefix()
	suffix, ok := n.suffix(i, innerCellBytes)
	if shared := common(prefix, key); shared < len(prefix) || !ok {
		return ok && bytes.Compare(key[shared:], prefix[shared:]) < 0
	}
	return bytes.Compare(key[len(prefix):], suffix) < 0
}

// takesChild tells whether key can be put at place at of an inner node as it is laid out:
// there is room, and it comes between its neighbours.
func (n *node) takesChild(at int, key []byte) bool {
	if !n.sane() || n.heap() > nodeBytes-n.prefixBytes() || !bytes.HasPrefix(key, n.prefix()) {
		return false
	}
	suffix := key[n.prefixBytes():]
	if n.free() < slotBytes+innerCellBytes+len(suffix) {
		return false
	}
	for i := max(at-1, 0); i < min(at+1, n.count()); i++ {
		other, ok := n.suffix(i, innerCellBytes)
		if c := bytes.Compare(other, suffix); !ok || i < at && c >= 0 || i >= at && c <= 0 {
			return false
		}
	}
	return true
}

// insertChild puts child right of key at place at of an inner node that takes it.
func (n *node) insertChild(at int, key []byte, child pagemeta.PageID) {
	suffix := key[n.prefixBytes():]
	cell := n.heap() - innerCellBytes - len(suffix)
	le.PutUint32(n[cell:], uint32(child))
	copy(n[cell+innerCellBytes:], suffix)
	n.setHeap(cell)
	n.openSlot(at)
	n.setSlot(at, headOf(suffix), cell, len(suffix))
}

// openSlot moves the slots from at on up by one.
func (n *node) openSlot(at int) {
	from, count := slotsAt+slotBytes*at, n.count()
	copy(n[from+slotBytes:slotsAt+slotBytes*(count+1)], n[from:slotsAt+slotBytes*count])
	n.setCount(count + 1)
}

// value returns the value of slot i of a leaf, or the Ref of a long one, and before it
// when the key expires if it does.
func (n *node) value(i int) ([]byte, bool) {
	_, cell, length := n.slot(i)
	b, ok := n.span(cell, leafCellBytes)
	if !ok {
		return nil, false
	}
	return n.span(cell+leafCellBytes+length, int(le.Uint16(b)))
}

// copyLeaf makes n a copy of slots, cells and prefix of a leaf, and tells whether it is
// one. What is between them is not copied.
func (n *node) copyLeaf(from *node) bool {
	copy(n[:slotsAt], from[:slotsAt])
	slots, cells := slotsAt+slotBytes*n.count(), n.heap()
	if !n.is(0) || !n.sane() || cells < slots || cells > nodeBytes-n.prefixBytes() {
		return false
	}
	copy(n[slotsAt:slots], from[slotsAt:slots])
	copy(n[cells:], from[cells:])
	return true
}

// A spot is where the entry of a slot of a leaf lies in its page.
type spot struct {
	head       uint32
	suffix     int // where the suffix begins
	value, end int // where the value, with when it expires, begins and ends
}

// of makes s that of slot i of n, and returns the flags of the slot. ok is false if the
// entry is not in the page, or head is not the suffix's.
func (s *spot) of(n *node, i int) (flags int, ok bool) {
	slot := le.Uint64(n[slotsAt+slotBytes*i:])
	from, length := int(uint16(slot>>32)), int(slot>>48)
	s.head = uint32(slot)
	s.suffix = from + leafCellBytes
	s.value = s.suffix + length&^flagBits
	if s.value > nodeBytes {
		return 0, false
	}
	s.end = s.value + int(le.Uint16(n[from:]))
	if s.end > nodeBytes {
		return 0, false
	}
	return length & flagBits, headOf(n[s.suffix:s.value]) == s.head
}

// cellValue is value for a slot whose cell is to be changed: it must not reach
// into the slots.
func (n *node) cellValue(i int) ([]byte, bool) {
	if _, cell, _ := n.slot(i); cell < n.heap() {
		return nil, false
	}
	return n.value(i)
}

// free is the room between slots and cells.
func (n *node) free() int { return n.heap() - slotsAt - slotBytes*n.count() }

// used is how much of room the slots, the live cells and the prefix take.
func (n *node) used() int { return room - n.free() - n.dead() }

// sparse tells whether the node should be merged with a neighbour.
func (n *node) sparse() bool { return n.count() == 0 || n.used() < sparseBytes }

// A fit says what became of a put.
type fit int

const (
	inserted fit = iota // the key is new
	replaced            // the key had a value
	full                // nothing changed: the node must be written anew or split
	broken              // nothing changed: the node is damaged
	deferred            // the change is kept beside the node
	missing             // there is no such key to delete
	spread              // nothing changed: the key to delete has a long value
)

// put sets key to value, with flags, in a leaf that is changeable, if that needs no
// other layout of it. was is when the key, if it was replaced, was to expire, or 0.
func (n *node) put(key, value []byte, flags int) (f fit, was uint64) {
	plen := n.prefixBytes()
	if len(key) < plen || string(key[:plen]) != string(n.prefix()) {
		return full, 0
	}
	at, found, ok := n.search(key)
	suffix := key[plen:]
	if !ok {
		return broken, 0
	}
	if found {
		return n.replace(at, suffix, value, flags)
	}
	return n.insert(at, suffix, value, flags), 0
}

// insert is put of a key that is not there, and whose place is at: inserted or full.
func (n *node) insert(at int, suffix, value []byte, flags int) fit {
	if n.free() < slotBytes+leafCellBytes+len(suffix)+len(value) {
		return full
	}
	n.openSlot(at)
	n.setSlot(at, headOf(suffix), n.pushCell(suffix, value), len(suffix)|flags)
	return inserted
}

// replace gives the key of slot at another value: in place if it is not longer,
// else in a new cell. A long value is replaced by a change, which gives its pages
// back.
func (n *node) replace(at int, suffix, value []byte, flags int) (f fit, was uint64) {
	old, was, ok := n.expiry(at)
	if !ok {
		return broken, 0
	}
	if n.isLong(at) {
		return full, 0
	}
	head, cell, length := n.slot(at)
	if len(value) <= len(old) {
		copy(old, value)
		le.PutUint16(n[cell:], uint16(len(value)))
		n.setSlot(at, head, cell, length|flags)
		n.setDead(n.dead() + len(old) - len(value))
		return replaced, was
	}
	if n.free() < leafCellBytes+len(suffix)+len(value) {
		return full, 0
	}
	n.setDead(n.dead() + leafCellBytes + length + len(old))
	n.setSlot(at, head, n.pushCell(suffix, value), length|flags)
	return replaced, was
}

// pushCell puts a leaf's cell below the others and returns where it begins.
func (n *node) pushCell(suffix, value []byte) int {
	at := n.heap() - leafCellBytes - len(suffix) - len(value)
	le.PutUint16(n[at:], uint16(len(value)))
	copy(n[at+leafCellBytes:], suffix)
	copy(n[at+leafCellBytes+len(suffix):], value)
	n.setHeap(at)
	return at
}

// delete removes key from a leaf that is changeable: replaced, missing, spread or
// broken. was is as of put.
func (n *node) delete(key []byte) (f fit, was uint64) {
	at, found, ok := n.search(key)
	switch {
	case !ok:
		return broken, 0
	case !found:
		return missing, 0
	case n.isLong(at):
		return spread, 0
	}
	if _, was, ok = n.expiry(at); !ok || !n.remove(at) {
		return broken, 0
	}
	return replaced, was
}

// remove deletes slot at of a leaf that is changeable. It returns false, and has
// changed nothing, if the leaf is damaged.
func (n *node) remove(at int) bool {
	_, _, length := n.slot(at)
	value, ok := n.cellValue(at)
	if !ok {
		return false
	}
	n.setDead(n.dead() + leafCellBytes + length + len(value))
	count := n.count() - 1
	from := slotsAt + slotBytes*at
	copy(n[from:slotsAt+slotBytes*count], n[from+slotBytes:slotsAt+slotBytes*(count+1)])
	n.setCount(count)
	return true
}
