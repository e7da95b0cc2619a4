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
// a call. A call costs about 2 us, a page that is protected already a few
// nanoseconds; and from 34 pages on the kernel flushes the whole TLB instead of
// page by page, which is cheaper (docs/bench.md).
const mergeGap = 64

// Freeze makes every Dirty page Frozen and appends them to dst, in the order of
// their numbers. The caller has closed the gate: no operation is half done, and
// none begins. The pages are protected before any is marked, since until the
// call has returned any CPU may still store through its old translation.
//
// After an error some pages are protected and still Dirty; the next store to one
// would trap for ever, so the owner must stop.
func (t *Table) Freeze(dst []FrozenPage) ([]FrozenPage, error) {
	first := len(dst)
	words := t.dirty[:t.dirtyWords.Load()]
	for i := range words {
		for set := words[i].Load(); set != 0; set &= set - 1 {
			dst = append(dst, FrozenPage{ID: PageID(i*64 + bits.TrailingZeros64(set))})
		}
	}
	cut := dst[first:]
	if err := t.protect(cut); err != nil {
		return dst, err
	}
	for i := range cut {
		cut[i].Head = t.freeze(cut[i].ID)
	}
	t.step(0, stepClear)
	for i := range words {
		words[i].Store(0) // with the gate closed nobody sets a bit
	}
	return dst, nil
}

// freeze marks page id, which is protected, and returns its head. It is lock,
// move and unlock in one step.
func (t *Table) freeze(id PageID) uint32 {
	t.step(id, stepMark)
	m := &t.metas[id].word
	for {
		w := Word(m.Load())
		to, ok := w.State().next(Freeze)
		if !ok {
			panic(fmt.Sprintf("pagemeta: freeze of page %d, which is %v", id, w.State()))
		}
		if w.locked() { // by an audit
			t.lock(id)
			t.unlock(id)
			continue
		}
		if m.CompareAndSwap(uint64(w), uint64(w.with(to, w.head()))) {
			return w.head()
		}
	}
}

// protect write-protects pages, which are in order, in as few calls as pay.
func (t *Table) protect(pages []FrozenPage) error {
	for i := 0; i < len(pages); {
		j := i + 1
		for j < len(pages) && pages[j].ID-pages[j-1].ID <= mergeGap {
			j++
		}
		from, to := pages[i].ID, pages[j-1].ID+1
		t.step(from, stepProtect)
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
	t.step(id, stepCopy)
	t.sees(id)
	*image = *t.Page(id)
	t.step(id, stepFlight)
	t.move(id, Capture, w.head())
	return true
}

// Written says that the captured image of page id is in the data file, durable.
// The page is Clean, unless it was changed meanwhile.
func (t *Table) Written(id PageID) {
	t.lock(id)
	defer t.unlock(id)
	t.step(id, stepWritten)
	w := t.load(id)
	if w.State() == Dirty {
		t.move(id, Written, w.head())
	} else {
		t.move(id, Written, 0)
		t.room.kept.Add(-1)
	}
}
