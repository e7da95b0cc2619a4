package tree

import (
	"faultline/pagemeta"
)

// A change is a structure change of the tree: a split, a merge, a leaf laid out
// anew. It is computed beside the tree, as whole images of the pages that will
// be different, and then copied in at once:
//
//	plan      read pages, compute images, choose new pages    may trap, may fail
//	phase 1   make every page of the change writable          may trap, may fail
//	latch     those that were read without the mutex must not have changed
//	phase 2   copy the images, mark pages used or free        cannot fail
//
// Up to phase 2 nothing has happened, and the change can be planned again.
// Structure changes exclude each other by the tree's mutex, so inner nodes stand
// still while one is planned; leaves do not, and their version is checked.
type change struct {
	op     *Op
	writes []write
	drops  []drop // leaves that go, unwritten; frees has them too
	allocs []pagemeta.PageID
	frees  []pagemeta.PageID
	takes  []Extent        // held, and used from then on
	gives  []Extent        // of values that are no more
	cursor int             // where alloc goes on
	height int             // of the tree after the change; 0: as it was
	counts []owned         // how many keys there are more after it
	taken  pagemeta.PageID // the leaf that takes in the changes beside it; 0: none
	end    int             // pages of the file after the change; 0: as many as it takes

	runs   [maxHeight]run // one a level: the keys of a lower one are used above
	images []*node        // memory for the images of writes
	copied node           // memory of copyNode
}

// A write is a page of a change.
type write struct {
	id      pagemeta.PageID
	image   *node
	version uint64 // what image was computed from, if checked
	checked bool
}

func (c *change) reset(op *Op) {
	c.op = op
	c.writes, c.allocs, c.frees = c.writes[:0], c.allocs[:0], c.frees[:0]
	c.drops = c.drops[:0]
	c.takes, c.gives = c.takes[:0], c.gives[:0]
	c.counts = c.counts[:0]
	c.height, c.taken, c.end = 0, 0, 0
}

// An owned is a delta of an owner.
type owned struct {
	slot, gen byte
	delta
}

// count notes that the owner of key has d more.
func (c *change) count(key []byte, d delta) {
	if d != (delta{}) {
		slot, gen := owner(key)
		if n := len(c.counts); n > 0 && c.counts[n-1].slot == slot && c.counts[n-1].gen == gen {
			c.counts[n-1].add(d)
			return
		}
		c.counts = append(c.counts, owned{slot, gen, d})
	}
}

// write adds page id to the change and returns the image to fill.
func (c *change) write(id pagemeta.PageID) *node {
	if len(c.writes) == len(c.images) {
		c.images = append(c.images, new(node))
	}
	image := c.images[len(c.writes)]
	c.writes = append(c.writes, write{id: id, image: image})
	return image
}

// rewrite is write for a page that had version v when it was read.
func (c *change) rewrite(id pagemeta.PageID, v uint64) *node {
	image := c.write(id)
	w := &c.writes[len(c.writes)-1]
	w.version, w.checked = v, true
	return image
}

// free gives page id back. A reader may still come to it by an old pointer: it
// finds a node without keys, and then that the pointer has changed.
func (c *change) free(id pagemeta.PageID, image *node) {
	clear(image[:])
	(*pagemeta.Page)(image).SetKind(KindFree)
	image.setHeap(nodeBytes)
	c.frees = append(c.frees, id)
}

// twice returns a page that the change writes twice, or writes and gives back as
// one of a value, which a sound tree does not lead to: neighbours that are one
// page, or a page in use that is marked as free.
func (c *change) twice() (pagemeta.PageID, bool) {
	for i, w := range c.writes {
		for _, other := range c.writes[:i] {
			if w.id == other.id {
				return w.id, true
			}
		}
		for _, e := range c.gives {
			if e.Page <= w.id && w.id < e.End() {
				return w.id, true
			}
		}
	}
	return 0, false
}

// A plan fills a change. It runs inside a boundary, as often as it takes, and
// must not keep anything from one time to the next.
type plan func(c *change) step

// restructure carries out the change that p plans. After an error nothing has
// changed.
func (t *Tree) restructure(op *Op, p plan) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		seen := t.moves.Load()
		next, trap := t.tryChange(op, p)
		if next == done {
			return nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return err
		}
	}
}

func (t *Tree) tryChange(op *Op, p plan) (next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	c := &t.mu.change
	c.reset(op)
	if s := p(c); s != done {
		return s, trap
	}
	if id, twice := c.twice(); twice {
		return step{kind: damaged, page: id}, trap
	}
	if err := t.prepare(c); err != nil { // phase 1
		return step{kind: failed, err: err}, trap
	}
	if !t.latch(c) {
		return step{kind: changed}, trap
	}
	trap.Commit() // phase 2
	t.moves.Add(1)
	for i := range c.writes {
		w := &c.writes[i]
		t.mu.space.inner += w.image.isInner() - t.node(w.id).isInner()
		*t.writing(w.id) = *w.image
		if w.id == c.taken {
			t.forget(w.id)
		}
		t.pages.Unlatch(w.id, true)
	}
	t.commitDrops(c)
	t.commitSpace(c)
	t.commitExtents(c)
	for _, d := range c.counts {
		t.counts.addTo(d.slot, d.gen, d.delta)
	}
	if c.height > 0 {
		t.levels.Store(int32(c.height))
	}
	t.inner.Store(int32(max(t.mu.space.inner, 0)))
	t.leaves.Store(int32(max(t.mu.space.used-t.mu.space.inner-t.mu.space.values, 1)))
	return done, trap
}

// prepare makes the pages of c writable.
func (t *Tree) prepare(c *change) error {
	for _, id := range c.allocs {
		t.mu.space.cooling[coolNew].add(Extent{id, 1})
		t.pages.Fresh(id)
	}
	for i := range c.writes {
		id := c.writes[i].id
		if err := t.pages.Prepare(id); err != nil {
			return err
		}
		t.pages.Page(id).Touch()
	}
	if err := t.prepareBitmaps(c); err != nil {
		return err
	}
	return t.prepareExtents(c)
}

// latch takes the latches of the pages of c, or none.
func (t *Tree) latch(c *change) bool {
	for i := range c.writes {
		w := &c.writes[i]
		v := w.version
		if !w.checked {
			v = t.pages.Version(w.id)
		}
		for !t.pages.Latch(w.id, v) {
			if w.checked {
				for j := range i {
					t.pages.Unlatch(c.writes[j].id, false)
				}
				return false
			}
			v = t.pages.Version(w.id)
		}
	}
	if !t.latchDrops(c) {
		for i := range c.writes {
			t.pages.Unlatch(c.writes[i].id, false)
		}
		return false
	}
	return true
}

// A crumb is a node on the way from the root to a leaf: which of its children
// the way goes on with.
type crumb struct {
	id    pagemeta.PageID
	index int
}

// A trail is the way to a leaf, which is its last crumb. By level: the leaf is
// level 0.
type trail struct {
	crumbs [maxHeight]crumb
	height int
	tail   bool // every step was to the last child
}

func (tr *trail) at(level int) *crumb { return &tr.crumbs[level] }

// trailTo finds the way to the leaf of key. The caller holds the mutex, so the
// inner nodes on it stand still.
func (t *Tree) trailTo(key []byte, tr *trail) step {
	tr.tail = true
	id := Root
	for above := maxHeight; ; {
		if err := t.pages.Ask(id, heat(above)); err != nil {
			return step{kind: failed, err: err}
		}
		v := t.pages.Version(id)
		n := t.node(id)
		level := n.level()
		if !below(level, above) || !n.is(level) {
			return t.believe(id, v, false)
		}
		if id == Root {
			tr.height = level + 1
		}
		above = level
		if level == 0 {
			tr.crumbs[0] = crumb{id: id}
			return done
		}
		index, child, ok := n.childFor(key)
		if !ok || int(child) >= t.pages.Pages {
			return t.believe(id, v, false)
		}
		tr.crumbs[level] = crumb{id, index}
		tr.tail = tr.tail && index == n.count()
		id = child
	}
}

// copyNode takes a copy of node id that is whole, and returns its version.
func (t *Tree) copyNode(c *change, id pagemeta.PageID) (v uint64, s step) {
	if err := t.pages.Ask(id, pagemeta.Warm); err != nil {
		return 0, step{kind: failed, err: err}
	}
	v = t.pages.Version(id)
	c.copied = *t.node(id)
	return v, t.believe(id, v, c.copied.sane())
}

// planNew makes the superblock, the first bitmap and an empty root.
func (t *Tree) planNew(c *change) step {
	for want := range Root + 1 {
		if want == bitmapPage {
			continue
		}
		id, err := t.alloc(c)
		if err != nil {
			return step{kind: failed, err: err}
		}
		if id != want {
			return step{kind: damaged, page: id}
		}
	}
	clear(c.write(0)[:])
	(*pagemeta.Page)(c.writes[0].image).SetKind(KindSuper)
	r := &c.runs[0]
	r.reset(0, 0)
	r.lay(c.write(Root), part{})
	c.height = 1
	return done
}

// planOpen changes nothing, and finds out how high the tree is.
func (t *Tree) planOpen(c *change) step {
	var tr trail
	s := t.trailTo(nil, &tr)
	c.height = tr.height
	return s
}
