package pagemeta

import (
	"fmt"
	"math/bits"
)

// A FrozenPage is a page of a cut, with the head that its owner gave it.
type FrozenPage struct {
	ID   PageID
	Head uint32
}

// mergeGap is how many pages that need no protection Freeze passes over to save
// a call: protecting a page costs about 0.07 us, a call about 0.5 us.
const mergeGap = 8

// Freeze makes every Dirty page Frozen and appends them to dst, in the order of
// their numbers. The caller has closed the gate: no operation is half done, and
// none begins. The pages are protected before any is marked, since until the
// call has returned any CPU may still store through its old translation.
//
// After an error some pages are protected and still Dirty; the next store to one
// would trap for ever, so the owner must stop.
func (t *Table) Freeze(dst []FrozenPage) ([]FrozenPage, error) {
	first := len(dst)
	for i := range t.dirty {
		for set := t.dirty[i].Load(); set != 0; set &= set - 1 {
			dst = append(dst, FrozenPage{ID: PageID(i*64 + bits.TrailingZeros64(set))})
		}
	}
	cut := dst[first:]
	if err := t.protect(cut); err != nil {
		return dst, err
	}
	for i := range cut {
		id := cut[i].ID
		t.lock(id)
		head := t.load(id).head()
		t.move(id, Freeze, head)
		t.clearDirty(id)
		t.unlock(id)
		cut[i].Head = head
	}
	return dst, nil
}

// protect write-protects pages, which are in order, in as few calls as pay.
func (t *Table) protect(pages []FrozenPage) error {
	for i := 0; i < len(pages); {
		j := i + 1
		for j < len(pages) && pages[j].ID-pages[j-1].ID <= mergeGap {
			j++
		}
		from, to := pages[i].ID, pages[j-1].ID+1
		if err := t.arena.fd.Protect(t.arena.addr(from), uintptr(to-from)*PageBytes); err != nil {
			return fmt.Errorf("freeze pages %d to %d: %w", from, to-1, err)
		}
		i = j
	}
	return nil
}

// Capture copies the image of page id into image, if the page is still Frozen:
// it is then in Flight. Otherwise an operation was faster, and its mkwrite has
// handed the image to the owner; Capture returns false.
func (t *Table) Capture(id PageID, image *Page) bool {
	t.lock(id)
	defer t.unlock(id)
	w := t.load(id)
	if w.State() != Frozen {
		return false
	}
	*image = *t.Page(id)
	t.move(id, Capture, w.head())
	return true
}

// Written says that the captured image of page id is in the data file, durable.
// The page is Clean, unless it was changed meanwhile.
func (t *Table) Written(id PageID) {
	t.lock(id)
	defer t.unlock(id)
	w := t.load(id)
	if w.State() == Dirty {
		t.move(id, Written, w.head())
	} else {
		t.move(id, Written, 0)
	}
}
