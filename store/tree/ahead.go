package tree

import (
	"slices"
	"sync/atomic"

	"faultline/pagemeta"
)

// A cursor that goes from leaf to leaf reads ahead: a scout goes before it over the
// nodes above the leaves, and those leaves that are not in memory are read together,
// while the cursor is still in the ones before.
//
//	cursor                   scout
//	   |<------- window ------>|
//	---+-----------+-----------+----> leaves
//	   | in memory | on the way|
//
// They come in warm, so that the clock hand leaves them alone until the cursor is
// there, and are cold from then on: a scan pushes nothing out.
type ahead struct {
	scout   scout
	leaves  [aheadMost]prospect // that the scout has seen, by number, modulo
	seen    int                 // by the scout
	used    int                 // of these, those that the cursor went to
	reading atomic.Int32        // calls of AskMany under way
}

// A prospect is a leaf that the scout has seen.
type prospect struct {
	id    pagemeta.PageID
	asked bool // it was not in memory
}

const (
	aheadAfter   = 2   // steps: a short walk reads nothing that it does not use
	aheadSoon    = 32  // leaves in the window after a few steps
	aheadMost    = 512 // leaves in the window after many: of the walk a quarter at most is read for nothing
	aheadAtATime = 96  // leaves in a call
	aheadCalls   = 4   // under way: while one comes to its end, the disk has the others to do

	// There are always some that the cursor has asked for and that it may go on to.
	_ = uint(aheadMost - aheadCalls*aheadAtATime - aheadAtATime)
)

// stepped follows a step of the cursor in direction dir, to a leaf that need not be in
// memory yet: what comes after it is read at the same time.
func (c *Cursor) stepped(dir int) {
	if c.steps++; c.steps < aheadAfter || c.t.Resident() {
		return
	}
	if c.ahead == nil {
		c.ahead = &ahead{}
	}
	c.fades = c.ahead.follow(c) || c.t.pages.State(c.id) == pagemeta.Absent
	c.ahead.read(c, dir)
}

// forget ends what a was for: another cursor may have it.
func (a *ahead) forget() { a.scout.height, a.used = 0, a.seen }

// follow compares where c is with what the scout has seen, and tells whether the leaf
// was asked for.
func (a *ahead) follow(c *Cursor) bool {
	if a.used == a.seen {
		return false
	}
	p := a.leaves[a.used%aheadMost]
	if a.used++; p.id != c.id {
		a.scout.height = 0 // the tree has changed between the two
		return false
	}
	return p.asked
}

// read asks for leaves after the one that c is at, if it is time.
func (a *ahead) read(c *Cursor, dir int) {
	window := min(1<<min(c.steps, 16), max(aheadSoon, c.steps/4), aheadMost, c.t.pages.Window())
	if a.seen-a.used > window-min(window/2, aheadAtATime) || a.reading.Load() >= aheadCalls {
		return
	}
	if a.scout.height == 0 || a.scout.dir != dir || a.used == a.seen {
		a.scout, a.used = scout{c.way, c.height, dir}, a.seen
	}
	ids, trap := a.look(c.t, window)
	if trap.Hit() {
		a.scout.height = 0
		return
	}
	if len(ids) == 0 {
		return
	}
	a.reading.Add(1)
	pages := c.t.pages // c may be closed soon
	go func() {
		defer a.reading.Add(-1)
		slices.Sort(ids)
		pages.AskMany(slices.Compact(ids), pagemeta.Warm)
	}()
}

// look sends the scout on until it is window leaves before the cursor, and returns
// those that are not in memory, up to aheadAtATime.
func (a *ahead) look(t *Tree, window int) (ids []pagemeta.PageID, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	for a.seen-a.used < window && len(ids) < aheadAtATime {
		level, id := a.scout.next(t)
		if level < 0 {
			break
		}
		missing := t.pages.Missing(id)
		if missing {
			ids = append(ids, id)
		}
		if level > 0 {
			break // the scout cannot go on before this node is there
		}
		a.leaves[a.seen%aheadMost] = prospect{id, missing}
		a.seen++
	}
	return ids, trap
}

// A scout goes from leaf to leaf without a look at them. What it finds need not be
// true: it is ahead of what the cursor will believe.
type scout struct {
	way    [maxHeight]bend // as of a Cursor; an index may be outside
	height int             // of the tree; 0: the scout does not know where it is
	dir    int
}

// outside is the index in a node that the scout is still to enter, from either end.
const outside = -1

// next goes to the next leaf and returns it, with level 0; or a node of a higher level
// that is in the way and not in memory; or level -1, if there is nothing more or the
// tree has changed. It runs inside a boundary.
func (s *scout) next(t *Tree) (level int, id pagemeta.PageID) {
	for level := 1; level < s.height; level++ {
		b := &s.way[level]
		if t.pages.State(b.id) == pagemeta.Absent {
			return level, b.id
		}
		n, index := t.node(b.id), b.index+s.dir
		if b.index == outside && s.dir < 0 {
			index = n.count()
		}
		if index < 0 || index > n.count() {
			continue
		}
		child, ok := pagemeta.PageID(0), n.sane() && n.is(level)
		if ok {
			child, ok = n.child(index)
		}
		if !ok || int(child) >= t.pages.Pages || !t.pages.Unchanged(b.id, b.version) {
			s.height = 0
			break
		}
		b.index = index
		if level == 1 {
			return 0, child
		}
		s.way[level-1] = bend{child, t.pages.Version(child), outside}
		level = 0 // from below again
	}
	return -1, 0
}
