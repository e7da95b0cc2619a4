package tree

import (
	"math/bits"

	"faultline/pagemeta"
)

// Which pages of the file are in use stands in bitmap pages, one for each group
// of groupPages pages: page n is bit n%groupPages of the bitmap of group
// n/groupPages, which is page 1 of the group.
//
//	0        16                                        4096
//	+--------+----------------------- ... --------------+
//	| header | a bit a page, lowest first: 1 = in use   |
//	+--------+----------------------- ... --------------+
const (
	groupPages = (pagemeta.PageBytes - pagemeta.HeaderBytes) * 8
	bitmapPage = 1
)

// A bitmap is read a word at a time.
const _ = uint(-(groupPages % 64))

// space is what the tree knows of the pages of the file. It is guarded by the
// tree's mutex.
type space struct {
	limit    int  // pages that there can be
	room     int  // pages that the disk has room for: see SetRoom
	spare    bool // some of these are kept for recovery
	pages    int  // pages of the file: all beyond are free
	groups   int  // groups whose bitmap has been made
	used     int  // pages in use
	inner    int  // of these, inner nodes
	values   int  // of these, pages of long values
	promised int  // pages kept for operations under way
	next     int  // no page below it is free, but those that are held
	loose    bool // the last page may be free: see Trim

	holding int     // pages in held
	held    pageSet // free, but for one value; see extent.go
	cooling [2]pageSet
}

func (s *space) init(limit int, st State) {
	s.limit, s.room = limit, limit
	s.pages, s.used, s.inner = int(st.Pages), int(st.Used), int(st.Inner)
	s.values = int(st.Values)
	s.groups = groupsOf(s.pages)
	s.held, s.cooling = pageSet{}, [2]pageSet{{}, {}}
	s.loose = true
}

// groupsOf is how many groups a file of so many pages has.
func groupsOf(pages int) int { return (pages + groupPages - 1) / groupPages }

// last is the first page behind all that are in use or held.
func (s *space) last() int {
	return max(s.pages, s.held.end())
}

// End returns how many pages of the file are in use, or held, or before such.
func (t *Tree) End() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.space.last()
}

// usable is how many of the first n pages can be used: no group without its bitmap.
func usable(n int) int {
	if n%groupPages <= bitmapPage {
		n -= n % groupPages
	}
	return n
}

// end is the first page that may not be taken.
func (s *space) end() int { return usable(min(s.limit, s.room)) }

// free is how many pages could be taken if end were the first that may not: bitmaps
// that are still to be made are not among them, nor those that are promised.
func (s *space) free(end int) int {
	return end - s.kept(end) - s.used - s.holding - (groupsOf(end) - s.groups) - s.promised
}

// kept is how many of end pages are kept for recovery.
func (s *space) kept(end int) int {
	if !s.spare {
		return 0
	}
	return min(end/64, 4096) + 8
}

// lack returns why n pages cannot be taken, or nil.
func (s *space) lack(n int) error {
	switch {
	case n <= s.free(s.end()):
		return nil
	case n <= s.free(usable(s.limit)):
		return ErrNoRoom
	}
	return ErrFull
}

// owed is how many pages the leaves may need that have changes beside them: those were
// accepted, and must be merged. A split each, and one above in so many; what is kept
// for recovery does for leaves that are split twice.
func (t *Tree) owed() int {
	n := int(t.changes.leaves.Load())
	return n + n/32
}

// lackFor is lack for op, in the middle of a change that has taken some pages already.
// What op was promised it has, however much is owed by now, and however short the file.
func (t *Tree) lackFor(op *Op, n int) error {
	s := &t.mu.space
	switch {
	case n <= op.pages:
		return nil
	case op.merges:
		n -= s.kept(s.end())
	default:
		n += t.owed()
	}
	return s.lack(n - op.pages)
}

// note tells those who do not have the mutex how many pages are free.
func (t *Tree) note() {
	s := &t.mu.space
	t.left.Store(int64(s.free(s.end())))
}

const (
	// minLeft is how many free pages there must be that nobody is owed, so that one more
	// change may be kept beside a leaf.
	minLeft = 16
	// fewLeft is how many there should be, and at half of which more are asked for: 2 MiB.
	fewLeft = 512
)

// Spare is how many free pages the file should keep when it gets shorter: with fewer it
// would soon be Cramped, and get longer again.
func (t *Tree) Spare() int {
	if !t.changes.on() {
		return 0
	}
	return fewLeft + t.owed()
}

// Cramped tells that there should be room for more pages soon, and returns how many.
// Without it changes are no longer kept beside leaves.
func (t *Tree) Cramped() (n int, cramped bool) {
	return fewLeft, t.changes.on() && !t.scarce.Load() && t.left.Load()-int64(t.owed()) < fewLeft/2
}

// KeepSpare keeps a few pages of those that there can be for the next recovery.
// The log makes the same changes again, but not in the same order between keys,
// so its tree may need a little more room than the one that was lost.
func (t *Tree) KeepSpare() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.space.spare = true
	t.note()
}

// SetRoom says that the disk has room for n pages: no other is taken. Before it is
// called there is no such bound. It does nothing and returns false if pages from n on
// are in use, or promised to operations under way.
func (t *Tree) SetRoom(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.space
	if end := usable(min(s.limit, n)); end < s.end() && (s.last() > end || s.free(end)+s.kept(end) < t.owed()) {
		return false
	}
	if n > s.room {
		t.scarce.Store(false)
	}
	s.room = n
	t.note()
	return true
}

// Scarce says that there is no room for more pages, until SetRoom says otherwise: no
// more changes are kept beside leaves, and Cramped asks no more.
func (t *Tree) Scarce() { t.scarce.Store(true) }

// RoomFor returns how many pages the disk must have room for, so that n can be
// taken; the error is ErrFull if so many there cannot be.
func (t *Tree) RoomFor(n int) (room int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.space
	n += t.owed()
	if s.lack(n) == ErrFull {
		return 0, ErrFull
	}
	for room = s.end(); s.free(usable(room)) < n; {
		room += n - s.free(usable(room)) // more of it is kept, then
	}
	return room, nil
}

// RoomBehind returns how many pages the disk must have room for, so that there is a run
// of n behind all that are in use, or the longest that there is and then others; the
// error is ErrFull if so many there cannot be.
func (t *Tree) RoomBehind(n int) (room int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.space
	start := s.behind(min(n, MaxExtentPages))
	room = start + n
	room += groupsOf(room) + 1 - groupsOf(start) // and their bitmaps
	room = max(room, s.end()+n+t.owed()-s.free(s.end()))
	room += s.kept(room)
	if room > s.limit {
		return 0, ErrFull
	}
	return room, nil
}

// behind returns where a run of n pages may begin, behind all that are in use, held or
// cooling: it has no bitmap in it.
func (s *space) behind(n int) int {
	start := s.last()
	for _, set := range s.cooling {
		start = max(start, set.end())
	}
	const first = bitmapPage + 1 // page of a group that can be the first of a long run
	if at := (start - first + groupPages) % groupPages; at+n > MaxExtentPages {
		start += groupPages - at
	}
	return start
}

// Promise keeps n pages of the file for op, or fails with ErrFull or ErrNoRoom.
// Without it an operation of several writes could find the file full when it is half
// done.
func (t *Tree) Promise(op *Op, n int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.space
	if err := s.lack(n + t.owed()); err != nil {
		return err
	}
	s.promised += n
	op.pages += n
	t.note()
	return nil
}

// Release gives back what op was promised and has not used.
func (t *Tree) Release(op *Op) {
	if op.pages == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.space.promised -= op.pages
	op.pages = 0
	t.note()
}

// bit returns the byte of bitmap page b, and the bit in it, that stand for page
// id.
func bit(b *pagemeta.Page, id pagemeta.PageID) (*byte, byte) {
	i := int(id) % groupPages
	return &b[pagemeta.HeaderBytes+i/8], 1 << (i % 8)
}

// bitmapOf returns the bitmap page of the group of id.
func bitmapOf(id pagemeta.PageID) pagemeta.PageID {
	return id/groupPages*groupPages + bitmapPage
}

// alloc chooses a page that is free and not yet chosen, for the change c. It
// runs inside a boundary: it reads bitmap pages.
func (t *Tree) alloc(c *change) (pagemeta.PageID, error) {
	s := &t.mu.space
	if err := t.lackFor(c.op, len(c.allocs)+1); err != nil {
		return 0, err
	}
	if len(c.allocs) == 0 {
		c.cursor = s.next
	}
	for {
		id := t.firstFree(c.cursor)
		if id >= s.end() {
			return 0, damage(bitmapPage, "no page is free, %d of %d are counted as used", s.used, s.end())
		}
		c.cursor = id + 1
		if id%groupPages == bitmapPage && id/groupPages >= s.groups {
			continue // it will be the bitmap of its group
		}
		if s.groups > 0 && (id <= int(Root) || id%groupPages == bitmapPage) {
			return 0, damage(bitmapOf(pagemeta.PageID(id)), "page %d is not marked as used", id)
		}
		c.allocs = append(c.allocs, pagemeta.PageID(id))
		return pagemeta.PageID(id), nil
	}
}

// firstFree returns the first page from on whose bit is 0, and that is not held.
// Groups without a bitmap are free.
func (t *Tree) firstFree(from int) int {
	for g := from / groupPages; g < t.mu.space.groups; g++ {
		b := t.pages.Page(pagemeta.PageID(g*groupPages + bitmapPage))
		first := from - g*groupPages
		for i := first / 64; i < groupPages/64; i++ {
			word := ^le.Uint64(b[pagemeta.HeaderBytes+8*i:])
			if i == first/64 {
				word &= ^uint64(0) << (first % 64)
			}
			if len(t.mu.space.held) > 0 {
				word &^= t.mu.space.held[pagemeta.PageID(g*groupPages/64+i)]
			}
			if word != 0 {
				return g*groupPages + 64*i + bits.TrailingZeros64(word)
			}
		}
		from = (g + 1) * groupPages
	}
	for t.mu.space.held.meets(Extent{pagemeta.PageID(from), 1}) {
		from++
	}
	return from
}

// prepareBitmaps makes the bitmap pages writable that c will change, and checks
// that what c gives back is in use.
func (t *Tree) prepareBitmaps(c *change) error {
	last := pagemeta.PageID(0)
	for i, ids := range [2][]pagemeta.PageID{c.allocs, c.frees} {
		for _, id := range ids {
			b := bitmapOf(id)
			if b != last {
				if err := t.prepareBitmap(b); err != nil {
					return err
				}
				last = b
			}
			if at, mask := bit(t.pages.Page(b), id); i == 1 && *at&mask == 0 {
				return damage(b, "page %d is not marked as used", id)
			}
		}
	}
	return nil
}

// prepareBitmap makes bitmap b writable, and those before it that are not made
// yet.
func (t *Tree) prepareBitmap(b pagemeta.PageID) error {
	if group := t.mu.space.groups; int(b)/groupPages > group {
		if err := t.prepareBitmap(b - groupPages); err != nil {
			return err
		}
	}
	made := int(b)/groupPages < t.mu.space.groups
	if !made {
		t.pages.Fresh(b)
	}
	if err := t.pages.Prepare(b); err != nil {
		return err
	}
	page := t.pages.Page(b)
	page.Touch()
	if kind := page.Kind(); made && kind != KindBitmap {
		return damage(b, "kind %d, want a bitmap", kind)
	}
	return nil
}

// commitSpace marks what c takes and gives back, in phase 2.
func (t *Tree) commitSpace(c *change) {
	s := &t.mu.space
	for _, id := range c.allocs {
		t.makeGroups(id)
		at, mask := bit(t.pages.Writing(bitmapOf(id)), id)
		*at |= mask
		s.used++
		s.pages = max(s.pages, int(id)+1)
	}
	if n := len(c.allocs); n > 0 {
		s.next = int(c.allocs[n-1]) + 1
		kept := min(c.op.pages, n)
		c.op.pages -= kept
		s.promised -= kept
	}
	for _, id := range c.frees {
		at, mask := bit(t.pages.Writing(bitmapOf(id)), id)
		*at &^= mask
		s.used--
		s.next = min(s.next, int(id))
		s.loose = s.loose || int(id) == s.pages-1
		s.cooling[coolNew].add(Extent{id, 1})
	}
	if c.end > 0 {
		s.commitEnd(c.end)
	}
}

// makeGroups makes the bitmaps of the groups up to that of id, in phase 2.
func (t *Tree) makeGroups(id pagemeta.PageID) {
	s := &t.mu.space
	for ; s.groups <= int(id)/groupPages; s.groups++ {
		own := pagemeta.PageID(s.groups*groupPages + bitmapPage)
		b := t.pages.Writing(own)
		b.SetKind(KindBitmap)
		at, mask := bit(b, own)
		*at |= mask
		s.used++
		s.pages = max(s.pages, int(own)+1)
	}
}
