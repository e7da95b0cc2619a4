package tree

import (
	"bytes"

	"faultline/pagemeta"
)

// Many writes are made leaf by leaf, in the order in which they come. Those that follow each
// other in the order of keys and go to the same leaf are made by one way down, under one
// latch:
//
//	writes    b1 b2 b3        k1        a5        r1 r2 .. r90
//	          \  |  /          |         |         \   |    /
//	leaves    [b    c]  ...   [k  m]   [a   ]  ...  [q    ] | [r1 ..]  [.. r90]
//	          one latch      one latch  one latch   one latch, then new leaves
//
// First the ways to some leaves ahead are gone, each to its version, and the processor
// fetches all these leaves at a time. Then each leaf is latched, if it still has that
// version: no key of another leaf has become its own, nor one of its own another's, and
// its writes are made. One that finds the leaf full has it laid out anew or split, as Put
// does; where keys arrive in order behind a full leaf, the ones that follow go into new
// leaves with it, all of which the parent gets by one change.
//
// Writes of different leaves are seen one after the other, those of one leaf together.
//
// Tried and not taken: to sort the writes of each batch first (Writes.Sort). With 100 random
// keys it costs more than neighbours save, even if three of them go to each leaf.

// A Write is a change of a key, and what it has met there.
type Write struct {
	Change
	Existed bool   // as of Put and Delete
	Was     uint64 // when the key was to expire, 0 if not: as Op.Was
}

// entry is what w puts.
func (w *Write) entry() entry { return entry{key: w.Key, value: w.Value, flags: w.flags()} }

// Expiry is when w lets its key expire, 0 if never.
func (w *Write) Expiry() uint64 {
	_, expiry, _ := split(w.Value, w.Expires)
	return expiry
}

// PutMany makes writes, each after those before it, and tells each what it has met. After
// an error only the first made of them are made.
func (t *Tree) PutMany(op *Op, writes []Write) (made int, err error) {
	var tour tour
	for made < len(writes) {
		if err := t.goAhead(&tour, writes[made:]); err != nil {
			return made, err
		}
		for i := range tour.n {
			s := &tour.stops[i]
			n, err := t.putAt(op, s, tour.seen, writes[made:made+s.writes])
			made += n
			if err != nil {
				return made, err
			}
			if n < s.writes {
				break // and from here on anew
			}
		}
	}
	return made, nil
}

// A tour is the next leaves that writes go to.
type tour struct {
	stops [stopsMost]stop
	n     int
	seen  uint64 // moves before any of them was found
}

// A stop is a leaf that the next writes go to.
type stop struct {
	Place
	writes int
}

// stopsMost is how many leaves are fetched at a time.
const stopsMost = 8

// goAhead finds the leaves of the first of writes: one at least.
func (t *Tree) goAhead(tour *tour, writes []Write) error {
	for {
		tour.seen = t.moves.Load()
		next, trap := t.tryGoAhead(tour, writes)
		switch {
		case trap.Hit():
		case next == done, tour.n > 0:
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToRead, tour.seen); err != nil {
			return err
		}
	}
}

func (t *Tree) tryGoAhead(tour *tour, writes []Write) (next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	for tour.n = 0; tour.n < len(tour.stops) && len(writes) > 0; tour.n++ {
		s := &tour.stops[tour.n]
		if next := t.descendMany(writes, s); next != done {
			return next, trap
		}
		writes = writes[s.writes:]
	}
	return done, trap
}

// descendMany is descend for the key of the first of writes, and finds how many of those
// that follow it are its neighbours.
func (t *Tree) descendMany(writes []Write, s *stop) step {
	id := Root
	v := t.pages.Version(id)
	var f fence
	for above := maxHeight; above > 1; {
		if err := t.pages.Ask(id, heat(above)); err != nil {
			return step{kind: failed, err: err}
		}
		n := t.node(id)
		level := n.level()
		if level == 0 || !below(level, above) {
			*s = stop{Place{id, v}, t.neighbours(writes, &f)}
			return t.believe(id, v, below(level, above) && n.Kind() == KindLeaf)
		}
		above = level
		index, child, ok := n.childFor(writes[0].Key)
		if !ok || int(child) >= t.pages.Pages {
			return t.believe(id, v, false)
		}
		if level == 1 {
			t.pages.Expect(child, leafLines)
		}
		if index < n.count() {
			f = fence{Place{id, v}, index}
		}
		cv := t.pages.Version(child)
		if next := t.believe(id, v, true); next != done {
			return next
		}
		id, v = child, cv
	}
	*s = stop{Place{id, v}, t.neighbours(writes, &f)}
	return done
}

// A fence is where the key stands that is the first behind a leaf: in an inner node, at a
// slot. The zero fence is that of the last leaf.
type fence struct {
	Place
	slot int
}

// neighboursMost bounds how many writes are compared with a fence at a time.
const neighboursMost = 256

// neighbours is how many of writes ascend from the first on before fence f.
func (t *Tree) neighbours(writes []Write, f *fence) int {
	n := t.node(f.leaf)
	for i := 1; ; i++ {
		if i < min(len(writes), neighboursMost) && bytes.Compare(writes[i-1].Key, writes[i].Key) <= 0 &&
			(f.leaf == 0 || n.precedes(writes[i].Key, f.slot)) {
			continue
		}
		if f.leaf != 0 && !t.Unchanged(f.Place) {
			return 1
		}
		return i
	}
}

// putAt makes the first of writes, all of which belonged to the leaf of s when moves was
// seen: less than all if the leaf has changed since, or has no room for more.
func (t *Tree) putAt(op *Op, s *stop, seen uint64, writes []Write) (made int, err error) {
	made, f, fewer, next, trap := t.tryPutMany(op, s, writes)
	if trap.Hit() || next != done {
		return made, t.again(next, &trap, pagemeta.ToWrite, seen)
	}
	if fewer {
		_ = t.merge(op, writes[made-1].Key) // as in Delete
	}
	if f == full || f == spread {
		var n int
		n, err = t.putAnewMany(op, writes[made:])
		made += n
	}
	return made, err
}

// tryPutMany is tryPut and tryDelete for the first made of writes. f is full or spread if
// the next one needs a change of the tree; sparse is as of tryDelete.
func (t *Tree) tryPutMany(op *Op, s *stop, writes []Write) (made int, f fit, sparse bool, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	id := s.leaf
	if t.defers(op, id) {
		if made, next = t.tryDeferMany(s, writes); made > 0 || next != done {
			return made, deferred, false, next, trap
		}
	}
	if next = t.latchLeaf(id, s.version); next != done {
		return 0, full, false, next, trap
	}
	trap.Commit()
	n := t.writing(id)
	if f = t.absorb(id, n); f == replaced {
		made, f, sparse = t.takeMany(n, writes)
		sparse = sparse && id != Root && n.sparse()
	}
	t.pages.Unlatch(id, true)
	if f == broken {
		return made, f, false, step{kind: damaged, page: id}, trap
	}
	return made, f, sparse, done, trap
}

// takeMany makes the first made of writes in a leaf that is changeable. f is what became of
// the next one, or replaced if that was the last; fewer tells that keys were deleted.
func (t *Tree) takeMany(n *node, writes []Write) (made int, f fit, fewer bool) {
	var sum owned
	defer func() { t.counts.addTo(sum.slot, sum.gen, sum.delta) }()
	for ; made < len(writes); made++ {
		w := &writes[made]
		f, was, d := n.take(&w.Change)
		if f == full || f == broken || f == spread {
			return made, f, fewer
		}
		w.Existed, w.Was = f == replaced, was
		fewer = fewer || d.keys < 0
		if slot, gen := owner(w.Key); slot != sum.slot || gen != sum.gen {
			t.counts.addTo(sum.slot, sum.gen, sum.delta)
			sum = owned{slot: slot, gen: gen}
		}
		sum.add(d)
	}
	return made, replaced, fewer
}

// tryDeferMany is tryDefer for the first made of writes.
func (t *Tree) tryDeferMany(s *stop, writes []Write) (made int, next step) {
	if !t.pages.Latch(s.leaf, s.version) {
		return 0, step{kind: changed}
	}
	for made < len(writes) && t.changes.add(s.leaf, writes[made].Change) {
		writes[made].Existed, writes[made].Was = false, 0
		made++
	}
	if made > 0 {
		t.pages.Mark(s.leaf)
		t.metrics.kept.Add(uint64(made))
	}
	t.pages.Unlatch(s.leaf, made > 0)
	return made, done
}

// putAnewMany makes the first of writes, and those others that it can at the same time, by
// a change of the tree.
func (t *Tree) putAnewMany(op *Op, writes []Write) (made int, err error) {
	w, also := &writes[0], 0
	if w.Value == nil {
		w.Existed, err = t.Delete(op, w.Key)
	} else {
		w.Existed, also, err = t.putEntry(op, w.entry(), writes[1:], nil)
	}
	if err != nil {
		return 0, err
	}
	w.Was = op.Was
	for i := range writes[1 : 1+also] {
		writes[1+i].Existed, writes[1+i].Was = false, 0
	}
	return 1 + also, nil
}
