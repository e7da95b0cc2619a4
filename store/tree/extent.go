package tree

import (
	"math/bits"

	"faultline/pagemeta"
)

// Pages of long values are not written by rounds, through the journal, but at
// once, to places that no cut on disk refers to. Hence a page that is free may be
// in one of two sets, which are in memory only:
//
//	          Hold              PutLong
//	  free ---------> held --------------> in use
//	   ^  ^            | Drop                 |
//	   |  +------------+                      | Put, Delete
//	   |                                      v
//	   +----------- cooling <-----------------+
//	    BeginRound, then EndRound
//
//	held     of a value that is being written. Nobody else takes it.
//	cooling  in use by the last cut on disk, or written by the round under way.
//	         A node may take it, for nodes go through the journal; a value may
//	         not: after a crash the old cut would find it overwritten.
//
// A node that was freed is cooling too, since the next round still writes the
// image that says so; and so is every page that a change has made writable, for a
// change may end without it, and the next round writes what is Dirty.

// ranks of cooling pages: those of the running round wait for it, those that came
// after its cut for the next one.
const (
	coolNew = iota
	coolOld
)

// Hold takes at most n free pages out of everybody's reach, until Drop or PutLong:
// the first run of n pages. If there is none it fails with ErrNoRoom, unless the file
// cannot be longer or scraps will do: then it takes the longest. ErrFull, or with scraps
// ErrNoRoom, says that there is no page. More may be free when no page is Cooling any
// more.
func (t *Tree) Hold(n int, scraps bool) (Extent, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.holdBefore(n, scraps, t.mu.space.end())
}

// HoldBefore is Hold of pages before limit, with scraps.
func (t *Tree) HoldBefore(n int, limit pagemeta.PageID) (Extent, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.holdBefore(n, true, min(int(limit), t.mu.space.end()))
}

func (t *Tree) holdBefore(n int, scraps bool, limit int) (Extent, error) {
	s := &t.mu.space
	n = min(n, MaxExtentPages)
	end := s.end()
	longest := end >= usable(s.limit) // it cannot be longer
	if n > s.free(end)-t.owed() && !longest && !scraps {
		return Extent{}, ErrNoRoom
	}
	if n = min(n, s.free(end)-t.owed()); n <= 0 {
		return Extent{}, s.none(longest)
	}
	for {
		e, next, trap := t.tryFind(n, limit)
		if next == done && !trap.Hit() {
			if e.Pages == 0 || int(e.Pages) < n && !longest && !scraps {
				return Extent{}, s.none(longest)
			}
			s.hold(e)
			t.note()
			return e, nil
		}
		if err := t.again(next, &trap, pagemeta.ToRead, t.moves.Load()); err != nil {
			return Extent{}, err
		}
	}
}

// none is why there is no page to hold.
func (s *space) none(longest bool) error {
	if longest {
		return ErrFull
	}
	return ErrNoRoom
}

// HoldAgain is Hold of extents that were held when the cut was made that the tree
// was opened from. The error wraps ErrDamaged if they cannot have been.
func (t *Tree) HoldAgain(extents []Extent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.space
	for i, e := range extents {
		err := t.holdAgain(e)
		if err != nil {
			for _, h := range extents[:i] {
				s.drop(h)
			}
			return err
		}
	}
	return nil
}

func (t *Tree) holdAgain(e Extent) error {
	s := &t.mu.space
	if !e.good() || s.held.meets(e) || int(e.Pages) > s.free(usable(s.limit)) {
		return damage(0, "pages %d to %d cannot be held", e.Page, e.End()-1)
	}
	if int(e.End()) > s.limit {
		return ErrFull
	}
	for {
		used, next, trap := t.tryUsed(e)
		if used && next == done && !trap.Hit() {
			return damage(bitmapOf(e.Page), "a page of %d to %d, which are held, is in use", e.Page, e.End()-1)
		}
		if next == done && !trap.Hit() {
			s.hold(e)
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToRead, t.moves.Load()); err != nil {
			return err
		}
	}
}

// Drop gives back what Hold has taken. No cut has it, so it may be used again at
// once.
func (t *Tree) Drop(extents ...Extent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range extents {
		t.mu.space.drop(e)
	}
	t.note()
}

// BeginRound says that the pages as they are now are the cut of a round. The caller
// has closed the gate.
func (t *Tree) BeginRound() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.space.cool()
}

// EndRound says that the round that began last is in the data file.
func (t *Tree) EndRound() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.mu.space.cooling[coolOld])
}

// Cooling is how many pages are free and not to be had by Hold: no more than
// that, and none once a round has begun and ended.
func (t *Tree) Cooling() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.space
	return s.cooling[coolNew].count() + s.cooling[coolOld].count()
}

func (s *space) hold(e Extent) {
	s.held.add(e)
	s.holding += int(e.Pages)
}

// release is the end of hold.
func (s *space) release(e Extent) {
	s.held.remove(e)
	s.holding -= int(e.Pages)
}

func (s *space) drop(e Extent) {
	s.release(e)
	s.next = min(s.next, int(e.Page))
}

// cool is BeginRound: what came since the one before waits for this round.
func (s *space) cool() {
	for word, mask := range s.cooling[coolNew] {
		s.cooling[coolOld][word] |= mask
	}
	clear(s.cooling[coolNew])
}

// taken returns which of the 64 pages from id on cannot be had for a value that is to
// lie before limit.
func (t *Tree) taken(id, limit int) uint64 {
	s := &t.mu.space
	group, at := id/groupPages, id%groupPages
	var word uint64
	if group < s.groups {
		b := t.pages.Page(pagemeta.PageID(group*groupPages + bitmapPage))
		word = le.Uint64(b[pagemeta.HeaderBytes+at/8:])
	}
	if id == 0 {
		word |= 1<<(Root+1) - 1 // whatever the bitmap says
	}
	if at == 0 {
		word |= 1 << bitmapPage
	}
	if past := id + 64 - limit; past > 0 {
		word |= ^uint64(0) << (64 - past)
	}
	if word == ^uint64(0) {
		return word
	}
	i := pagemeta.PageID(id / 64)
	return word | s.held[i] | s.cooling[coolNew][i] | s.cooling[coolOld][i]
}

// tryFind looks for n pages before limit, as Hold does.
func (t *Tree) tryFind(n, limit int) (best Extent, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	s := &t.mu.space
	var run Extent
	for id := s.next &^ 63; id < limit; id += 64 {
		if group := id / groupPages; group < s.groups && id%groupPages == 0 {
			if err := t.pages.Ask(pagemeta.PageID(group*groupPages+bitmapPage), pagemeta.Warm); err != nil {
				return best, step{kind: failed, err: err}, trap
			}
		}
		for word, at := t.taken(id, limit), 0; at < 64; {
			free := min(bits.TrailingZeros64(word>>at), 64-at)
			if run.Pages == 0 {
				run.Page = pagemeta.PageID(id + at)
			}
			run.Pages = min(run.Pages+uint32(free), uint32(n))
			if run.Pages > best.Pages {
				best = run
			}
			if best.Pages == uint32(n) {
				return best, done, trap
			}
			if at += free; at < 64 {
				run.Pages = 0
				at += bits.TrailingZeros64(^(word >> at))
			}
		}
	}
	return best, done, trap
}

// tryUsed tells whether the bitmaps have a page of e in use.
func (t *Tree) tryUsed(e Extent) (used bool, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	for id := e.Page; id < e.End(); id++ {
		if int(id)/groupPages < t.mu.space.groups {
			at, mask := bit(t.pages.Page(bitmapOf(id)), id)
			used = used || *at&mask != 0
		}
	}
	return used, done, trap
}

// prepareExtents makes the bitmaps of the extents that c takes and gives back
// writable, and checks that the first are free and the second in use.
func (t *Tree) prepareExtents(c *change) error {
	for i, extents := range [2][]Extent{c.takes, c.gives} {
		for _, e := range extents {
			if int(e.End()) > t.mu.space.limit {
				return damage(e.Page, "page %d is none", e.End()-1)
			}
			for id := e.Page; id < e.End(); id++ {
				b := bitmapOf(id)
				if id == e.Page || id%groupPages == 0 {
					if err := t.prepareBitmap(b); err != nil {
						return err
					}
				}
				if at, mask := bit(t.pages.Page(b), id); (*at&mask != 0) != (i == 1) {
					return damage(b, "page %d, in use: %t", id, i == 0)
				}
			}
		}
	}
	return nil
}

// commitExtents marks what c takes and gives back, in phase 2.
func (t *Tree) commitExtents(c *change) {
	s := &t.mu.space
	for _, e := range c.takes {
		s.release(e)
		for id := e.Page; id < e.End(); id++ {
			t.makeGroups(id)
			at, mask := bit(t.pages.Writing(bitmapOf(id)), id)
			*at |= mask
		}
		s.used += int(e.Pages)
		s.values += int(e.Pages)
		s.pages = max(s.pages, int(e.End()))
	}
	for _, e := range c.gives {
		for id := e.Page; id < e.End(); id++ {
			at, mask := bit(t.pages.Writing(bitmapOf(id)), id)
			*at &^= mask
		}
		s.used -= int(e.Pages)
		s.values -= int(e.Pages)
		s.next = min(s.next, int(e.Page))
		s.loose = s.loose || int(e.End()) == s.pages
		s.cooling[coolNew].add(e)
	}
	t.note()
}
