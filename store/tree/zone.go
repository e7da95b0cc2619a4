package tree

import (
	"sync"

	"faultline/pagemeta"
)

// A zone is a stretch of the data file, whose leaves take in their changes together.
// What comes meanwhile goes to other memory, so that at the end all that was there at
// the beginning is given back: no list of free records, nothing to compact.
//
//	zones      0        1        2        3        4
//	        +--------+--------+--------+--------+--------+
//	        | ###### | ####   | #      | ###### | ###### |     # changes beside leaves
//	        +--------+--------+--------+--------+--------+
//	                   merged ->         next: most to do
//
// Zones are done one at a time, the fullest first. When writes come everywhere, that is
// one sweep after another over the file, and the zone that is next has twice its share
// of the memory: a leaf is read and written once for twice as many changes as if all of
// them were done together (as with buffers that are emptied one child at a time: Bender
// et al., "An Introduction to B-epsilon-trees and Write-Optimization", 2015).
type zone struct {
	mu     sync.Mutex
	open   heap // takes changes
	closed heap // is merged
}

// zonesMost is how many zones a file has that is as large as it can become.
const zonesMost = 64

// Zones is a set of zones, a bit each.
type Zones uint64

const _ = uint(64 - zonesMost)

// A heap is memory that only grows, in chunks.
type heap struct {
	chunks    []int // where they begin; the last one is not full
	next, end int   // what is left of that

	from uint64 // LSN before all changes that are in it; guarded by the gate, and mu
}

func (h *heap) empty() bool { return len(h.chunks) == 0 }

// take reserves n bytes, or returns 0 if there is no chunk. The caller has the lock.
func (h *heap) take(n int, c *chunks) (at int) {
	if h.next+n > h.end {
		begin := c.take()
		if begin == 0 {
			return 0
		}
		h.chunks = append(h.chunks, begin)
		h.next, h.end = begin, begin+c.size
	}
	at = h.next
	h.next += n
	return at
}

// turn closes what takes changes, at lsn, unless something is closed already. The gate
// is closed.
func (z *zone) turn(lsn uint64) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.closed.empty() && !z.open.empty() {
		z.closed, z.open = z.open, heap{from: lsn}
	}
}

// weight is how many chunks z has.
func (z *zone) weight() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return len(z.open.chunks) + len(z.closed.chunks)
}

// since returns an LSN before all changes of z; some tells whether it has any. now is
// where the log stands, or stood.
func (z *zone) since(now uint64) (lsn uint64, some bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch {
	case !z.closed.empty():
		return z.closed.from, true
	case !z.open.empty():
		return z.open.from, true
	}
	return now, false
}

// renew notes where the log stands for the changes that z will have. The gate is
// closed.
func (z *zone) renew(lsn uint64) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.open.empty() {
		z.open.from = lsn
	}
}

// Fullest returns the zone that has the most to take in, of those that are not in the
// set but; ok is false if there is none.
func (t *Tree) Fullest(but Zones) (zone int, ok bool) {
	most := 0
	for i := range t.changes.zones {
		if n := t.changes.zones[i].weight(); n > most && but&(1<<i) == 0 {
			zone, most = i, n
		}
	}
	return zone, most > 0
}

// ZonesBefore appends to dst the zones that may have changes from before lsn.
func (t *Tree) ZonesBefore(dst []int, lsn uint64) []int {
	for i := range t.changes.zones {
		if from, some := t.changes.zones[i].since(lsn); some && from < lsn {
			dst = append(dst, i)
		}
	}
	return dst
}

// Oldest returns an LSN below which all changes are in pages, of a log that stands
// at lsn. The caller has closed the gate.
func (t *Tree) Oldest(lsn uint64) uint64 {
	oldest := lsn
	for i := range t.changes.zones {
		z := &t.changes.zones[i]
		from, _ := z.since(lsn)
		oldest = min(oldest, from)
		z.renew(lsn)
	}
	return oldest
}

// Closed tells whether zone has changes that a merge has left.
func (t *Tree) Closed(zone int) bool {
	z := &t.changes.zones[zone]
	z.mu.Lock()
	defer z.mu.Unlock()
	return !z.closed.empty()
}

// Turn closes what changes zone has, at lsn: Absorb its Leaves, then call Done. The
// caller has closed the gate.
func (t *Tree) Turn(zone int, lsn uint64) { t.changes.zones[zone].turn(lsn) }

// Leaves returns the leaves of zone that have changes, in the order of the file.
func (t *Tree) Leaves(zone int) (leaves []pagemeta.PageID) {
	c := &t.changes
	for id := zone << c.shift; id < min((zone+1)<<c.shift, len(c.heads)); id++ {
		if c.heads[id].Load() != 0 {
			leaves = append(leaves, pagemeta.PageID(id))
		}
	}
	return leaves
}

// Done gives the memory back of changes of zone that are closed: all Leaves that there
// were since have taken theirs in.
func (t *Tree) Done(zone int) error {
	z := &t.changes.zones[zone]
	z.mu.Lock()
	list := z.closed.chunks
	z.closed = heap{}
	z.mu.Unlock()
	return t.changes.give(list)
}
