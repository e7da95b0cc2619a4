package pagemeta

import "unsafe"

// LineBytes is the size of a cache line. Where it is another one, Expect is no worse than
// without effect.
const LineBytes = 64

// Expect says that page id is about to be looked at: the processor begins to fetch its
// word, its first lines cache lines and its last one, all at a time, where the reader
// would wait for one after the other. It is a hint, and does nothing to a page that is
// not in memory. lines is at least 1.
func (t *Table) Expect(id PageID, lines int) {
	page := unsafe.Pointer(t.Page(id))
	prefetch(unsafe.Pointer(&t.metas[id]), 1)
	prefetch(page, lines)
	prefetch(unsafe.Add(page, PageBytes-LineBytes), 1)
}

// ExpectMore says the same of lines cache lines of page id from line from on, which must
// be in the page.
func (t *Table) ExpectMore(id PageID, from, lines int) {
	prefetch(unsafe.Add(unsafe.Pointer(t.Page(id)), from*LineBytes), lines)
}
