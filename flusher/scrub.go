package flusher

import (
	"errors"

	"faultline/internal/disk"
	"faultline/internal/offheap"
	"faultline/pagemeta"
)

// A Scrub says what Flusher.Scrub looks at, and whom it tells.
type Scrub struct {
	// Pages of the data file: what is beyond is not in use.
	Pages int
	// Used tells of the pages from number from on which are in use now. If it
	// fails, those count that some round has written.
	Used func(from pagemeta.PageID, used []bool) error
	// Passed is told how many bytes have been passed over since it was called
	// last. It may wait. An error ends the scrub.
	Passed func(bytes int64) error
	// Bad is told of each bad page: by a disk.CorruptError or a disk.ReadError.
	Bad func(err error)
}

// A scrub is one that is running.
type scrub struct {
	Scrub
	f     *Flusher
	buf   []byte // of a piece; page-aligned, as a file may want it
	used  [chunkPages]bool
	known bool  // used is what Used has said
	pages int64 // looked at
}

// Scrub reads the pages of data and rounds that are in use from the disk, in the
// order of the files, and tells of each that a load would refuse, or that cannot
// be read. It returns how many it has looked at. The error is that of the
// Flusher when it has stopped, for a round may have been cut off, or that of
// Passed.
//
// Memory stays as it is. A page that is Dirty, Frozen or in Flight there is left out:
// it is written again anyway. Any other must be whole in its file whenever no round
// is between its first write in place and the last, so a piece is read while none
// is (inPlace). Writers do not wait for that; a round waits for one piece at most.
//
// A page counts as in use if it was so before it was read, and no round has ended
// in between: what is freed meanwhile is not used for anything else before the
// next round has ended.
func (f *Flusher) Scrub(c Scrub) (pages int64, err error) {
	s := scrub{Scrub: c, f: f}
	const bufferBytes = chunkPages * pagemeta.PageBytes
	if s.buf, err = offheap.Reserve(bufferBytes); err != nil {
		return 0, err
	}
	f.Pages.Lend(bufferBytes) // it is of the budget too
	defer func() {
		f.Pages.Lend(-bufferBytes)
		err = errors.Join(err, offheap.Free(s.buf))
	}()
	if err := f.evict(); err != nil {
		return 0, err
	}
	if err := s.file(0, pagemeta.PageID(c.Pages)); err != nil {
		return s.pages, err
	}
	return s.pages, s.file(firstRoundsPage, firstRoundsPage+pagemeta.PageID(roundsPages(c.Pages)))
}

// ScrubBytes is how much a Scrub of so many pages passes over.
func ScrubBytes(pages int) int64 {
	return int64(pages+roundsPages(pages)) * pagemeta.PageBytes
}

// evict sees to it that data and rounds are read from the disk, and not from the
// cache of the kernel.
func (f *Flusher) evict() error {
	f.inPlace.Lock()
	defer f.inPlace.Unlock()
	if err := f.Err(); err != nil {
		return err
	}
	return errors.Join(disk.Evict(f.data), disk.Evict(f.rounds.file))
}

// file scrubs the pages from from to end, all of one file.
func (s *scrub) file(from, end pagemeta.PageID) error {
	for ; from < end; from += chunkPages {
		n := min(chunkPages, end-from)
		if err := s.piece(from, s.used[:n]); err != nil {
			return err
		}
		if err := s.Passed(int64(n) * pagemeta.PageBytes); err != nil {
			return err
		}
	}
	return nil
}

// piece scrubs the pages from number from on, as many as used has room for.
func (s *scrub) piece(from pagemeta.PageID, used []bool) error {
	for {
		round := s.f.round.Load()
		s.known = s.ask(from, used)
		if ok, err := s.look(round, from, used); ok || err != nil {
			return err
		}
	}
}

// ask fills used; without an answer all pages may be in use, and known is false. Not
// with inPlace held: it may wait for a page to be loaded.
func (s *scrub) ask(from pagemeta.PageID, used []bool) (known bool) {
	if from < firstRoundsPage && s.Used(from, used) == nil {
		return true
	}
	for i := range used {
		used[i] = true
	}
	return false
}

// look reads and checks the pages that are in use, unless a round has ended since
// round did: ok is false then.
func (s *scrub) look(round uint32, from pagemeta.PageID, used []bool) (ok bool, err error) {
	f := s.f
	f.inPlace.Lock()
	defer f.inPlace.Unlock()
	if err := f.Err(); err != nil {
		return false, err
	}
	if f.round.Load() != round {
		return false, nil
	}
	first, end := len(used), 0
	for i := range used {
		if used[i] = used[i] && s.mustBeThere(from+pagemeta.PageID(i)); used[i] {
			first, end = min(first, i), i+1
			s.pages++
		}
	}
	if first < end {
		s.read(from+pagemeta.PageID(first), used[first:end])
	}
	return true, nil
}

// mustBeThere tells whether the file must have page id, which may be in use. What a
// journal in memory has was checked by Open, and stands for what the file has.
func (s *scrub) mustBeThere(id pagemeta.PageID) bool {
	if _, ok := s.f.replay[id]; ok || s.f.values.keeps(id) {
		return false
	}
	if id < firstRoundsPage {
		switch s.f.Pages.State(id) {
		case pagemeta.Dirty, pagemeta.Frozen, pagemeta.Flight:
			return false
		}
	}
	return s.known || s.f.rounds.of(id) != 0
}

// read reads the pages from number from on, and checks those that are in use.
func (s *scrub) read(from pagemeta.PageID, used []bool) {
	file, name, off := s.f.place(from)
	n := disk.Salvage(file, s.buf[:len(used)*pagemeta.PageBytes], off, func(at int64, err error) {
		i := (at - off) / pagemeta.PageBytes
		if used[i] {
			s.Bad(disk.Unreadable(s.f.path(name), at, err))
		}
		used[i] = false
	})
	for i := range used {
		id := from + pagemeta.PageID(i)
		switch {
		case !used[i]:
		case (i+1)*pagemeta.PageBytes > n:
			s.Bad(s.f.missing(id))
		default:
			s.check(id, (*pagemeta.Page)(s.buf[i*pagemeta.PageBytes:]))
		}
	}
}

// check is what ReadPage checks; of a page of a long value, what can be told without
// its value.
func (s *scrub) check(id pagemeta.PageID, image *pagemeta.Page) {
	if id < firstRoundsPage && image.Kind() == kindValue && image.Check(id) == nil {
		return
	}
	err := s.f.checkImage(id, image)
	if err == nil {
		err = s.f.checkRound(id, image)
	}
	if err != nil {
		s.Bad(err)
	}
}
