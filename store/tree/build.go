package tree

import (
	"bytes"

	"faultline/pagemeta"
)

// An entry is a key of a node, whole, with its value or its child.
type entry struct {
	key   []byte
	value []byte          // leaf: as it stands in the cell
	flags int             // leaf: those of the slot
	child pagemeta.PageID // inner: the child right of key
}

// A run is the content of one or several nodes of one level, in order, taken out
// of pages so that it can be changed and laid out anew. Its slices point into
// its own memory, which reset gives to the next use.
type run struct {
	level   int
	child0  pagemeta.PageID
	most    int // the longest prefix of a node, if keys are expected that share less
	entries []entry
	bytes   []byte
}

func (r *run) reset(level int, child0 pagemeta.PageID) {
	r.level, r.child0, r.most = level, child0, MaxKeyBytes
	r.entries, r.bytes = r.entries[:0], r.bytes[:0]
}

// hold copies the concatenation of a and b into the memory of r.
func (r *run) hold(a, b []byte) []byte {
	if cap(r.bytes)-len(r.bytes) < len(a)+len(b) {
		r.bytes = make([]byte, 0, 2*cap(r.bytes)+len(a)+len(b)+nodeBytes) // slices of the old memory keep it
	}
	from := len(r.bytes)
	r.bytes = append(append(r.bytes, a...), b...)
	return r.bytes[from:len(r.bytes):len(r.bytes)]
}

// take appends the entries of n, which must not change meanwhile. It returns
// false if n is damaged: no node of the run's level, or its keys and values have
// more bytes than a page.
func (r *run) take(n *node) bool {
	if !n.is(r.level) || !n.sane() {
		return false
	}
	prefix, skip := n.prefix(), n.skip()
	left := room - len(prefix)
	for i := range n.count() {
		suffix, ok := n.suffix(i, skip)
		left -= slotBytes + skip + len(suffix)
		if !ok || left < 0 || len(prefix)+len(suffix) > MaxKeyBytes {
			return false
		}
		e := entry{key: r.hold(prefix, suffix)}
		if n.level() == 0 {
			value, ok := n.value(i)
			left -= len(value)
			if !ok || left < 0 {
				return false
			}
			e.value, e.flags = r.hold(value, nil), n.flags(i)
		} else if e.child, ok = n.child(i + 1); !ok || n.flags(i) != 0 {
			return false
		}
		r.entries = append(r.entries, e)
	}
	return true
}

// ascends tells whether the keys are in order, each once: only then can the run
// be laid out.
func (r *run) ascends() bool {
	for i := 1; i < len(r.entries); i++ {
		if bytes.Compare(r.entries[i-1].key, r.entries[i].key) >= 0 {
			return false
		}
	}
	return true
}

// find returns where key is in r or would be.
func (r *run) find(key []byte) (at int, found bool) {
	lo, hi := 0, len(r.entries)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		switch c := bytes.Compare(r.entries[mid].key, key); {
		case c < 0:
			lo = mid + 1
		case c == 0:
			return mid, true
		default:
			hi = mid
		}
	}
	return lo, false
}

// insert puts e at place at.
func (r *run) insert(at int, e entry) {
	r.entries = append(r.entries, entry{})
	copy(r.entries[at+1:], r.entries[at:])
	r.entries[at] = e
}

// put puts an entry of a leaf at place at, over old if its key is found.
func (r *run) put(e entry) (at int, old entry, found bool) {
	at, found = r.find(e.key)
	e.key, e.value = r.hold(e.key, nil), r.hold(e.value, nil)
	if found {
		old, r.entries[at] = r.entries[at], e
	} else {
		r.insert(at, e)
	}
	return at, old, found
}

// common returns how many bytes a and b share at their beginning.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// prefixOf is the length of what all keys of entries share.
func prefixOf(entries []entry) int {
	if len(entries) == 0 {
		return 0
	}
	return common(entries[0].key, entries[len(entries)-1].key)
}

// size is how much of room a node of entries takes.
func (r *run) size(entries []entry) int {
	prefix := min(prefixOf(entries), r.most)
	size := prefix
	for i := range entries {
		size += r.entrySize(&entries[i]) - prefix
	}
	return size
}

// entrySize is how much of room e takes without a prefix.
func (r *run) entrySize(e *entry) int {
	if r.level == 0 {
		return slotBytes + leafCellBytes + len(e.key) + len(e.value)
	}
	return slotBytes + innerCellBytes + len(e.key)
}

func (r *run) fits(entries []entry) bool {
	return len(entries) <= maxSlots && r.size(entries) <= room
}

// maxParts is how many nodes a run can need: two neighbours of them have more than a
// node holds, and a run has less than 4 times that.
const maxParts = 8

// A part is one node's share of a run: entries from to to. In an inner run the
// entry before from is not in any node: it moves up and separates the parts.
type part struct{ from, to int }

// cut divides a run that does not fit one node. Of the ways to make two parts it
// takes the most even one; where there is none (a large entry in the middle) it
// fills nodes from the left, which gives three at most, and maxParts if changes
// beside a leaf came in. If grows is not 0, keys arrive in order at that place: what is
// before it stays full.
func (r *run) cut(grows int) []part {
	n, lift := len(r.entries), 0
	if r.level > 0 {
		lift = 1
	}
	if at := grows - lift; at > 0 && grows < n && r.fits(r.entries[:at]) && r.fits(r.entries[grows:]) {
		return []part{{0, at}, {grows, n}}
	}
	middle := r.middle()
	for d := 0; d < n; d++ {
		for _, at := range [2]int{middle - d, middle + d} {
			if at > 0 && at+lift < n && r.fits(r.entries[:at]) && r.fits(r.entries[at+lift:]) {
				return []part{{0, at}, {at + lift, n}}
			}
		}
	}
	var parts []part
	for from := 0; ; {
		to := from + 1
		for to < n && r.fits(r.entries[from:to+1]) {
			to++
		}
		if to < n && lift > 0 && to+lift == n {
			to-- // the last part must not be empty
		}
		parts = append(parts, part{from, to})
		if to == n {
			return parts
		}
		from = to + lift
	}
}

// fullBefore returns what grows of cut is best for an inner run whose entries from first on
// came at its end: as many of them go to the left as fit there.
func (r *run) fullBefore(first int) (grows int) {
	grows = len(r.entries) - 1
	for grows > first && !r.fits(r.entries[:grows-1]) {
		grows--
	}
	return grows
}

// middle is the place that has half of the bytes of r before it.
func (r *run) middle() int {
	total := 0
	for i := range r.entries {
		total += len(r.entries[i].key) + len(r.entries[i].value) + slotBytes
	}
	at, left := 0, 0
	for at < len(r.entries) && left < total/2 {
		left += len(r.entries[at].key) + len(r.entries[at].value) + slotBytes
		at++
	}
	return at
}

// child0Of returns the leftmost child of part p.
func (r *run) child0Of(p part) pagemeta.PageID {
	if r.level == 0 {
		return 0
	}
	if p.from == 0 {
		return r.child0
	}
	return r.entries[p.from-1].child
}

// separator returns a key that is greater than all of the part before p and not
// greater than any of p: in leaves the shortest one.
func (r *run) separator(p part) []byte {
	if r.level > 0 {
		return r.entries[p.from-1].key
	}
	left, right := r.entries[p.from-1].key, r.entries[p.from].key
	return right[:common(left, right)+1]
}

// lay writes the node of part p into n, whole.
func (r *run) lay(n *node, p part) {
	entries := r.entries[p.from:p.to]
	prefix := min(prefixOf(entries), r.most)
	clear(n[:])
	kind := byte(KindLeaf)
	if r.level > 0 {
		kind = KindInner
	}
	(*pagemeta.Page)(n).SetKind(kind)
	le.PutUint16(n[levelAt:], uint16(r.level))
	le.PutUint16(n[prefixAt:], uint16(prefix))
	le.PutUint32(n[child0At:], uint32(r.child0Of(p)))
	n.setCount(len(entries))
	if prefix > 0 {
		copy(n[nodeBytes-prefix:], entries[0].key)
	}
	heap := nodeBytes - prefix
	for i := len(entries) - 1; i >= 0; i-- { // cells in the order of slots, for scans
		e := &entries[i]
		suffix := e.key[prefix:]
		if r.level == 0 {
			heap -= leafCellBytes + len(suffix) + len(e.value)
			le.PutUint16(n[heap:], uint16(len(e.value)))
			copy(n[heap+leafCellBytes:], suffix)
			copy(n[heap+leafCellBytes+len(suffix):], e.value)
		} else {
			heap -= innerCellBytes + len(suffix)
			le.PutUint32(n[heap:], uint32(e.child))
			copy(n[heap+innerCellBytes:], suffix)
		}
		n.setSlot(i, headOf(suffix), heap, len(suffix)|e.flags)
	}
	n.setHeap(heap)
}
