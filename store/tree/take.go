package tree

import "faultline/pagemeta"

// Leaf returns the leaf of p.
func (p Place) Leaf() pagemeta.PageID { return p.leaf }

// Moves counts the changes of which leaf a key belongs to. Where it is the same before and
// after, what Locate has returned in between is of one moment.
func (t *Tree) Moves() uint64 { return t.moves.Load() }

// Locate returns the leaf that key belongs to, which need not be in memory.
func (t *Tree) Locate(key []byte) (Place, error) {
	for {
		seen := t.moves.Load()
		at, next, trap := t.tryLocate(key)
		if next == done && !trap.Hit() {
			return at, nil
		}
		if err := t.again(next, &trap, pagemeta.ToRead, seen); err != nil {
			return Place{}, err
		}
	}
}

func (t *Tree) tryLocate(key []byte) (at Place, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	id, v, next := t.descendFetching(key, 0)
	return Place{id, v}, next, trap
}

// Expect says that Take will be called for p soon.
func (t *Tree) Expect(p Place) { t.pages.Expect(p.leaf, leafLines) }

// Take is PutMany of writes that Locate has found at the leaf at, in any order. It makes
// fewer than all if the leaf has changed since, or the next one needs a change of the tree:
// those are for PutMany.
func (t *Tree) Take(op *Op, at Place, writes []Write) (made int, err error) {
	for {
		seen := t.moves.Load()
		made, _, fewer, next, trap := t.tryPutMany(op, &stop{Place: at}, writes)
		switch {
		case trap.Hit():
		case next.kind == changed:
			return 0, nil
		case next == done:
			if fewer {
				_ = t.merge(op, writes[made-1].Key) // as in Delete
			}
			return made, nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil || made > 0 {
			return made, err
		}
	}
}
