package tree

import "faultline/pagemeta"

// Leaf returns the leaf of p.
func (p Place) Leaf() pagemeta.PageID { return p.leaf }

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

// Take makes changes, one after the other, whose keys Locate has found at the leaf at. It
// returns how many it has made: fewer than all if the leaf has changed since, if its
// changes are to be kept beside it, or if the next one needs another layout of it. That
// one is for Put or Delete.
func (t *Tree) Take(op *Op, at Place, list []Change) (n int, err error) {
	for {
		seen := t.moves.Load()
		n, sparse, next, trap := t.tryTake(op, at, list)
		switch {
		case trap.Hit():
		case next.kind == changed:
			return 0, nil
		case next == done:
			if sparse {
				_ = t.merge(op, list[0].Key) // as in Delete
			}
			return n, nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return 0, err
		}
	}
}

// tryTake is Take in two phases, as tryPut is Put.
func (t *Tree) tryTake(op *Op, at Place, list []Change) (n int, sparse bool, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	if t.defers(op, at.leaf) {
		return 0, false, done, trap
	}
	if next = t.latchLeaf(at.leaf, at.version); next != done {
		return 0, false, next, trap
	}
	trap.Commit()
	leaf := t.writing(at.leaf)
	f := t.absorb(at.leaf, leaf)
	for f == replaced && n < len(list) {
		var d delta
		switch f, _, d = leaf.take(&list[n]); f {
		case full, broken, spread: // whoever makes this change will say what is wrong
		default:
			t.counts.add(list[n].Key, d)
			sparse = sparse || list[n].Value == nil
			f = replaced
			n++
		}
	}
	sparse = sparse && at.leaf != Root && leaf.sparse()
	t.pages.Unlatch(at.leaf, true)
	return n, sparse, done, trap
}
