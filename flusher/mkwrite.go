package flusher

import (
	"cmp"
	"fmt"
	"slices"

	"faultline/pagemeta"
)

// inJournal is the head of every page that is Dirty, Frozen or in Flight. Nothing more
// need be kept of one: its place in the running round is found by its number, and only
// if it is changed before its image is captured.
const inJournal = 1

// Mkwrite is told that page id is about to become writable. The image of a Frozen page
// is captured first: into its slot in the running round, as jbd2's b_frozen_data. It is
// called by pagemeta, with the page locked, and takes no lock.
//
// It does not fail once the Flusher has stopped: no operation enters the gate any
// more, but one that is inside may be in the middle of a batch, and readers would
// see half of it.
func (f *Flusher) Mkwrite(id pagemeta.PageID, _ uint32, frozen *pagemeta.Page) (head uint32, err error) {
	if frozen != nil {
		*f.journal.image(slotOf(f.frozen, id)) = *frozen
	}
	f.credits.used.Add(1)
	if f.credits.low() {
		f.look()
	}
	return inJournal, nil
}

// Forget takes back what Mkwrite has given. It is called by pagemeta.
func (f *Flusher) Forget(uint32) { f.credits.give(1) }

// slotOf returns the slot of page id in the journal of a round of cut: its place in
// that.
func slotOf(cut []pagemeta.FrozenPage, id pagemeta.PageID) int {
	slot, ok := slices.BinarySearchFunc(cut, id, func(p pagemeta.FrozenPage, id pagemeta.PageID) int {
		return cmp.Compare(p.ID, id)
	})
	if !ok {
		panic(fmt.Sprintf("flusher: page %d is Frozen, and not in the cut of %d pages", id, len(cut)))
	}
	return slot
}
