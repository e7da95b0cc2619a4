package tree

import "faultline/pagemeta"

// defers tells whether a write to leaf id may be kept beside it instead of having
// the leaf read. What the leaf may need one day comes out of what op was promised, of
// which this write uses nothing then.
func (t *Tree) defers(op *Op, id pagemeta.PageID) bool {
	return t.changes.on() && !op.Found && id != Root && t.pages.State(id) == pagemeta.Absent &&
		!t.scarce.Load() && t.left.Load()+int64(op.pages) >= int64(t.owed()+minLeft)
}

// tryDefer puts a change beside leaf id, which had version v when its parent was
// read. If there is no room, f is full, and nothing has changed.
func (t *Tree) tryDefer(id pagemeta.PageID, v uint64, ch Change) (f fit, next step) {
	if !t.pages.Latch(id, v) {
		return full, step{kind: changed}
	}
	added := t.changes.add(id, ch)
	if added {
		t.pages.Mark(id)
		t.metrics.kept.Add(1)
	}
	t.pages.Unlatch(id, added)
	if !added {
		return full, done
	}
	return deferred, done
}

// absorb has leaf id take in the changes beside it, if that needs no other layout
// of it: replaced is success. Otherwise it may have taken some of them in, and keeps
// all beside it. It is phase 2 of a change: the caller has the latch.
func (t *Tree) absorb(id pagemeta.PageID, n *node) fit {
	if !t.pages.Marked(id) {
		return replaced
	}
	var memory [32]Change
	list := t.changes.beside(memory[:0], id)
	for i := len(list) - 1; i >= 0; i-- { // the oldest first
		switch f, _, d := n.take(&list[i]); f {
		case full, broken:
			return f
		case spread:
			return full
		default:
			t.counts.add(list[i].Key, d)
		}
	}
	t.forget(id)
	return replaced
}

// take makes one change in a leaf that is changeable: f and was are as of put and
// delete, d is what follows for the counts.
func (n *node) take(c *Change) (f fit, was uint64, d delta) {
	if c.Value != nil {
		f, was = n.put(c.Key, c.Value, c.flags())
		return f, was, added(f, c.flags(), was)
	}
	if f, was = n.delete(c.Key); f == replaced {
		d = removed(was)
	}
	return f, was, d
}

// forget drops the changes beside leaf id. The caller has its latch.
func (t *Tree) forget(id pagemeta.PageID) {
	t.changes.forget(id)
	t.pages.Unmark(id)
	t.metrics.takenIn.Add(1)
}

// takeIn adds the changes beside leaf to the run of level 0, which holds what the
// leaf does, and notes what follows for the change c. It returns false if an entry is
// damaged.
func (t *Tree) takeIn(c *change, leaf pagemeta.PageID) bool {
	if !t.pages.Marked(leaf) {
		return true
	}
	var memory [32]Change
	list := t.changes.beside(memory[:0], leaf)
	for i := len(list) - 1; i >= 0; i-- {
		d, old := c.runs[0].make(list[i])
		if !c.give(&old) {
			return false
		}
		c.count(list[i].Key, d)
	}
	c.taken = leaf
	return true
}

// make makes one change in a run of a leaf, and returns what that adds, and what the key
// had before.
func (r *run) make(c Change) (d delta, old entry) {
	if c.Value != nil {
		_, old, found := r.put(entry{key: c.Key, value: c.Value, flags: c.flags()})
		return old.replacedBy(found, c.flags()), old
	}
	at, found := r.find(c.Key)
	if !found {
		return d, old
	}
	old = r.entries[at]
	r.entries = append(r.entries[:at], r.entries[at+1:]...)
	return removed(old.expiry()), old
}

// AskMany has leaves read together, which ascend, and will be absorbed into next.
func (t *Tree) AskMany(leaves []pagemeta.PageID) { t.pages.AskMany(leaves, pagemeta.Warm) }

// Absorb has leaf id take in the changes beside it, if it still has some. It is a
// change like any other, and may split the leaf.
func (t *Tree) Absorb(op *Op, id pagemeta.PageID) error {
	for {
		seen := t.moves.Load()
		key, sparse, next, trap := t.tryAbsorb(id)
		if next == done && !trap.Hit() {
			switch {
			case sparse:
				_ = t.merge(op, key) // as in Delete
			case key != nil:
				return t.settle(op, key)
			}
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return err
		}
	}
}

// tryAbsorb is Absorb for a leaf that has room. key, if not nil, is one of the leaf,
// which must be merged with a neighbour if sparse, and laid out anew if not.
func (t *Tree) tryAbsorb(id pagemeta.PageID) (key []byte, sparse bool, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	v := t.pages.Version(id)
	if !t.pages.Marked(id) {
		return nil, false, t.believe(id, v, true), trap
	}
	list := t.changes.beside(nil, id)
	if len(list) == 0 {
		return nil, false, step{kind: changed}, trap
	}
	key = append(key, list[0].Key...)
	if next := t.latchLeaf(id, v); next != done {
		return nil, false, next, trap
	}
	trap.Commit()
	n := t.writing(id)
	f := t.absorb(id, n)
	sparse = f == replaced && n.sparse()
	t.pages.Unlatch(id, true)
	switch {
	case f == broken:
		return nil, false, step{kind: damaged, page: id}, trap
	case f == replaced && !sparse:
		key = nil
	}
	return key, sparse, done, trap
}
