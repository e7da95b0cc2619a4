//go:build race

package pagemeta

import (
	"runtime"
	"unsafe"
)

// A shadow stands for the pages before the race detector, which is blind outside
// the Go heap. It has a word for each page. Who changes a page in phase 2 writes
// the word (Writing), and who copies an image for the owner reads it: the detector
// reports two who change a page at a time, and an image that is taken while the
// page may change. Readers of a page by its version are no part of it: they race,
// and find out.
//
// What orders these in the code orders them for the detector too: the latch and
// the page lock, whose words are on the heap in this build, and the gate.
type shadow []uint64

func newShadow(pages int) shadow { return make(shadow, pages) }

// sees tells the detector that the caller, who has the page lock, takes the image
// of page id, which must not change. Whoever changes the page later comes after it.
func (t *Table) sees(id PageID) {
	runtime.RaceRead(unsafe.Pointer(&t.shadow[id]))
	runtime.RaceReleaseMerge(unsafe.Pointer(&t.metas[id].word))
}

// changes tells the detector that the caller changes page id, alone. That the page
// is writable has to do with whoever made it so, after its image was taken: the
// caller has that from the MMU, perhaps before step D, and the detector from a look
// at the word.
func (t *Table) changes(id PageID) {
	t.load(id)
	runtime.RaceWrite(unsafe.Pointer(&t.shadow[id]))
}

// The detector sees no atomic operation outside the heap either.
func reserveMetas(size int) ([]byte, error) { return make([]byte, size), nil }
func dropMetas([]byte) error                { return nil }
