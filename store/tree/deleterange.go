package tree

import (
	"bytes"
	"slices"

	"faultline/pagemeta"
)

// A cut is one call of DeleteRange. Of the leaves that it meets, those whose keys are
// all inside go as they are, without a look at each key; a leaf that keeps some is laid
// out anew:
//
//	lower                      upper
//	  |                          |
//	[a|b]  [c d]  [e f]  [g h]  [i|j]
//	 step 1   step 2: three leaves  step 3
//
// A step is one change of one parent. What is planned here is planned anew as often as
// it takes, so nothing of one time may be used the next.
type cut struct {
	lower, upper []byte
	most         int // leaves
	trail        trail

	next    []byte // where to go on; nil: there is nothing left
	deleted int
	bitmaps []pagemeta.PageID // those that the change will make dirty
	gone    pageSet           // what it gives back

	sparse int  // the level of a node that should be merged with a neighbour, or -1
	lone   bool // the root has one child
}

// cutBitmaps bounds the bitmaps that one call makes dirty, for each may be a page:
// pages that it gives back can be everywhere in the file.
const cutBitmaps = 64

// newCut returns a cut of so many leaves, or as many as can be in memory together: a trap
// at the last of them must find the others still there.
func (t *Tree) newCut(lower, upper []byte, most int) *cut {
	return &cut{lower: lower, upper: upper, most: min(most, t.pages.Window()), gone: pageSet{}}
}

// EdgePages is how many pages a DeleteRange may add to the file: a leaf that takes in what
// is beside it may have to be split.
const EdgePages = 2 * maxParts

// DeleteRange removes keys that are not less than lower, and less than upper if that is
// not nil: those of up to most leaves that go whole, or some of one that does not. next is
// where the rest begins, nil if there is none; deleted is how many keys there were. After
// an error nothing has changed.
//
// A reader sees all of it or nothing. Changes that are kept beside the leaves go with
// them. The caller has locked all keys of the range, and reserved RangeCredits. Leaves
// that are not in memory are read: AskRange reads them together, before.
func (t *Tree) DeleteRange(op *Op, lower, upper []byte, most int) (next []byte, deleted int, err error) {
	if upper != nil && bytes.Compare(lower, upper) >= 0 {
		return nil, 0, nil
	}
	k := t.newCut(lower, upper, most)
	op.merges = true // an edge takes in what is beside it
	defer func() { op.merges = false }()
	err = t.restructure(op, func(c *change) step { return t.planCut(c, k) })
	if err != nil {
		return lower, 0, err
	}
	// The keys are gone whether or not this can be done, as in Delete.
	if k.sparse >= 0 {
		_ = t.mergeFrom(op, lower, k.sparse)
	}
	if k.lone {
		_ = t.collapse(op)
	}
	return k.next, k.deleted, nil
}

// RangeCredits is how many pages a DeleteRange may make dirty: a way from the root to a
// leaf, the nodes that are merged on it, and bitmaps.
func (t *Tree) RangeCredits() int {
	t.mu.Lock()
	groups := t.mu.space.groups
	t.mu.Unlock()
	return min(cutBitmaps+MaxExtents+1, groups) + 8*(t.height()+1) + EdgePages
}

// AskRange has those leaves read together that DeleteRange would look at. It is speed and
// nothing else: what it cannot read, DeleteRange will find.
func (t *Tree) AskRange(lower, upper []byte, most int) {
	t.mu.Lock()
	ids, trap := t.tryMissing(t.newCut(lower, upper, most))
	t.mu.Unlock()
	if trap.Hit() {
		return
	}
	slices.Sort(ids)
	t.pages.AskMany(slices.Compact(ids), pagemeta.Warm)
}

// tryMissing returns the leaves of AskRange that are not in memory. The mutex is held, so
// inner nodes stand still.
func (t *Tree) tryMissing(k *cut) (ids []pagemeta.PageID, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	if t.trailTo(k.lower, &k.trail) != done || k.trail.height == 1 {
		return nil, trap
	}
	parent := k.trail.at(1)
	n, up := t.node(parent.id), &t.mu.change.runs[1]
	if up.reset(1, n.child0()); !up.take(n) {
		return nil, trap
	}
	for i := parent.index; i <= len(up.entries) && i < parent.index+k.most; i++ {
		if i > parent.index && !k.above(up.entries[i-1].key) {
			break
		}
		if id := up.childAt(i); int(id) < t.pages.Pages && t.pages.Missing(id) {
			ids = append(ids, id)
		}
	}
	return ids, trap
}

// above tells whether upper is above key.
func (k *cut) above(key []byte) bool { return k.upper == nil || bytes.Compare(key, k.upper) < 0 }

// childAt returns child i of a run of an inner node, 0 being the leftmost.
func (r *run) childAt(i int) pagemeta.PageID {
	if i == 0 {
		return r.child0
	}
	return r.entries[i-1].child
}

// planCut plans one step: leaves that go whole, or the first leaf if it does not.
func (t *Tree) planCut(c *change, k *cut) step {
	k.sparse, k.lone = -1, false
	k.begin()
	if s := t.trailTo(k.lower, &k.trail); s != done {
		return s
	}
	if k.trail.height > 1 {
		if s := t.planDrops(c, k); s != done || len(c.drops) > 0 {
			return s
		}
	}
	k.begin()
	return t.planEdge(c, k)
}

// begin forgets what has been planned.
func (k *cut) begin() {
	k.next, k.deleted, k.bitmaps = nil, 0, k.bitmaps[:0]
	clear(k.gone)
}

// bounds returns the keys that the node of the trail on level lies between: lo is not
// above any key of it, hi above all; nil is no bound.
func (t *Tree) bounds(tr *trail, level int) (lo, hi []byte, s step) {
	for above := tr.height - 1; above > level; above-- {
		at := tr.at(above)
		n := t.node(at.id)
		var ok bool
		if at.index > 0 {
			if lo, ok = n.keyAt(at.index - 1); !ok {
				return nil, nil, step{kind: damaged, page: at.id}
			}
		}
		if at.index < n.count() {
			if hi, ok = n.keyAt(at.index); !ok {
				return nil, nil, step{kind: damaged, page: at.id}
			}
		}
	}
	return lo, hi, done
}

// keyAt returns a copy of the key of slot i of a sane node.
func (n *node) keyAt(i int) ([]byte, bool) {
	suffix, ok := n.suffix(i, n.skip())
	return slices.Concat(n.prefix(), suffix), ok
}

// goOn notes that the leaves up to the bound hi are done.
func (k *cut) goOn(hi []byte) {
	if hi != nil && k.above(hi) {
		k.next = bytes.Clone(hi)
	}
}

// planEdge plans that the leaf of lower loses its keys of the range: as many as have
// their pages in few enough places.
func (t *Tree) planEdge(c *change, k *cut) step {
	_, hi, s := t.bounds(&k.trail, 0)
	if s != done {
		return s
	}
	leaf := k.trail.at(0).id
	v, s := t.takeLeaf(c, leaf)
	if s != done {
		return s
	}
	if !t.takeIn(c, leaf) {
		return step{kind: damaged, page: leaf}
	}
	k.goOn(hi)
	if !c.cutRun(k) {
		return step{kind: damaged, page: leaf}
	}
	if k.deleted == 0 && c.taken == 0 {
		return done
	}
	sparse, s := t.planLeaf(c, &k.trail, v, -1)
	if sparse {
		k.sparse = 0
	}
	return s
}

// cutRun removes the keys of k from the run of level 0. It returns false if one of them
// is damaged.
func (c *change) cutRun(k *cut) bool {
	r := &c.runs[0]
	at, _ := r.find(k.lower)
	kept := r.entries[:at]
	for ; at < len(r.entries) && k.above(r.entries[at].key); at++ {
		e := &r.entries[at]
		if len(k.bitmaps) > cutBitmaps {
			k.next = bytes.Clone(e.key)
			break
		}
		extents, keep, ok := c.op.extents(e)
		if !ok || !k.give(extents) {
			return false
		}
		if keep {
			kept = append(kept, *e)
			continue
		}
		c.gives = append(c.gives, extents...)
		c.count(e.key, removed(e.expiry()))
		k.deleted++
	}
	r.entries = append(kept, r.entries[at:]...)
	return true
}

// extents returns where the value of e is, if that is a long one; keep tells that it is
// not to be deleted.
func (op *Op) extents(e *entry) (extents []Extent, keep, ok bool) {
	if !e.long() {
		return nil, false, true
	}
	ref, err := e.ref()
	if op.Before > 0 && ref.LSN >= op.Before {
		return nil, true, err == nil
	}
	return ref.Extents, false, err == nil
}

// give notes pages that are given back. It returns false if one of them has been before.
func (k *cut) give(extents []Extent) bool {
	for _, e := range extents {
		if k.gone.meets(e) {
			return false
		}
		k.gone.add(e)
		if b := bitmapOf(e.Page); !slices.Contains(k.bitmaps, b) {
			k.bitmaps = append(k.bitmaps, b)
		}
	}
	return true
}
