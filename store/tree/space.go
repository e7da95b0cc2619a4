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
	limit    int // pages that there can be
	spare    int // of these, kept for recovery
	pages    int // pages of the file: all beyond are free
	groups   int // groups whose bitmap has been made
	used     int // pages in use
	inner    int // of these, inner nodes
	values   int // of these, pages of long values
	promised int // pages kept for operations under way
	next     int // no page below it is free, but those that are held

	holding int     // pages in held
	held    pageSet // free, but for one value; see extent.go
	cooling [2]pageSet
}

func (s *space) init(limit int, st State) {
	if limit%groupPages <= bitmapPage { // no group without its bitmap
		limit -= limit % groupPages
	}
	s.limit = limit
	s.pages, s.used, s.inner = int(st.Pages), int(st.Used), int(st.Inner)
	s.values = int(st.Values)
	s.groups = groupsOf(s.pages)
	s.held, s.cooling = pageSet{}, [2]pageSet{{}, {}}
}

// groupsOf is how many groups a file of so many pages has.
func groupsOf(pages int) int { return (pages + groupPages - 1) / groupPages }

// free is how many pages may be taken: bitmaps that are still to be made are not
// among them.
func (s *space) free() int {
	return s.limit - s.spare - s.used - s.holding - (groupsOf(s.limit) - s.groups)
}

// KeepSpare keeps a few pages of those that there can be for the next recovery.
// The log makes the same changes again, but not in the same order between keys,
// so its tree may need a little more room than the one that was lost.
func (t *Tree) KeepSpare() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.space.spare = t.mu.space.limit/64 + 8
}

// Promise keeps n pages of the file for op, or fails with ErrFull. Without it an
// operation of several writes could find the file full when it is half done.
func (t *Tree) Promise(op *Op, n int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.space
	if n > s.free()-s.promised {
		return ErrFull
	}
	s.promised += n
	op.pages += n
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
	if len(c.allocs) >= s.free()-(s.promised-c.op.pages) {
		return 0, ErrFull
	}
	if len(c.allocs) == 0 {
		c.cursor = s.next
	}
	for {
		id := t.firstFree(c.cursor)
		if id >= s.limit {
			return 0, ErrFull
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
		s.cooling[coolNew].add(Extent{id, 1})
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
