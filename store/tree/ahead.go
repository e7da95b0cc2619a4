package tree

import (
	"slices"
	"sync/atomic"

	"faultline/pagemeta"
)

// A cursor that goes from leaf to leaf reads ahead: those that come next under the
// same parent and are not in memory are read together, while the cursor is still in
// the ones before. They come in cold, and leave first: a scan pushes nothing out.
type ahead struct {
	steps  int             // leaves that the cursor went through since it was set
	parent pagemeta.PageID // of the leaves that were asked for
	until  int             // index of the last one
	busy   atomic.Bool     // they are being read
}

const (
	aheadAfter = 2  // steps: a short walk reads nothing that it does not use
	aheadMost  = 64 // leaves at a time
)

// readAhead asks for the children after the one that bend b, whose node is n, is at.
// It runs inside a boundary, and what it reads need not be true.
func (c *Cursor) readAhead(b *bend, n *node, dir int) {
	a := &c.ahead
	a.steps++
	if a.steps < aheadAfter || a.busy.Load() {
		return
	}
	window := min(1<<min(a.steps, 16), aheadMost)
	if a.parent != b.id {
		a.parent, a.until = b.id, b.index
	}
	left := (a.until - b.index) * dir
	if left < 0 {
		left, a.until = 0, b.index
	}
	if left > window/2 {
		return
	}
	var ids []pagemeta.PageID
	for i := a.until + dir; i >= 0 && i <= n.count() && left < window; i += dir {
		child, ok := n.child(i)
		if !ok || int(child) >= c.t.pages.Pages {
			return
		}
		if c.t.pages.State(child) == pagemeta.Absent {
			ids = append(ids, child)
		}
		a.until = i
		left++
	}
	if len(ids) < 2 {
		return // the cursor asks for it itself
	}
	a.busy.Store(true)
	go func() {
		defer a.busy.Store(false)
		slices.Sort(ids)
		c.t.pages.AskMany(slices.Compact(ids), pagemeta.Cold)
	}()
}
