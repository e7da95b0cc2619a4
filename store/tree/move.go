package tree

import "faultline/pagemeta"

// A Mover brings nodes from the end of the file to free pages before, so that the file
// can become shorter. It looks at one inner node after the other, level by level in the
// order of keys, and moves children that lie too far behind:
//
//	[ .. s .. ]                      [ .. s .. ]
//	    |                                |
//	 page 907   page 12: free    ==>  page 12    page 907: free
//
// Each move is a change of its own: a copy of the node, its old page free, its parent
// with another pointer. Others use the tree meanwhile, and what they free or fill
// before the Mover has come by is found so. It is used by one goroutine.
//
// Long values are moved by who can read them: with HoldBefore and PutLong.
type Mover struct {
	t     *Tree
	limit pagemeta.PageID // what lies from here on is to be moved
	level int             // of the parents that are looked at now
	key   []byte          // where on that level to go on
	next  []byte          // memory for key
	leaf  pagemeta.PageID // to take in its changes first
	moved uint64
}

// NewMover returns a Mover that makes the file as short as it can be now.
func (t *Tree) NewMover() *Mover { return &Mover{t: t, level: 1, limit: t.shortest()} }

// shortest is how long the file would be without free pages.
func (t *Tree) shortest() pagemeta.PageID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return pagemeta.PageID(t.mu.space.used + t.mu.space.holding)
}

// Limit is the page from which on all is to be moved, nodes and long values.
func (m *Mover) Limit() pagemeta.PageID { return m.limit }

// Moved returns how many nodes have been moved.
func (m *Mover) Moved() uint64 { return m.moved }

// MoveCredits is how many pages a Step may make Dirty: the old page and the new one,
// the parent, and two bitmaps; or a leaf that is split on the way, and what that needs.
const MoveCredits = 16

// A look is what a Mover has found at a node.
type look int

const (
	lookedOn    look = iota // nothing to be moved there
	movedOne                // there may be more
	besideIt                // a leaf to be moved has changes beside it, under its old number
	levelEnds               // it was the last of its level
	nothingLeft             // there is no such level, or no free page before limit
)

// Step looks at one inner node, and moves one of its children at most. It returns false
// when there is nothing left to do. It is called inside the gate, with MoveCredits.
func (m *Mover) Step() (more bool, err error) {
	var found look
	err = m.t.restructure(&Op{}, func(c *change) (s step) {
		found, s = m.plan(c)
		return s
	})
	if err != nil {
		return false, err
	}
	switch found {
	case movedOne:
		m.moved++
	case besideIt:
		return true, m.t.Absorb(&Op{}, m.leaf)
	case lookedOn:
		m.key, m.next = m.next, m.key
	case levelEnds:
		m.level++
		m.key = m.key[:0]
	}
	return found != nothingLeft, nil
}

// plan looks at the node of key on the level, and plans to move a child of it.
func (m *Mover) plan(c *change) (look, step) {
	id, last, s := m.down()
	if s != done {
		return nothingLeft, s
	}
	if id == 0 {
		return nothingLeft, done
	}
	n := m.t.node(id)
	for i := range n.count() + 1 {
		child, ok := n.child(i)
		if !ok || int(child) >= m.t.pages.Pages {
			return nothingLeft, step{kind: damaged, page: id}
		}
		if child >= m.limit {
			return m.planMove(c, id, i, child)
		}
	}
	if last {
		return levelEnds, done
	}
	return lookedOn, done
}

// down goes to the inner node of key on the level: 0 if the tree is not so high. last
// tells that no node of the level is right of it; else next is the first key there. The
// mutex is held, so inner nodes stand still.
func (m *Mover) down() (id pagemeta.PageID, last bool, s step) {
	t := m.t
	id, last = Root, true
	for above := maxHeight; ; {
		if err := t.pages.Ask(id, pagemeta.Hot); err != nil {
			return 0, false, step{kind: failed, err: err}
		}
		v := t.pages.Version(id)
		n := t.node(id)
		level := n.level()
		if !below(level, above) || !n.is(level) || !n.sane() {
			return 0, false, t.believe(id, v, false)
		}
		if level < m.level {
			return 0, false, done
		}
		if level == m.level {
			return id, last, done
		}
		above = level
		index, child, ok := n.childFor(m.key)
		if !ok || int(child) >= t.pages.Pages {
			return 0, false, t.believe(id, v, false)
		}
		if index < n.count() {
			suffix, ok := n.suffix(index, n.skip())
			if !ok {
				return 0, false, t.believe(id, v, false)
			}
			m.next = append(append(m.next[:0], n.prefix()...), suffix...)
			last = false
		}
		id = child
	}
}

// planMove moves child i of parent to a free page before limit, if there is one.
func (m *Mover) planMove(c *change, parent pagemeta.PageID, i int, child pagemeta.PageID) (look, step) {
	t := m.t
	to, err := t.alloc(c)
	if err == ErrFull || err == ErrNoRoom || err == nil && to >= m.limit {
		c.allocs = c.allocs[:0]
		return nothingLeft, done
	}
	if err != nil {
		return nothingLeft, step{kind: failed, err: err}
	}
	v, s := t.copyNode(c, child)
	if s != done {
		return nothingLeft, s
	}
	if !c.copied.is(m.level - 1) {
		return nothingLeft, step{kind: damaged, page: child}
	}
	if t.pages.Marked(child) {
		c.allocs = c.allocs[:0]
		m.leaf = child
		return besideIt, done
	}
	*c.write(to) = c.copied
	c.free(child, c.rewrite(child, v))
	image := c.write(parent)
	*image = *t.node(parent)
	image.setChild(i, to)
	return movedOne, done
}
