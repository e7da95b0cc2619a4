package tree

import (
	"fmt"
	"math/bits"
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
type changes struct {
	chunks
	heads  []atomic.Uint32 // the newest record of each leaf, in units of 8 bytes; 0: none
	zones  []zone
	shift  uint         // a leaf's number without these bits is that of its zone
	leaves atomic.Int64 // how many have changes
}

// A record, little-endian:
//
//	0        4        6        8        10        12
//	+--------+--------+--------+--------+---------+-----+-------+
//	|  next  | length | length |  room  | expires | key | value |
//	+--------+--------+--------+--------+---------+-----+-------+
//
//	next    the one before it of the same leaf, in units of 8 bytes; 0: none
//	length  of key and value; the value's is deletedValue if the key is gone
//	room    for the value, which may be overwritten in place
//	expires 1: when the key expires stands before the value, and is counted as its; else 0
const (
	recordAt        = 12
	recordExpiresAt = 10
	recordAlign     = 8
	deletedValue    = 1<<16 - 1

	// maxDeferred is the longest key with its value that is kept beside a leaf.
	maxDeferred = 1024
	// maxBeside bounds the records of one leaf, so that it can take them in with
	// few splits.
	maxBeside = 1536
)

// A Change is a write that a leaf has not taken in yet. Value is nil if it deletes. If
// the key expires, when is told by the first ExpiryBytes of it.
type Change struct {
	Key, Value []byte
	Expires    bool
}

func (c *Change) flags() int {
	if c.Expires {
		return expiryBit
	}
	return 0
}

// Defer lets the tree keep changes to leaves that are not in memory beside them, in
// up to bytes of memory, which the page table lends. lsn is where the log stands. It
// is called before the tree is used.
func (t *Tree) Defer(bytes int64, lsn uint64) error {
	c := &t.changes
	c.pages = t.pages
	if err := c.init(bytes); err != nil || bytes < int64(c.size) {
		return err
	}
	heads, err := offheap.Reserve(t.pages.Pages * 4)
	if err != nil {
		return fmt.Errorf("change buffer: %w", err)
	}
	c.heads = unsafe.Slice((*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(heads))), t.pages.Pages)
	n := min(max(c.free()/8, 1), zonesMost)
	c.shift = uint(bits.Len(uint((t.pages.Pages - 1) / n)))
	c.zones = make([]zone, (t.pages.Pages-1)>>c.shift+1)
	for i := range c.zones {
		c.zones[i].open.from = lsn
	}
	return nil
}

// DeferLess lets changes have no more than bytes of memory.
func (t *Tree) DeferLess(bytes int64) {
	if c := &t.changes; c.on() {
		c.limit.Store(min(c.limit.Load(), bytes/int64(c.size)))
	}
}

// on tells whether changes are kept at all.
func (c *changes) on() bool { return c.zones != nil }

// head is the newest record of leaf, or 0.
func (c *changes) head(leaf pagemeta.PageID) int {
	if !c.on() {
		return 0
	}
	return int(c.heads[leaf].Load()) * recordAlign
}

// reserve returns memory for a record of n bytes beside leaf, or 0.
func (c *changes) reserve(leaf pagemeta.PageID, n int) int {
	if !c.on() {
		return 0
	}
	z := &c.zones[leaf>>c.shift]
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.open.take(n, &c.chunks)
}

// hasRoom tells whether there is memory for records of n bytes in so many zones, each
// of which may leave the end of a chunk unused.
func (c *changes) hasRoom(n, zones int) bool {
	return c.on() && c.free() >= n/(c.size-recordBytes(maxDeferred))+zones
}

// recordBytes is what a record takes of a key and a value of so many bytes.
func recordBytes(entry int) int {
	return (recordAt + entry + recordAlign - 1) &^ (recordAlign - 1)
}

// A record is read without a lock: next, key and value keep inside mem, whatever
// it holds.
func (c *changes) record(at int) (next int, ch Change, ok bool) {
	if at+recordAt > len(c.mem) {
		return 0, ch, false
	}
	b := c.mem[at:]
	keyLen, valueLen := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	deleted := valueLen == deletedValue
	if deleted {
		valueLen = 0
	}
	if recordAt+keyLen+valueLen > len(b) {
		return 0, ch, false
	}
	ch.Key = b[recordAt : recordAt+keyLen]
	if !deleted {
		ch.Value = b[recordAt+keyLen : recordAt+keyLen+valueLen]
		ch.Expires = b[recordExpiresAt] == 1
	}
	return int(le.Uint32(b)) * recordAlign, ch, true
}

// find returns the newest change of key beside leaf. It is true if the leaf's
// version is unchanged after.
func (c *changes) find(leaf pagemeta.PageID, key []byte) (ch Change, found bool) {
	for at, steps := c.head(leaf), 0; at != 0 && steps < maxBeside; steps++ {
		next, ch, ok := c.record(at)
		if ok && string(ch.Key) == string(key) {
			return ch, true
		}
		at = next
	}
	return ch, false
}

// beside appends the changes beside leaf to dst, the newest first: of one key the
// first counts. They are true if the leaf's version is unchanged after.
func (c *changes) beside(dst []Change, leaf pagemeta.PageID) []Change {
	for at, steps := c.head(leaf), 0; at != 0 && steps < maxBeside; steps++ {
		next, ch, ok := c.record(at)
		if !ok {
			break
		}
		dst = append(dst, ch)
		at = next
	}
	return dst
}

// weight is what counts for maxBeside of the records beside leaf.
func (c *changes) weight(leaf pagemeta.PageID) (bytes int) {
	for at, steps := c.head(leaf), 0; at != 0 && steps < maxBeside; steps++ {
		next, ch, _ := c.record(at)
		bytes += recordAt + len(ch.Key) + len(ch.Value)
		at = next
	}
	return bytes
}

// add puts a change beside leaf. It returns false if there is no room. The caller has
// the leaf's latch.
func (c *changes) add(leaf pagemeta.PageID, ch Change) bool {
	key, value := ch.Key, ch.Value
	expires := byte(0)
	if ch.Expires {
		expires = 1
	}
	head, have, newest := c.head(leaf), 0, true
	for at := head; at != 0; {
		next, old, _ := c.record(at)
		if newest && string(old.Key) == string(key) {
			if value != nil && len(value) <= int(le.Uint16(c.mem[at+8:])) {
				le.PutUint16(c.mem[at+6:], uint16(len(value)))
				c.mem[at+recordExpiresAt] = expires
				copy(c.mem[at+recordAt+len(key):], value)
				return true
			}
			newest = false // what is older of this key counts no more
		}
		have += recordAt + len(old.Key) + len(old.Value)
		at = next
	}
	size := recordBytes(len(key) + len(value))
	if len(key)+len(value) > maxDeferred || have+size > maxBeside {
		return false
	}
	at := c.reserve(leaf, size)
	if at == 0 {
		return false
	}
	b := c.mem[at:]
	le.PutUint32(b, uint32(head/recordAlign))
	le.PutUint16(b[4:], uint16(len(key)))
	le.PutUint16(b[6:], uint16(len(value)))
	le.PutUint16(b[8:], uint16(size-recordAt-len(key)))
	b[recordExpiresAt], b[recordExpiresAt+1] = expires, 0
	if value == nil {
		le.PutUint16(b[6:], deletedValue)
	}
	copy(b[recordAt:], key)
	copy(b[recordAt+len(key):], value)
	c.heads[leaf].Store(uint32(at / recordAlign))
	if head == 0 {
		c.leaves.Add(1)
	}
	return true
}

// forget drops the changes beside leaf, which has taken them in. The caller has its
// latch.
func (c *changes) forget(leaf pagemeta.PageID) {
	if c.on() && c.heads[leaf].Swap(0) != 0 {
		c.leaves.Add(-1)
	}
}

// Deferring tells whether changes are kept beside leaves now, and whether zones should
// be merged, so that there is room for more.
func (t *Tree) Deferring() (some, full bool) {
	some = t.changes.taken.Load() > 0
	return some, some && t.DeferredShare(0) > fullShare
}

// fullShare is how much of the memory is taken when zones should be merged.
const fullShare = 0.75

// DeferredShare is how much of the memory for changes would be taken, 1 being all of
// it, if a write of so many bytes, or an eighth of the memory, were kept there.
func (t *Tree) DeferredShare(bytes int) float64 {
	c := &t.changes
	limit := c.limit.Load()
	if limit <= 0 {
		return 0
	}
	return float64(c.taken.Load()+min(int64(bytes/c.size), limit/8)) / float64(limit)
}

// Close gives all memory of the tree back. The addresses stay: a reader that is still
// under way may look, and finds zeros, as in the page table.
func (t *Tree) Close() error {
	c := &t.changes
	if !c.on() {
		return nil
	}
	heads := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(c.heads))), len(c.heads)*4)
	return offheap.DropMany([][]byte{c.mem, heads})
}
