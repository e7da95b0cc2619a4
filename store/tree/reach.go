package tree

import (
	"math/bits"

	"faultline/pagemeta"
)

// A reached is what Reach has promised the writes of an op that are to be kept
// beside leaves.
type reached struct {
	beside map[pagemeta.PageID]int // bytes beside each leaf, once all are made
	bytes  int                     // of records, of all leaves
	zones  Zones                   // that these are in
}

// BeginReach begins the calls of Reach for op.
func (t *Tree) BeginReach(op *Op) {
	clear(op.reached.beside)
	op.reached.bytes, op.reached.zones = 0, 0
}

// Reach sees to it that op can put valueBytes to key, or delete it, without a word
// from the disk: the leaf of key is resident and writable, or there is room for the
// change beside it. It is called inside the gate, as long as the caller stays there
// the leaf stays Dirty, and changes nothing.
func (t *Tree) Reach(op *Op, key []byte, valueBytes int) error {
	for {
		seen := t.moves.Load()
		leaf, next, trap := t.tryReach(op, key, valueBytes)
		if next == done && !trap.Hit() {
			if leaf != 0 && op.pages == 0 && t.pages.Marked(leaf) {
				return t.Absorb(op, leaf) // in the middle of op there could be no room for it
			}
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return err
		}
	}
}

// tryReach is phase 1 of tryPut: of leaf, or 0 if the change is to be kept beside it.
func (t *Tree) tryReach(op *Op, key []byte, valueBytes int) (leaf pagemeta.PageID, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	id, v, next := t.descend(key)
	if next != done {
		return 0, next, trap
	}
	if t.defers(op, id) && t.changes.fits(&op.reached, id, len(key)+valueBytes) {
		return 0, done, trap
	}
	if next = t.latchLeaf(id, v); next == done {
		t.pages.Unlatch(id, false)
	}
	return id, next, trap
}

// fits tells whether there is room for one more change of an op beside leaf, and
// counts it. Others may still take that room.
func (c *changes) fits(r *reached, leaf pagemeta.PageID, bytes int) bool {
	if r.beside == nil {
		r.beside = map[pagemeta.PageID]int{}
	}
	have, counted := r.beside[leaf]
	if !counted {
		have = c.weight(leaf)
	}
	size := recordBytes(bytes)
	if bytes > maxDeferred || have+size > maxBeside || !c.hasRoom(r.bytes+size, bits.OnesCount64(uint64(r.zones))+1) {
		return false
	}
	r.beside[leaf] = have + size
	r.bytes += size
	r.zones |= 1 << (leaf >> c.shift)
	return true
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

// Resident tells whether all pages of the tree seem to be in memory, with no change
// beside any: there are as many in memory as it has.
func (t *Tree) Resident() bool {
	return t.changes.taken.Load() == 0 && t.pages.Resident() >= int64(t.inner.Load())+int64(t.leaves.Load())
}
