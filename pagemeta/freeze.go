package pagemeta

import (
	"fmt"
	"math"
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

// A freeze is made in parts, each with the gate closed: no operation is half done, and
// none begins. FreezeAhead protects some Dirty pages before the cut is made, and the
// gate is opened again; Freeze does the rest, and makes the cut:
//
//	gate     closed  open  closed  open  ...  closed
//	flusher  ahead         ahead              Freeze: the rest, and all are the cut
//	writers          store       store        wait for no more than what they changed again
//
// A page that is stored to between its part and the cut is Dirty again, with the head
// that it has, and nothing is captured: its image is not of a cut yet (mkwrite).
//
// After an error some pages are protected and still Dirty; the next store to one
// would trap for ever, so the owner must stop.

// FreezeAhead makes Dirty pages Frozen from page from on, most of them or some more. It
// returns how many, and where to go on, or 0 if there are no more.
func (t *Table) FreezeAhead(from PageID, most int) (n int, next PageID, err error) {
	t.cut.Store(false) // the pages of the last cut are captured
	words := t.dirty[:t.dirtyWords.Load()]
	at := int(from / 64)
	pages := t.freezing[:0]
	for ; at < len(words) && len(pages) < most; at++ {
		for set := words[at].Load(); set != 0; set &= set - 1 {
			pages = append(pages, PageID(at*64+bits.TrailingZeros64(set)))
		}
	}
	t.freezing = pages
	// The pages are protected before any is marked, since until the call has returned
	// any CPU may still store through its old translation.
	if err := t.protect(pages); err != nil {
		return 0, 0, err
	}
	for _, id := range pages {
		t.freeze(id)
	}
	t.step(0, stepClear)
	for i := int(from / 64); i < at; i++ { // with the gate closed nobody sets a bit
		t.frozen[i].Or(words[i].Load())
		words[i].Store(0)
	}
	if at < len(words) {
		next = PageID(at * 64)
	}
	return len(pages), next, nil
}

// Freeze makes every Dirty page Frozen, and a cut of all that are. It appends them to
// dst, in the order of their numbers.
func (t *Table) Freeze(dst []FrozenPage) ([]FrozenPage, error) {
	if _, _, err := t.FreezeAhead(0, math.MaxInt); err != nil {
		return dst, err
	}
	words := t.frozen[:t.dirtyWords.Load()]
	for i := range words {
		for set := words[i].Load(); set != 0; set &= set - 1 {
			id := PageID(i*64 + bits.TrailingZeros64(set))
			dst = append(dst, FrozenPage{id, t.load(id).head()})
		}
		words[i].Store(0)
	}
	t.cut.Store(true)
	return dst, nil
}

// freeze marks page id, which is protected. It is lock, move and unlock in one step.
func (t *Table) freeze(id PageID) {
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
			return
		}
	}
}

// protect write-protects pages, which are in order, in as few calls as pay.
func (t *Table) protect(pages []PageID) error {
	for i := 0; i < len(pages); {
		j := i + 1
		for j < len(pages) && pages[j]-pages[j-1] <= mergeGap {
			j++
		}
		from, to := pages[i], pages[j-1]+1
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
