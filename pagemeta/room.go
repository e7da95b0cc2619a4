package pagemeta

import (
	"sync/atomic"
	"unsafe"
)

// TableBytes is what is kept of each page of the file whether or not it is in
// memory: a meta, an entry of the kernel's page table, a round and a place of the
// owner's, and a bit here and there.
const TableBytes = int64(unsafe.Sizeof(meta{})) + 8 + 4 + 4 + 1

// room is the account of a table's memory, Config.Memory.
type room struct {
	resident atomic.Int64 // pages in memory
	guests   atomic.Int64 // of these, those that are guests
	kept     atomic.Int64 // of these, those that have a head: no eviction takes them
	high     atomic.Int64 // pages of the file, as far as any was in memory
	lent     atomic.Int64 // bytes that the owner has
}

func (r *room) tables() int64 { return r.high.Load() * TableBytes }

// Resident is how many pages are in memory that are no guests.
func (t *Table) Resident() int64 { return t.room.resident.Load() - t.room.guests.Load() }

// free is how many more pages may be in memory; negative: there are too many.
func (t *Table) free() int64 {
	r := &t.room
	return (t.Memory-r.tables()-r.lent.Load())/PageBytes - r.resident.Load()
}

// Holds tells whether so many pages have room in memory at one time.
func (t *Table) Holds(pages int64) bool {
	return t.Memory == 0 || t.free()+t.room.resident.Load() >= pages
}

// Short tells whether there is little room: the evictor is at work, or should be.
func (t *Table) Short() bool { return t.Memory > 0 && t.free() < t.ahead()/2 }

// ahead is how many pages the evictor keeps room for.
func (t *Table) ahead() int64 {
	const share = 64 // of the pages in memory
	return min(t.room.resident.Load()/share, 2*evictBatch) + min(evictBatch/4, t.Memory/PageBytes/8)
}

// Window is how many pages one reader may ask for ahead of its use of them: a small
// share of those that could be there, so that they still are when it comes.
func (t *Table) Window() int {
	if t.Memory == 0 {
		return t.Pages
	}
	const share = 16
	r := &t.room
	return int(max(0, t.free()+r.resident.Load()-r.kept.Load()) / share)
}

// leastClean is how many Clean pages stay even where there is no room for them. An
// operation needs the pages of its way at one time; if each that it loads drove out
// the one before, it would begin again for ever.
func (t *Table) leastClean() int64 { return max(8, min(evictBatch/4, t.Memory/PageBytes/2)) }

// makeFree evicts up to most pages, and no more than are missing until so many may
// be loaded. It returns how many.
func (t *Table) makeFree(pages, most int64) int {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	clean := t.room.resident.Load() - t.room.kept.Load()
	want := min(pages-t.free(), most, clean-t.leastClean())
	if want <= 0 {
		return 0
	}
	return t.evict(int(want))
}

// arrived counts page id, which was loaded.
func (t *Table) arrived(id PageID) {
	t.room.resident.Add(1)
	for {
		high := t.room.high.Load()
		if int64(id) < high || t.room.high.CompareAndSwap(high, int64(id)+1) {
			break
		}
	}
	if t.Short() {
		t.clock.wake()
	}
}

// makeRoom evicts a few pages if there is no room for another. The caller has no
// page lock. It never waits: pages that are Dirty leave only by the flusher, whose
// freeze may wait for the very operation that loads. For what finds no room, more
// is taken; the owner bounds how many pages are Dirty.
func (t *Table) makeRoom() {
	if t.Memory > 0 && t.free() <= 0 {
		t.metrics.reclaims.Add(1)
		t.makeFree(t.ahead(), evictBatch/8)
	}
}

// makeRoomFor evicts until so many pages have room, if it can. The caller may have page
// locks.
func (t *Table) makeRoomFor(pages int64) {
	if t.Memory > 0 && t.free() < pages {
		t.makeFree(pages, pages)
	}
}

// Lend takes bytes of the table's memory for the owner, and evicts the pages that
// must go for it; negative bytes give it back.
func (t *Table) Lend(bytes int64) {
	t.room.lent.Add(bytes)
	for t.Memory > 0 && bytes > 0 && t.makeFree(0, evictBatch) > 0 {
	}
}
