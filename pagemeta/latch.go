package pagemeta

import "runtime"

// A latch lets many goroutines read a page without a store to shared memory,
// and one change it (optimistic lock coupling: Leis et al., "The ART of
// practical synchronization", DaMoN 2016). It is a counter: odd while somebody
// changes the page, and larger after each change. A reader takes the version,
// reads what may be torn, copies out what it needs, and believes it only if the
// version is still the same.
//
// It says nothing of where the page is, and the page lock nothing of its
// contents: an operation takes the latch when the page is Dirty, and the flusher
// needs none, since what it copies is Frozen.

// Version waits until nobody changes page id and returns its version.
func (t *Table) Version(id PageID) uint64 {
	m := &t.metas[id].latch
	for spin := 0; ; spin++ {
		if v := m.Load(); v&1 == 0 {
			return v
		}
		if spin > 30 {
			runtime.Gosched()
		}
	}
}

// Unchanged tells whether what was read of page id since Version returned v may
// be believed.
func (t *Table) Unchanged(id PageID, v uint64) bool {
	loadFence()
	return t.metas[id].latch.Load() == v
}

// Latch takes the latch of page id if its version is still v: what was read
// since then is true, and stays true until Unlatch.
func (t *Table) Latch(id PageID, v uint64) bool {
	if !t.metas[id].latch.CompareAndSwap(v, v+1) {
		return false
	}
	storeFence() // no reader may see the change and still the old version
	return true
}

// Unlatch ends what Latch began, and returns the version then; changed says whether the
// page is another now.
func (t *Table) Unlatch(id PageID, changed bool) (version uint64) {
	if changed {
		return t.metas[id].latch.Add(1)
	}
	return t.metas[id].latch.Add(^uint64(0))
}

// Mark and Unmark set and clear a bit of page id that says something of what is
// kept beside the page. The caller has its latch; the bit outlasts eviction.
func (t *Table) Mark(id PageID) { t.metas[id].word.Or(uint64(markBit)) }

// Unmark: see Mark.
func (t *Table) Unmark(id PageID) { t.metas[id].word.And(^uint64(markBit)) }

// Marked tells whether page id is marked. Like what is read of the page itself, it
// is believed if the version is unchanged after.
func (t *Table) Marked(id PageID) bool { return t.load(id)&markBit != 0 }
