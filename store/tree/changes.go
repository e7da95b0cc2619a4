package tree

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"faultline/internal/offheap"
	"faultline/pagemeta"
)

// The change buffer has the writes to leaves that are not in memory, each beside
// the number of its leaf (InnoDB's change buffer, here for the tree itself). Such a
// write costs no read: the log makes it durable, readers look in the buffer before
// they look at the leaf, and the leaf takes it in when it is in memory for another
// reason, or when the buffer is full and many leaves are done in the order of the
// file.
//
//	page table   leaf 7: marked ---+
//	                               |      +----------+      +----------+
//	index        leaf 7, head -----+----> | k3 = new | ---> | k1 gone  | ---> nil
//	                                      +----------+      +----------+
//
// A leaf that has changes is marked; mark and changes belong to the leaf's latch, so
// who reads them by version sees them and the page as of one moment.
//
// There are two generations. New changes go to the open one, while the leaves of the
// closed one are done; once they are, its memory is given back at once, and it may
// be opened. No list of free memory, nothing to compact.
type changes struct {
	pages *pagemeta.Table
	gens  [2]generation
	open  atomic.Uint32 // which one takes changes; turns with the gate closed
}

// A generation is a heap of records that only grows, and an index of their leaves.
type generation struct {
	mem   []byte          // records from byte 8 on
	index []atomic.Uint64 // a hash table: leaf<<32 | its newest record, in units of 8 bytes
	raw   []byte          // the memory of index
	used  atomic.Int64    // bytes of mem
	lent  atomic.Int64    // bytes of mem that the page table has lent
	count atomic.Int64    // leaves in index

	from uint64 // LSN before all of its changes; guarded by the gate
}

// A record, little-endian:
//
//	0        4        6        8        10      12
//	+--------+--------+--------+--------+-------+-----+-------+
//	|  next  | length | length |  room  |   0   | key | value |
//	+--------+--------+--------+--------+-------+-----+-------+
//
//	next    the one before it of the same leaf, in units of 8 bytes; 0: none
//	length  of key and value; the value's is deletedValue if the key is gone
//	room    for the value, which may be overwritten in place
const (
	recordAt     = 12
	recordAlign  = 8
	deletedValue = 1<<16 - 1

	// maxDeferred is the longest key with its value that is kept beside a leaf.
	maxDeferred = 1024
	// maxBeside bounds the records of one leaf, so that it can take them in with
	// few splits.
	maxBeside = 1536
	// lendBytes is how much memory a generation takes at a time.
	lendBytes = 1 << 20
)

// A Change is a write that a leaf has not taken in yet. Value is nil if it deletes.
type Change struct{ Key, Value []byte }

// init reserves room for bytes of changes; 0 is no buffer.
func (c *changes) init(pages *pagemeta.Table, bytes int64) (err error) {
	c.pages = pages
	if bytes == 0 {
		return nil
	}
	for i := range c.gens {
		if err := c.gens[i].init(int(bytes / 2)); err != nil {
			return fmt.Errorf("change buffer: %w", err)
		}
	}
	return nil
}

func (g *generation) init(bytes int) (err error) {
	slots := 1
	for slots < bytes/64 { // a record has 24 bytes at least, most have more
		slots *= 2
	}
	if g.raw, err = offheap.Reserve(slots * 8); err != nil {
		return err
	}
	g.index = unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(g.raw))), slots)
	if g.mem, err = offheap.Reserve(max(bytes-slots*8, pagemeta.PageBytes)); err != nil {
		return err
	}
	g.used.Store(recordAlign)
	return nil
}

// slot returns the slot of leaf, or the empty one where it belongs. There is one:
// the index is never full.
func (g *generation) slot(leaf pagemeta.PageID) *atomic.Uint64 {
	mask := len(g.index) - 1
	for i := int(uint64(leaf) * 0x9e3779b97f4a7c15 >> 32); ; i++ {
		s := &g.index[i&mask]
		if v := s.Load(); v == 0 || pagemeta.PageID(v>>32) == leaf {
			return s
		}
	}
}

// head is the newest record of leaf, or 0.
func (g *generation) head(leaf pagemeta.PageID) int {
	if g.mem == nil || g.count.Load() == 0 {
		return 0
	}
	return int(uint32(g.slot(leaf).Load())) * recordAlign
}

// take reserves n bytes, or returns 0.
func (g *generation) take(n int, pages *pagemeta.Table) int {
	if g.mem == nil || g.count.Load() >= int64(len(g.index))*3/4 {
		return 0
	}
	end := g.used.Add(int64(n))
	if end > int64(len(g.mem)) {
		g.used.Add(-int64(n))
		return 0
	}
	for lent := g.lent.Load(); end > lent; lent = g.lent.Load() {
		if g.lent.CompareAndSwap(lent, lent+lendBytes) {
			pages.Lend(lentFor(lendBytes))
		}
	}
	return int(end) - n
}

// hasRoom tells whether take would give n bytes for records of so many leaves.
func (g *generation) hasRoom(n, leaves int) bool {
	return g.mem != nil && g.count.Load()+int64(leaves) < int64(len(g.index))*3/4 &&
		g.used.Load()+int64(n) <= int64(len(g.mem))
}

// recordBytes is what a record takes of a key and a value of so many bytes.
func recordBytes(entry int) int {
	return (recordAt + entry + recordAlign - 1) &^ (recordAlign - 1)
}

// A record is read without a lock: next, key and value keep inside mem, whatever
// it holds.
func (g *generation) record(at int) (next int, key, value []byte, deleted, ok bool) {
	if at+recordAt > len(g.mem) {
		return 0, nil, nil, false, false
	}
	b := g.mem[at:]
	keyLen, valueLen := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	if valueLen == deletedValue {
		deleted, valueLen = true, 0
	}
	if recordAt+keyLen+valueLen > len(b) {
		return 0, nil, nil, false, false
	}
	key = b[recordAt : recordAt+keyLen]
	return int(le.Uint32(b)) * recordAlign, key, b[recordAt+keyLen : recordAt+keyLen+valueLen], deleted, true
}

// find returns the newest change of key beside leaf, of those in g.
func (g *generation) find(leaf pagemeta.PageID, key []byte) (value []byte, deleted, found bool) {
	for at, steps := g.head(leaf), 0; at != 0 && steps < maxBeside; steps++ {
		next, k, value, deleted, ok := g.record(at)
		if ok && string(k) == string(key) {
			return value, deleted, true
		}
		at = next
	}
	return nil, false, false
}

// find returns the newest change of key beside leaf. It is true if the leaf's
// version is unchanged after.
func (c *changes) find(leaf pagemeta.PageID, key []byte) (value []byte, deleted, found bool) {
	open := c.open.Load()
	if value, deleted, found = c.gens[open].find(leaf, key); found {
		return value, deleted, true
	}
	return c.gens[1-open].find(leaf, key)
}

// beside appends the changes beside leaf to dst, the newest first: of one key the
// first counts. They are true if the leaf's version is unchanged after.
func (c *changes) beside(dst []Change, leaf pagemeta.PageID) []Change {
	open := c.open.Load()
	for _, g := range [2]*generation{&c.gens[open], &c.gens[1-open]} {
		for at, steps := g.head(leaf), 0; at != 0 && steps < maxBeside; steps++ {
			next, key, value, deleted, ok := g.record(at)
			if !ok {
				break
			}
			if deleted {
				value = nil
			}
			dst = append(dst, Change{key, value})
			at = next
		}
	}
	return dst
}

// weight is what counts for maxBeside of the records beside leaf.
func (g *generation) weight(leaf pagemeta.PageID) (bytes int) {
	for at, steps := g.head(leaf), 0; at != 0 && steps < maxBeside; steps++ {
		next, key, value, _, _ := g.record(at)
		bytes += recordAt + len(key) + len(value)
		at = next
	}
	return bytes
}

// add puts a change beside leaf; value is nil if it deletes. It returns false if
// there is no room. The caller has the leaf's latch.
func (c *changes) add(leaf pagemeta.PageID, key, value []byte) bool {
	g := &c.gens[c.open.Load()]
	head, have, newest := g.head(leaf), 0, true
	for at := head; at != 0; {
		next, k, v, _, _ := g.record(at)
		if newest && string(k) == string(key) {
			if value != nil && len(value) <= int(le.Uint16(g.mem[at+8:])) {
				le.PutUint16(g.mem[at+6:], uint16(len(value)))
				copy(g.mem[at+recordAt+len(k):], value)
				return true
			}
			newest = false // what is older of this key counts no more
		}
		have += recordAt + len(k) + len(v)
		at = next
	}
	size := recordBytes(len(key) + len(value))
	if len(key)+len(value) > maxDeferred || have+size > maxBeside {
		return false
	}
	at := g.take(size, c.pages)
	if at == 0 {
		return false
	}
	b := g.mem[at:]
	le.PutUint32(b, uint32(head/recordAlign))
	le.PutUint16(b[4:], uint16(len(key)))
	le.PutUint16(b[6:], uint16(len(value)))
	le.PutUint16(b[8:], uint16(size-recordAt-len(key)))
	if value == nil {
		le.PutUint16(b[6:], deletedValue)
	}
	copy(b[recordAt:], key)
	copy(b[recordAt+len(key):], value)
	g.link(leaf, at)
	return true
}

// link makes the record at at the newest of leaf.
func (g *generation) link(leaf pagemeta.PageID, at int) {
	for {
		s := g.slot(leaf)
		was := s.Load()
		if was != 0 && pagemeta.PageID(was>>32) != leaf {
			continue // another leaf was faster
		}
		if s.CompareAndSwap(was, uint64(leaf)<<32|uint64(at/recordAlign)) {
			if was == 0 {
				g.count.Add(1)
			}
			return
		}
	}
}

// forget drops the changes beside leaf, which has taken them in. The caller has its
// latch. The leaf keeps its slot in the index, without a record.
func (c *changes) forget(leaf pagemeta.PageID) {
	for i := range c.gens {
		if g := &c.gens[i]; g.head(leaf) != 0 {
			g.slot(leaf).Store(uint64(leaf) << 32)
		}
	}
}

// empty tells whether there is nothing in g.
func (g *generation) empty() bool { return g.count.Load() == 0 }

// leaves appends the leaves of g that have changes, in the order of the file.
func (g *generation) leaves(dst []pagemeta.PageID) []pagemeta.PageID {
	for i := range g.index {
		if v := g.index[i].Load(); uint32(v) != 0 {
			dst = append(dst, pagemeta.PageID(v>>32))
		}
	}
	slices.Sort(dst)
	return dst
}

// reset gives the memory of g back, all of whose changes are taken in. A reader
// that still looks at a record sees zeros, and that the version has changed.
func (g *generation) reset(pages *pagemeta.Table) error {
	if err := offheap.DropMany([][]byte{g.raw, g.mem}); err != nil {
		return fmt.Errorf("change buffer: %w", err)
	}
	g.count.Store(0)
	g.used.Store(recordAlign)
	pages.Lend(-lentFor(g.lent.Swap(0)))
	return nil
}

// Defer lets the tree keep changes to leaves that are not in memory beside them, in
// up to bytes of memory, which the page table lends. lsn is where the log stands. It
// is called before the tree is used.
func (t *Tree) Defer(bytes int64, lsn uint64) error {
	for i := range t.changes.gens {
		t.changes.gens[i].from = lsn
	}
	return t.changes.init(t.pages, bytes)
}

// Deferring tells whether changes are kept beside leaves now, and whether there is
// little room for more.
func (t *Tree) Deferring() (some, full bool) {
	c := &t.changes
	open := &c.gens[c.open.Load()]
	some = !open.empty() || !c.gens[1-c.open.Load()].empty()
	n := int64(len(open.mem))
	return some, n > 0 && (open.used.Load() > n-n/8 || open.count.Load() > int64(len(open.index))*5/8)
}

// DeferredShare is how much of the open generation is used, 1 being all of it.
func (t *Tree) DeferredShare() float64 {
	g := &t.changes.gens[t.changes.open.Load()]
	if len(g.mem) == 0 {
		return 0
	}
	return float64(g.used.Load()) / float64(len(g.mem))
}

// Oldest returns an LSN below which all changes are in pages, of a log that stands
// at lsn. The caller has closed the gate.
func (t *Tree) Oldest(lsn uint64) uint64 {
	c := &t.changes
	open := c.open.Load()
	if g := &c.gens[open]; g.empty() {
		g.from = lsn
	}
	oldest := c.gens[open].from
	if g := &c.gens[1-open]; !g.empty() {
		oldest = min(oldest, g.from)
	}
	return oldest
}

// Turn closes the generation that takes changes, at lsn, and opens the other, if
// that is empty. The caller has closed the gate.
func (t *Tree) Turn(lsn uint64) {
	c := &t.changes
	if open := c.open.Load(); c.gens[1-open].empty() {
		c.gens[1-open].from = lsn
		c.open.Store(1 - open)
	}
}

// Closed returns the leaves with changes of the closed generation, in the order of
// the file: Absorb each, then call Done.
func (t *Tree) Closed() []pagemeta.PageID {
	return t.changes.gens[1-t.changes.open.Load()].leaves(nil)
}

// Done gives the memory of the closed generation back, which has no changes left.
func (t *Tree) Done() error {
	g := &t.changes.gens[1-t.changes.open.Load()]
	if g.empty() {
		return nil
	}
	return g.reset(t.pages)
}

// Close gives all memory of the tree back. The addresses stay: a reader that is still
// under way may look, and finds zeros, as in the page table.
func (t *Tree) Close() error {
	var errs []error
	for i := range t.changes.gens {
		if g := &t.changes.gens[i]; g.mem != nil {
			errs = append(errs, offheap.DropMany([][]byte{g.raw, g.mem}))
		}
	}
	return errors.Join(errs...)
}

// lentFor is what bytes of records take with their part of the index.
func lentFor(bytes int64) int64 { return bytes + bytes/8 }
