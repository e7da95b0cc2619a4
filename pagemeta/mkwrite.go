package pagemeta

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// pagePool has buffers for images on their way between disk and arena.
var pagePool = sync.Pool{New: func() any { return NewPage() }}

// mkwrite makes page id writable for the operation that is about to change it:
// the page_mkwrite protocol (Linux b827e496, "mm: close page_mkwrite races").
//
//	operation            page lock              flusher
//	    |                    |                     |
//	    |-- A lock, look --->|                     |
//	    |   B owner.Mkwrite: a head for the page   |
//	    |     Frozen: its old image is captured,   |
//	    |       once the cut is made               |
//	    |   C unprotect: the PTE-dirty step        |
//	    |   D state = Dirty                        |
//	    |-- E unlock ------->|<------ lock --------|
//	    |                    |   capture, Flight   |
//	    | store              |<----- unlock -------|
//
// B, C and D are one hold of the lock. Were it let go between B and D, the
// flusher could write the page and mark it Clean after its head was made and
// before its first store: writable, changed, and in nobody's set.
//
// A fresh page that is Absent is not loaded before: C makes it, of zeros and writable,
// in one call instead of two.
//
// The caller holds no latch. It has reserved credits, so B need not wait for the
// flusher, but B may block and may fail: then nothing has happened.
func (t *Table) mkwrite(id PageID, by *atomic.Uint64) (err error) {
	if t.State(id) == Absent {
		t.makeRoom()
	}
	t.lock(id)         // A
	defer t.unlock(id) // E
	w := t.load(id)
	switch {
	case w.State() == Dirty:
		return nil // another operation was faster; let the store try again
	case w.State() == Absent && !w.fresh():
		if err := t.fetch(id); err != nil {
			return err
		}
		w = t.load(id)
	}
	head, ahead := w.head(), w.State() == Frozen && !t.cut.Load()
	var frozen *Page
	if w.State() == Frozen && !ahead {
		frozen = t.Page(id) // protected, and only mkwrite could change that
		t.sees(id)
	}
	t.step(id, stepOwner)
	if !ahead { // else it has its head
		if head, err = t.Owner.Mkwrite(id, head, frozen); err != nil { // B
			return err
		}
	}
	t.step(id, stepUnprotect)
	if w.State() == Absent {
		if err := t.install(id, &zeroPage, true); err != nil { // C
			t.Owner.Forget(head)
			return err
		}
	} else if err := t.arena.fd.Unprotect(t.arena.addr(id), PageBytes); err != nil { // C
		return t.Owner.Stop(fmt.Errorf("mkwrite page %d: %w", id, err))
	}
	t.step(id, stepDirty)
	t.setDirty(id)
	t.move(id, Mkwrite, head) // D
	if w.State() == Clean || w.State() == Absent {
		t.room.kept.Add(1)
	}
	by.Add(1)
	if frozen != nil {
		t.metrics.captured.Add(1)
	}
	return nil
}

// Prepare is mkwrite without the trap: an operation that knows which page it
// will change calls it first, and saves the trap. It costs one atomic load when
// the page is Dirty. In a TrapOnly table it does nothing: the trap is the truth,
// Prepare is speed.
func (t *Table) Prepare(id PageID) error {
	if t.State(id) == Dirty || t.TrapOnly {
		return nil
	}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	return t.mkwrite(id, &t.metrics.mkwritePrepared)
}
