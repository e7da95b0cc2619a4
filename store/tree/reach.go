package tree

import (
	"math/bits"

	"faultline/pagemeta"
)

// Reach makes the leaf of key resident and writable, and changes nothing: what
// the disk has to say against a Put or Delete of key, it says here. It is called
// inside the gate; as long as the caller stays there the leaf stays Dirty.
func (t *Tree) Reach(key []byte) error {
	for {
		seen := t.moves.Load()
		next, trap := t.tryReach(key)
		if next == done {
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return err
		}
	}
}

// tryReach is phase 1 of tryPut.
func (t *Tree) tryReach(key []byte) (next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	id, next := t.latchLeaf(key)
	if next == done {
		t.pages.Unlatch(id, false)
	}
	return next, trap
}

// ReachSpace is Reach for the bitmaps of the pages that are promised: those that
// the splits of a batch will take.
func (t *Tree) ReachSpace() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		next, trap := t.tryReachSpace(t.mu.space.promised)
		if next == done {
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToRead, t.moves.Load()); err != nil {
			return err
		}
	}
}

// tryReachSpace asks for bitmaps, in the order in which alloc reads them, until
// they have n free pages.
func (t *Tree) tryReachSpace(n int) (next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	s := &t.mu.space
	for g := s.next / groupPages; g < s.groups && n > 0; g++ {
		id := pagemeta.PageID(g*groupPages + bitmapPage)
		if err := t.pages.Ask(id, pagemeta.Warm); err != nil {
			return step{kind: failed, err: err}, trap
		}
		b := t.pages.Page(id)
		for i := pagemeta.HeaderBytes; i < pagemeta.PageBytes && n > 0; i += 8 {
			n -= bits.OnesCount64(^le.Uint64(b[i:]))
		}
	}
	return done, trap
}
