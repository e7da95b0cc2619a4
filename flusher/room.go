package flusher

import (
	"fmt"
	"sync"
	"sync/atomic"

	"faultline/internal/disk"
	"faultline/pagemeta"
)

// A round cannot be refused, so no round may meet a full disk. Files grow before
// that, outside the gate, for operations that have not begun and so can be refused:
//
//	data, rounds   have blocks for all pages that operations may take: Grow
//	journal        has blocks for the round of all pages that operations may make
//	               dirty: Begin
//
// Where a file system cannot reserve blocks, or writes elsewhere what is written
// again, a round may still meet a full disk. It stops the Flusher then.
//
// They shrink after a round, down to what its cut has in use, with some room to spare:
// no page beyond is in the data file of that cut, in a journal that holds it, or may be
// taken before the files grow again.
type room struct {
	pages atomic.Int64 // of the data file: these have blocks, there and in rounds
	tight atomic.Bool  // the next round leaves no room to spare

	mu struct {
		sync.Mutex       // held while files grow and shrink
		journal    int64 // bytes of it
		extra      int64 // pages that operations may make dirty beyond all credits
		space      Space // of UseRoom, or nil
	}
}

const (
	// The steps in which the data file grows: a sixteenth of it, 4 MiB at least and
	// 64 MiB at most.
	minGrowPages = 1024
	maxGrowPages = 16 * minGrowPages
	growShare    = 16

	// growRounds is the step of rounds, in pages: 64 KiB, enough for 64 MiB of data.
	growRounds = 16

	// minRound is the least round that the journal has room for, in pages: enough
	// for any delete.
	minRound = 256

	// newRounds is how many pages of rounds a round may have only because the data file
	// has become longer since the one before: by 4 GiB.
	newRounds = 1024

	// uncounted is how many pages a round may have that no operation has counted:
	// page 0, and some to spare.
	uncounted = 16
)

// growStep is by how many pages a data file of so many grows.
func growStep(pages int64) int64 {
	return min(max(pages/growShare, minGrowPages), maxGrowPages)
}

// A Space decides which pages of the data file are in use.
type Space interface {
	// SetRoom says how many pages may be used. If that is less than before, it
	// returns false if it cannot be.
	SetRoom(pages int) bool
	// Spare is how many free pages should be left when the file gets shorter.
	Spare() int
	// Trim gives up what is free at the end, so that the next Cut has fewer pages.
	Trim() error
}

// UseRoom begins to keep what s takes of the data file, and what is made dirty, to what
// the files have room for. It is called when the data file has its first pages.
func (f *Flusher) UseRoom(s Space) error {
	if f.ReadOnly {
		return nil
	}
	r := &f.room
	r.mu.Lock()
	defer r.mu.Unlock()
	data, err := f.data.Size()
	if err != nil {
		return err
	}
	rounds, err := f.rounds.file.Size()
	if err != nil {
		return err
	}
	if r.mu.journal, err = f.journal.file.Size(); err != nil {
		return err
	}
	r.pages.Store(min(data/pagemeta.PageBytes, rounds/pagemeta.PageBytes*perRoundsPage))
	if err := f.growJournalTo(minRound, r.pages.Load()); err != nil && !disk.Full(err) {
		return err
	}
	r.mu.space = s
	s.SetRoom(int(r.pages.Load()))
	f.setLimit()
	return nil
}

// Grow makes room for the first want pages of the data file, or more. The error wraps
// disk.ErrNoSpace if the disk has not so much. It is not called inside the gate; one
// goroutine grows, the others who need it wait.
func (f *Flusher) Grow(want int) error {
	r := &f.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := f.Err(); err != nil {
		return err
	}
	have, need := r.pages.Load(), int64(want)
	if have >= need {
		return nil
	}
	step := growStep(have)
	err := f.growTo((need + step - 1) / step * step)
	if disk.Full(err) {
		err = f.growTo(need) // all that is left
	}
	if err != nil {
		return f.refused(fmt.Errorf("make room for %d pages: %w", want, err))
	}
	return nil
}

// refused is what an operation gets for which a file could not grow: only a full disk
// lets the Flusher go on.
func (f *Flusher) refused(err error) error {
	if disk.Full(err) {
		return disk.NoSpace(err)
	}
	return f.Stop(err)
}

// growTo gives all files blocks for pages of data. room.mu is held.
func (f *Flusher) growTo(pages int64) error {
	r := &f.room
	pages = min(pages, int64(f.Capacity))
	rounds := (int64(roundsPages(int(pages))) + growRounds - 1) / growRounds * growRounds
	if err := allocate(f.rounds.file, rounds*pagemeta.PageBytes); err != nil {
		return err
	}
	// A round of as many pages of data can have more of rounds now.
	if err := f.growJournalTo(f.credits.limit.Load()+r.mu.extra, pages); err != nil {
		return err
	}
	if err := allocate(f.data, pages*pagemeta.PageBytes); err != nil {
		return err
	}
	r.pages.Store(pages)
	f.lessen(pages)
	f.setLimit()
	if r.mu.space != nil {
		r.mu.space.SetRoom(int(pages))
	}
	return nil
}

// lessen takes credits away whose memory the tables of so many pages of data need.
func (f *Flusher) lessen(pages int64) {
	if f.Lessen != nil && !f.ReadOnly {
		f.credits.lessen(f.Lessen(pages))
	}
}

// allocate gives file blocks for its first size bytes, or leaves it as it was.
func allocate(file disk.File, size int64) error {
	have, err := file.Size()
	if err != nil || have >= size {
		return err
	}
	err = file.Allocate(size)
	if disk.Full(err) {
		_ = file.Truncate(have) // gives back the part that there was room for
	}
	return err
}

// journalBytes is how long the journal of a round is that changes so many pages of a
// data file of pages.
func journalBytes(changed, pages int64) int64 {
	changed += uncounted
	images := changed + min(changed+newRounds, int64(roundsPages(int(pages))))
	return int64(headBytes(int(images))) + images*pagemeta.PageBytes
}

// setLimit lets operations have as many credits as the journal has room for.
// room.mu is held.
func (f *Flusher) setLimit() {
	r := &f.room
	pages := r.pages.Load()
	least, most := int64(0), f.credits.total.Load()+r.mu.extra+1 // most is too much, for sure
	for most-least > 1 {
		if n := (least + most) / 2; journalBytes(n, pages) <= r.mu.journal {
			least = n
		} else {
			most = n
		}
	}
	f.credits.limit.Store(least - r.mu.extra)
}

// growJournalTo makes the journal long enough for a round that changes so many pages
// of a data file of pages. room.mu is held.
func (f *Flusher) growJournalTo(changed, pages int64) error {
	r := &f.room
	size := journalBytes(max(changed, minRound), pages)
	if size <= r.mu.journal {
		return nil
	}
	if err := allocate(f.journal.file, size); err != nil {
		return err
	}
	r.mu.journal = size
	return nil
}

// growJournal makes room in the journal for n more dirty pages, of which extra go
// beyond the credits that there are; those stay reserved until endExtra. It
// returns nil at once if there is enough.
func (f *Flusher) growJournal(n, extra int) error {
	c, r := &f.credits, &f.room
	if f.ReadOnly || extra == 0 && !c.limited(n) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := f.Err(); err != nil {
		return err
	}
	r.mu.extra += int64(extra)
	need := min(c.used.Load()+int64(n), c.total.Load()) + r.mu.extra
	if extra > 0 {
		need = c.total.Load() + r.mu.extra
	}
	pages := r.pages.Load()
	err := f.growJournalTo(need+need/4, pages)
	if disk.Full(err) {
		err = f.growJournalTo(need, pages)
	}
	if err != nil {
		r.mu.extra -= int64(extra)
		err = f.refused(fmt.Errorf("make room for a round of %d pages: %w", need, err))
	}
	f.setLimit()
	return err
}

// endExtra gives back what growJournal has reserved beyond all credits.
func (f *Flusher) endExtra(extra int) {
	if f.ReadOnly {
		return
	}
	r := &f.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.extra -= int64(extra)
	f.setLimit()
}

// trim lets go of free pages at the end of the data file. That it cannot read what it
// needs for that shows when somebody else needs it.
func (f *Flusher) trim() {
	f.room.mu.Lock()
	space := f.room.mu.space
	f.room.mu.Unlock()
	if space != nil {
		f.gate.enter(0)
		_ = space.Trim()
		f.gate.leave(0)
	}
}

// shrink shortens the data file, of whose pages the last cut has some, and rounds. It
// keeps one step of growth, or what space wants to spare, and does nothing for less than
// another step: else the files would go up and down all the time. With tight it keeps
// nothing.
func (f *Flusher) shrink(pages int64, tight bool) error {
	r := &f.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.space == nil {
		return nil
	}
	keep := pages
	if !tight {
		keep += max(growStep(pages), int64(r.mu.space.Spare()))
	}
	have := r.pages.Load()
	if have <= keep || !tight && have < keep+growStep(keep) || !r.mu.space.SetRoom(int(keep)) {
		return nil
	}
	r.pages.Store(keep)
	if err := f.data.Truncate(keep * pagemeta.PageBytes); err != nil && !disk.Full(err) {
		return fmt.Errorf("shorten to %d pages: %w", keep, err)
	}
	if err := f.rounds.file.Truncate(int64(roundsPages(int(keep))) * pagemeta.PageBytes); err != nil && !disk.Full(err) {
		return fmt.Errorf("shorten to %d pages: %w", keep, err)
	}
	f.setLimit()
	return nil
}
