package tree

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"

	"faultline/pagemeta"
)

// A Report says what Check has looked at.
type Report struct {
	Pages  uint64 // pages of the file
	Leaves uint64
	Inner  uint64
	Values uint64 // pages of long values
	Free   uint64 // pages that may be used again
	Keys   uint64
	Height int // levels, leaves included
}

// Check reads the whole tree and compares it with itself: keys in order and
// between those of their parents, levels, heads and prefixes right, cells inside
// their page and not over each other, each page reached once and marked as used,
// no other page marked, and as many keys of each slot as are counted. Long values it hands to
// value, which may be nil. The caller has closed the gate: nothing changes
// meanwhile. Its first finding, or that of value, is the error, which wraps
// ErrDamaged unless a page could not be read.
func (t *Tree) Check(ctx context.Context, value func(Ref) error) (Report, error) {
	ck := checker{t: t, ctx: ctx, value: value, seen: pageSet{}}
	ck.Pages = uint64(t.State().Pages)
	ck.reach(0, 1)
	for g := range t.mu.space.groups {
		ck.reach(pagemeta.PageID(g*groupPages+bitmapPage), 1)
	}
	if err := ck.subtree(Root, -1, nil, nil); err != nil {
		return ck.Report, err
	}
	if err := ck.counts(); err != nil {
		return ck.Report, err
	}
	if inner := t.State().Inner; ck.Inner != uint64(inner) {
		return ck.Report, fmt.Errorf("%w: %d inner nodes in the tree, %d counted", ErrDamaged, ck.Inner, inner)
	}
	if values := t.State().Values; ck.Values != uint64(values) {
		return ck.Report, fmt.Errorf("%w: %d pages of long values, %d counted", ErrDamaged, ck.Values, values)
	}
	return ck.Report, ck.bitmaps()
}

type checker struct {
	Report
	t       *Tree
	ctx     context.Context
	value   func(Ref) error
	seen    pageSet
	reached int // pages in seen
	slots   [MaxSlots]SlotState
	dead    uint64
}

// reach notes that something leads to n pages from id on. It returns false if one
// of them was reached before.
func (ck *checker) reach(id pagemeta.PageID, n uint32) bool {
	e := Extent{id, n}
	if ck.seen.meets(e) {
		return false
	}
	ck.seen.add(e)
	ck.reached += int(n)
	return true
}

func damage(id pagemeta.PageID, format string, args ...any) error {
	return fmt.Errorf("page %d: %w: %s", id, ErrDamaged, fmt.Sprintf(format, args...))
}

// read returns a copy of page id.
func (ck *checker) read(id pagemeta.PageID) (*node, error) {
	if err := ck.ctx.Err(); err != nil {
		return nil, err
	}
	if uint64(id) >= ck.Pages {
		return nil, damage(id, "the file has %d pages", ck.Pages)
	}
	for n := new(node); ; {
		trap := ck.tryRead(n, id)
		if !trap.Hit() {
			return n, nil
		}
		if err := ck.t.pages.Resolve(&trap, pagemeta.ToRead); err != nil {
			return nil, err
		}
	}
}

func (ck *checker) tryRead(n *node, id pagemeta.PageID) (trap pagemeta.Trap) {
	defer ck.t.pages.Catch(&trap, pagemeta.Arm())
	*n = *ck.t.node(id)
	return trap
}

// subtree checks the node id, which should be on level (any, if that is
// negative) and have keys from lo on that are less than hi, and all below it.
func (ck *checker) subtree(id pagemeta.PageID, level int, lo, hi []byte) error {
	if !ck.reach(id, 1) {
		return damage(id, "reached twice")
	}
	n, err := ck.read(id)
	if err != nil {
		return err
	}
	if level < 0 {
		level = n.level()
		ck.Height = level + 1
	}
	if err := ck.layout(id, n, level); err != nil {
		return err
	}
	var r run
	r.reset(level, n.child0())
	if !r.take(n) {
		return damage(id, "a cell is out of bounds")
	}
	for i, e := range r.entries {
		switch {
		case i > 0 && bytes.Compare(r.entries[i-1].key, e.key) >= 0:
			return damage(id, "key %d is not above the one before", i)
		case bytes.Compare(e.key, lo) < 0:
			return damage(id, "key %d is below the node's range", i)
		case hi != nil && bytes.Compare(e.key, hi) >= 0:
			return damage(id, "key %d is above the node's range", i)
		}
	}
	if level == 0 {
		ck.Leaves++
		ck.Keys += uint64(len(r.entries))
		for i := range r.entries {
			if err := ck.count(&r.entries[i]); err != nil {
				return damage(id, "key %d: %v", i, err)
			}
		}
		return ck.longValues(id, &r)
	}
	ck.Inner++
	for i := 0; i <= len(r.entries); i++ {
		child, from, to := r.child0, lo, hi
		if i > 0 {
			child, from = r.entries[i-1].child, r.entries[i-1].key
		}
		if i < len(r.entries) {
			to = r.entries[i].key
		}
		if err := ck.subtree(child, level-1, from, to); err != nil {
			return err
		}
	}
	return nil
}

// count counts a key of a leaf.
func (ck *checker) count(e *entry) error {
	_, expiry, ok := split(e.value, e.expires())
	if !ok {
		return errExpiry
	}
	slot, gen := owner(e.key)
	if uint32(gen) != ck.t.counts.slots[slot].gen.Load() {
		ck.dead++
		return nil
	}
	ck.slots[slot].Keys++
	if expiry != 0 {
		ck.slots[slot].Expiring++
	}
	return nil
}

// counts compares the keys that were found with those that are counted.
func (ck *checker) counts() error {
	for slot, found := range ck.slots {
		if have := ck.t.Slot(byte(slot)); have.Keys != found.Keys || have.Expiring != found.Expiring {
			return fmt.Errorf("%w: slot %d: %d keys in the tree, %d that expire; %d and %d counted", ErrDamaged, slot,
				found.Keys, found.Expiring, have.Keys, have.Expiring)
		}
	}
	if dead := ck.t.Dead(); dead != ck.dead {
		return fmt.Errorf("%w: %d dead keys in the tree, %d counted", ErrDamaged, ck.dead, dead)
	}
	return nil
}

// longValues checks where the long values of leaf id are.
func (ck *checker) longValues(id pagemeta.PageID, r *run) error {
	for i := range r.entries {
		if !r.entries[i].long() {
			continue
		}
		ref, err := r.entries[i].ref()
		if err != nil {
			return damage(id, "value %d: %v", i, err)
		}
		for _, e := range ref.Extents {
			if uint64(e.End()) > ck.Pages || !ck.reach(e.Page, e.Pages) {
				return damage(e.Page, "%d pages of a value, reached twice, or past the %d of the file", e.Pages, ck.Pages)
			}
			ck.Values += uint64(e.Pages)
		}
		if ck.value != nil {
			if err := ck.value(ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// layout checks the bytes of one node.
func (ck *checker) layout(id pagemeta.PageID, n *node, level int) error {
	kind := byte(KindLeaf)
	if level > 0 {
		kind = KindInner
	}
	switch {
	case n.Kind() != kind:
		return damage(id, "kind %d, want %d", n.Kind(), kind)
	case n.level() != level:
		return damage(id, "level %d, want %d", n.level(), level)
	case !n.sane():
		return damage(id, "%d keys, prefix of %d bytes", n.count(), n.prefixBytes())
	case n.free() < 0 || n.heap() > nodeBytes-n.prefixBytes():
		return damage(id, "heap at %d with %d keys", n.heap(), n.count())
	}
	cells := n.prefixBytes()
	for i := range n.count() {
		head, cell, length := n.slot(i)
		suffix, ok := n.suffix(i, n.skip())
		if !ok || cell < n.heap() {
			return damage(id, "cell %d at %d", i, cell)
		}
		if head != headOf(suffix) {
			return damage(id, "head of key %d is %#x", i, head)
		}
		cells += n.skip() + length
		if level == 0 {
			value, ok := n.value(i)
			if !ok {
				return damage(id, "value %d is out of bounds", i)
			}
			cells += len(value)
		}
	}
	if cells+n.dead() != nodeBytes-n.heap() {
		return damage(id, "%d bytes of cells and %d dead, heap at %d", cells, n.dead(), n.heap())
	}
	return nil
}

// bitmaps checks that the pages seen are those in use.
func (ck *checker) bitmaps() error {
	used := 0
	for g := range ck.t.mu.space.groups {
		id := pagemeta.PageID(g*groupPages + bitmapPage)
		n, err := ck.read(id)
		if err != nil {
			return err
		}
		if n.Kind() != KindBitmap {
			return damage(id, "kind %d, want a bitmap", n.Kind())
		}
		for i := pagemeta.HeaderBytes; i < pagemeta.PageBytes; i++ {
			for set := n[i]; set != 0; set &= set - 1 {
				p := pagemeta.PageID(g*groupPages + (i-pagemeta.HeaderBytes)*8 + bits.TrailingZeros8(set))
				if !ck.seen.meets(Extent{p, 1}) {
					return damage(p, "marked as used, but nothing leads to it")
				}
				used++
			}
		}
	}
	if used != ck.reached {
		return fmt.Errorf("%w: %d pages reached, %d marked as used", ErrDamaged, ck.reached, used)
	}
	if used != ck.t.mu.space.used {
		return fmt.Errorf("%w: %d pages marked as used, %d counted", ErrDamaged, used, ck.t.mu.space.used)
	}
	ck.Free = ck.Pages - uint64(used)
	return nil
}
