package flusher

import (
	"sync"

	"faultline/pagemeta"
)

// A Head is the journal metadata of a page as long as it is Dirty, Frozen or in
// Flight: jbd2's journal_head. Its number, from 1, is the handle that pagemeta
// keeps with the page.
type Head struct {
	slot int32 // place of its image in the running round's journal; -1: in no round
	next uint32
}

// heads has all Heads. Those that are free form a list by next.
type heads struct {
	mu struct {
		sync.Mutex
		all  []Head // Head n is all[n-1]
		free uint32
	}
}

// attach makes a Head for a page.
func (h *heads) attach() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.mu.free; n != 0 {
		head := &h.mu.all[n-1]
		h.mu.free = head.next
		*head = Head{slot: -1}
		return n
	}
	h.mu.all = append(h.mu.all, Head{slot: -1})
	return uint32(len(h.mu.all))
}

// enlist gives the heads of a cut their slots, in order.
func (h *heads) enlist(cut []pagemeta.FrozenPage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, p := range cut {
		h.mu.all[p.Head-1].slot = int32(i)
	}
}

// release frees the heads of a cut.
func (h *heads) release(cut []pagemeta.FrozenPage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range cut {
		h.mu.all[p.Head-1] = Head{slot: -1, next: h.mu.free}
		h.mu.free = p.Head
	}
}

func (h *heads) slot(n uint32) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int(h.mu.all[n-1].slot)
}

// Mkwrite attaches a Head to page id, which is about to become writable. The
// image of a Frozen page is captured first: into the slot that its old Head has
// in the running round, jbd2's b_frozen_data. It is called by pagemeta, with the
// page locked, and takes no other lock but that of the heads.
//
// It does not fail once the Flusher has stopped: no operation enters the gate any
// more, but one that is inside may be in the middle of a batch, and readers would
// see half of it.
func (f *Flusher) Mkwrite(id pagemeta.PageID, head uint32, frozen *pagemeta.Page) (uint32, error) {
	if frozen != nil {
		*f.journal.image(f.heads.slot(head)) = *frozen
	}
	f.credits.used.Add(1)
	if f.credits.low() {
		f.look()
	}
	return f.heads.attach(), nil
}

// Forget takes back what Mkwrite has given for head. It is called by pagemeta.
func (f *Flusher) Forget(head uint32) {
	f.heads.release([]pagemeta.FrozenPage{{Head: head}})
	f.credits.give(1)
}
