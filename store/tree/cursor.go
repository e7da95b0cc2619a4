package tree

import (
	"bytes"
	"sync"

	"faultline/pagemeta"
)

// A Cursor walks the keys in order, either way. It holds a copy of one leaf at a
// time, and no lock: what it returns of one leaf was all true at one moment, and
// is checked against nothing afterwards. A key that is there the whole time is
// returned once; one that comes or goes meanwhile may be seen or not.
//
// A Cursor is used by one goroutine at a time.
type Cursor struct {
	leaf node // first, so that it is aligned; between slots and cells it has what older leaves had
	both *run // the leaf with the changes beside it, if there are any
	room run  // memory of both

	t   *Tree
	err error

	// The key that the cursor is at, if ok.
	ok     bool
	at     int  // slot
	spot   spot // of slot at; without both
	flags  int
	prefix []byte // what the keys of the leaf begin with

	// Keys of the leaf from slot from to slot end are within the bounds, of n.
	from, end, n int
	lower, upper []byte // nil: no bound

	keyAt int    // the slot that key is of, or noSlot
	key   []byte // where the cursor was last seen, or is to go
	next  []byte // memory for the key after it

	soon     pagemeta.PageID // the leaf that comes next in direction dir
	expected int             // cache lines of it that the processor was told of
	dir      int             // of the last seek or step

	id     pagemeta.PageID // of leaf, or of that which it goes to
	way    [maxHeight]bend // by level, 1 and above; the way to leaf
	back   [maxHeight]bend // way, before a step
	height int
	steps  int    // leaves that the cursor went to since it was set
	fades  bool   // the leaf that it goes to is in memory for this walk only
	ahead  *ahead // nil: the walk is short so far
}

// noSlot is a slot that no leaf has.
const noSlot = -1

// A bend is an inner node that the cursor came by.
type bend struct {
	id      pagemeta.PageID
	version uint64 // index is right as long as it is this
	index   int
}

// cursors has memory of cursors that were closed.
var cursors = sync.Pool{New: func() any { return new(Cursor) }}

// NewCursor returns a cursor that is nowhere yet.
func (t *Tree) NewCursor() *Cursor {
	c := cursors.Get().(*Cursor)
	c.t = t
	return c
}

// Close gives the memory of the cursor to the next one. It must not be used any more, nor
// what it has returned.
func (c *Cursor) Close() {
	if c.ahead != nil {
		c.ahead.forget()
	}
	c.t, c.err, c.ok, c.key = nil, nil, false, c.key[:0]
	c.lower, c.upper, c.both = nil, nil, nil
	cursors.Put(c)
}

// Bound has the cursor come to an end before keys below lower, and at upper; nil is no
// bound. The cursor keeps both, and must be set anew.
func (c *Cursor) Bound(lower, upper []byte) { c.lower, c.upper, c.ok = lower, upper, false }

// Valid tells whether the cursor is at a key.
func (c *Cursor) Valid() bool { return c.ok }

// Err returns what ended the walk early, or nil.
func (c *Cursor) Err() error { return c.err }

// Key returns the key. It is valid until the cursor moves.
func (c *Cursor) Key() []byte {
	if c.ok && c.keyAt != c.at {
		c.makeKey()
	}
	return c.key
}

// makeKey puts the key together. If key is another one of the leaf, it begins with prefix.
func (c *Cursor) makeKey() {
	if c.keyAt == noSlot {
		c.key = append(c.key[:0], c.prefix...)
	}
	c.key, c.keyAt = append(c.key[:len(c.prefix)], c.suffix()...), c.at
}

// suffix returns what follows prefix in the key.
func (c *Cursor) suffix() []byte {
	if c.both != nil {
		return c.both.entries[c.at].key
	}
	return c.leaf[c.spot.suffix:c.spot.value]
}

// cell returns the value, or the Ref, behind when it expires if it does.
func (c *Cursor) cell() []byte {
	if c.both != nil {
		return c.both.entries[c.at].value
	}
	return c.leaf[c.spot.value:c.spot.end]
}

// Plain tells whether the value is a short one that does not expire.
func (c *Cursor) Plain() bool { return c.flags == 0 }

// Long tells whether the value is a long one.
func (c *Cursor) Long() bool { return c.flags&longBit != 0 }

// Value returns the value, or the Ref of a long one. It is valid until the cursor
// moves.
func (c *Cursor) Value() []byte {
	if c.flags&expiryBit != 0 {
		return c.cell()[ExpiryBytes:]
	}
	return c.cell()
}

// Expiry returns when the key expires, or 0.
func (c *Cursor) Expiry() uint64 {
	if c.flags&expiryBit != 0 {
		return le.Uint64(c.cell())
	}
	return 0
}

// search returns the first slot whose key is not less than key, and whether it is
// key.
func (c *Cursor) search(key []byte) (at int, found bool) {
	if c.both != nil {
		return c.both.find(key)
	}
	at, found, _ = c.leaf.search(key)
	return at, found
}

// hold takes a copy of leaf id with the changes beside it, and tells whether it
// makes sense. The cursor is at none of its keys then.
func (c *Cursor) hold(id pagemeta.PageID, n *node) bool {
	c.both, c.keyAt, c.n = nil, noSlot, 0
	if !c.leaf.copyLeaf(n) {
		return false
	}
	c.n, c.prefix = c.leaf.count(), c.leaf.prefix()
	if c.t.pages.Marked(id) && !c.addChanges(id) {
		return false
	}
	c.from, c.end = 0, c.n
	if c.lower != nil {
		c.from, _ = c.search(c.lower)
	}
	if c.upper != nil {
		c.end, _ = c.search(c.upper)
	}
	return true
}

// addChanges puts the changes beside leaf id, of which the cursor has a copy, to it.
func (c *Cursor) addChanges(id pagemeta.PageID) bool {
	c.both = &c.room
	c.both.reset(0, 0)
	if !c.both.take(&c.leaf) || !c.both.ascends() {
		return false
	}
	var memory [32]Change
	list := c.t.changes.beside(memory[:0], id)
	for i := len(list) - 1; i >= 0; i-- { // the oldest first
		c.both.make(list[i])
	}
	c.n, c.prefix = len(c.both.entries), nil
	return true
}

// maxKey is greater than every key.
var maxKey = bytes.Repeat([]byte{0xff}, MaxKeyBytes+1)

// First goes to the first key.
func (c *Cursor) First() bool { return c.SeekGE(nil) }

// Last goes to the last key.
func (c *Cursor) Last() bool { return c.SeekLT(maxKey) }

// SeekGE goes to the first key that is not less than key.
func (c *Cursor) SeekGE(key []byte) bool { return c.seek(key, +1) }

// SeekLT goes to the last key that is less than key.
func (c *Cursor) SeekLT(key []byte) bool { return c.seek(key, -1) }

// Next goes to the next key. The cursor must be at a key.
func (c *Cursor) Next() bool { return c.move(+1) }

// Prev goes to the key before. The cursor must be at a key.
func (c *Cursor) Prev() bool { return c.move(-1) }

// move goes to the slot beside that which the cursor is at, in direction dir. Most often
// that is of the same leaf, and its head says that its key comes next.
func (c *Cursor) move(dir int) bool {
	at, head := c.at+dir, c.spot.head
	if at < c.from || at >= c.end || c.both != nil {
		return c.leave(at, dir)
	}
	if at%expectEvery == 0 && c.expected < pageLines {
		c.expectMore()
	}
	suffix, value := c.spot.suffix, c.spot.value
	flags, ok := c.spot.of(&c.leaf, at)
	c.at, c.flags = at, flags
	if !ok || flags&expiryBit != 0 && !c.take(at) {
		return c.fail(ErrDamaged)
	}
	if h := c.spot.head; h != head && (h > head) == (dir > 0) {
		return true
	}
	if bytes.Compare(c.suffix(), c.leaf[suffix:value]) != dir {
		return c.fail(ErrDamaged)
	}
	return true
}

// take goes to slot at of the leaf. It returns false if that makes no sense.
func (c *Cursor) take(at int) bool {
	c.at, c.ok = at, true
	if c.both != nil {
		c.flags = c.both.entries[at].flags
	} else {
		c.flags, c.ok = c.spot.of(&c.leaf, at)
	}
	if c.ok && c.flags&expiryBit != 0 {
		_, _, c.ok = split(c.cell(), true)
	}
	return c.ok
}

// fail ends the walk.
func (c *Cursor) fail(err error) bool {
	c.err, c.ok = err, false
	return false
}

// leave goes to slot at, which may be outside of the leaf or the bounds.
func (c *Cursor) leave(at, dir int) bool {
	c.Key() // where to go on from
	return c.settle(at, dir)
}

func (c *Cursor) seek(key []byte, dir int) bool {
	c.key, c.ok, c.err = append(c.key[:0], key...), false, nil
	c.steps, c.fades, c.dir = 0, false, dir
	return c.enter() && c.settle(c.place(dir), dir)
}

// place is where in the leaf a walk in direction dir goes on from c.key: a key
// at which the cursor has been is not returned again.
func (c *Cursor) place(dir int) int {
	at, found := c.search(c.key)
	switch {
	case dir < 0:
		return at - 1
	case found && c.ok:
		return at + 1
	}
	return at
}

// settle goes to slot at of the leaf or, if there is none, to the nearest key
// outside of it in direction dir. c.key is where the cursor was.
func (c *Cursor) settle(at, dir int) bool {
	for steps := 0; at < c.from || at >= c.end; steps++ {
		if dir > 0 && c.end < c.n || dir < 0 && c.from > 0 { // what comes is out of bounds
			c.ok = false
			return false
		}
		seen := c.t.moves.Load()
		var next step
		if next, c.err = c.step(dir); c.err != nil {
			c.ok = false
			return false
		}
		switch {
		case steps > c.t.pages.Pages: // so many leaves, and all empty
			c.err, c.ok = ErrDamaged, false
			return false
		case next == done && c.height == 0: // the end
			c.ok = false
			return false
		case next == done && dir > 0:
			at = 0
		case next == done:
			at = c.n - 1
		default: // the way has changed: begin again
			if c.err = c.t.again(next, &pagemeta.Trap{}, pagemeta.ToRead, seen); c.err != nil || !c.enter() {
				c.ok = false
				return false
			}
			at = c.place(dir)
		}
	}
	was := c.ok
	if !c.take(at) {
		return c.fail(ErrDamaged)
	}
	c.next = append(append(c.next[:0], c.prefix...), c.suffix()...)
	if !c.follows(c.next, dir, was) {
		return c.fail(ErrDamaged)
	}
	c.key, c.next, c.keyAt = c.next, c.key, at
	return true
}

// follows tells whether the cursor may go to key; was tells whether it has been at the
// one before. A damaged tree must not send it back to where it has been, for ever.
func (c *Cursor) follows(key []byte, dir int, was bool) bool {
	order := bytes.Compare(key, c.key)
	return order == dir || order == 0 && dir > 0 && !was // equal: what SeekGE was asked for
}

// enter takes the leaf that c.key belongs to.
func (c *Cursor) enter() bool {
	for {
		seen := c.t.moves.Load()
		next, trap := c.tryEnter()
		if next == done {
			return true
		}
		if c.err = c.t.again(next, &trap, pagemeta.ToRead, seen); c.err != nil {
			return false
		}
	}
}

func (c *Cursor) tryEnter() (next step, trap pagemeta.Trap) {
	defer c.t.pages.Catch(&trap, pagemeta.Arm())
	return c.down(Root, c.t.pages.Version(Root), maxHeight, 0), trap
}

// step is tryStep until no page is missing. After a trap it goes on from the same
// leaf, not from c.key: between there and here may be more empty leaves than memory
// holds.
func (c *Cursor) step(dir int) (step, error) {
	c.dir = dir
	height := c.height
	copy(c.back[:height], c.way[:height])
	for {
		seen := c.t.moves.Load()
		next, trap := c.tryStep(dir)
		if !trap.Hit() {
			return next, nil
		}
		if err := c.t.again(next, &trap, pagemeta.ToRead, seen); err != nil {
			return next, err
		}
		c.height = height
		copy(c.way[:height], c.back[:height])
	}
}

// tryStep takes the next leaf in direction dir: it goes up to the first node
// that has a child there, and down again. At the end of the tree it sets height
// to 0. Unless it is done, the way is lost.
func (c *Cursor) tryStep(dir int) (next step, trap pagemeta.Trap) {
	defer c.t.pages.Catch(&trap, pagemeta.Arm())
	for level := 1; level < c.height; level++ {
		b := &c.way[level]
		n := c.t.node(b.id)
		if !n.sane() {
			return c.t.believe(b.id, b.version, false), trap
		}
		index := b.index + dir
		if index < 0 || index > n.count() {
			if s := c.t.believe(b.id, b.version, true); s != done {
				return s, trap
			}
			continue
		}
		child, ok := n.child(index)
		if !ok || int(child) >= c.t.pages.Pages {
			return c.t.believe(b.id, b.version, false), trap
		}
		v := c.t.pages.Version(child)
		if s := c.t.believe(b.id, b.version, true); s != done {
			return s, trap
		}
		b.index = index
		return c.down(child, v, level, dir), trap
	}
	c.height = 0
	return done, trap
}

// down goes from node id, which had version v when it was found below a node of
// level above, to a leaf, and copies it: the leaf of c.key or, if the cursor is on its way in direction dir,
// the nearest one. It runs inside a boundary.
func (c *Cursor) down(id pagemeta.PageID, v uint64, above, dir int) step {
	for {
		if above == 1 && dir != 0 && id != c.id {
			c.id = id
			c.stepped(dir)
		}
		if err := c.t.pages.Ask(id, c.heat(above)); err != nil {
			return step{kind: failed, err: err}
		}
		n := c.t.node(id)
		level := n.level()
		if !below(level, above) || !n.is(level) {
			return c.t.believe(id, v, false)
		}
		above = level
		if level == 0 {
			c.id = id
			ok := c.hold(id, n)
			if c.fades {
				c.t.pages.Cool(id)
				c.fades = false
			}
			if id == Root {
				c.height = 1
			}
			c.expect(dir != 0)
			return c.t.believe(id, v, ok)
		}
		index, child, ok := n.toward(c.key, dir)
		if !ok || int(child) >= c.t.pages.Pages {
			return c.t.believe(id, v, false)
		}
		cv := c.t.pages.Version(child)
		if s := c.t.believe(id, v, true); s != done {
			return s
		}
		c.way[level] = bend{id, v, index}
		if id == Root {
			c.height = level + 1
		}
		id, v = child, cv
	}
}

const (
	pageLines = nodeBytes / pagemeta.LineBytes
	// expectLines cache lines of the next leaf are fetched with each expectEvery-th entry:
	// of most leaves all, and no more at a time than gets by beside the work at hand.
	expectLines = 12
	expectEvery = 4
)

// expect finds the leaf that comes next, for expectMore, which begins a little later if the
// cursor was just set: it may not come so far. What it finds need not be true. It runs
// inside a boundary.
func (c *Cursor) expect(walking bool) {
	c.expected = pageLines
	if c.height < 2 {
		return
	}
	b := &c.way[1]
	if c.t.pages.State(b.id) == pagemeta.Absent {
		return // a trap would have the cursor take the leaf again
	}
	n, index := c.t.node(b.id), b.index+c.dir
	if !n.sane() || index < 0 || index > n.count() {
		return
	}
	if id, ok := n.child(index); ok && int(id) < c.t.pages.Pages {
		if c.soon, c.expected = id, 0; !walking {
			c.expected = -expectLines
		}
	}
}

// expectMore has the processor fetch a little more of the leaf that comes next.
func (c *Cursor) expectMore() {
	switch at := c.expected; {
	case at == 0:
		c.t.pages.Expect(c.soon, expectLines)
	case at > 0:
		c.t.pages.ExpectMore(c.soon, at, min(expectLines, pageLines-at))
	}
	c.expected += expectLines
}

// heat is that of a node below one of this level. The leaves of a long walk stay as they
// are; those that come for it are warm until it has seen them.
func (c *Cursor) heat(above int) pagemeta.Heat {
	if above == 1 && c.steps >= aheadAfter && !c.fades {
		return pagemeta.Cold
	}
	return heat(above)
}

// toward returns the first child in direction dir, or that of key if dir is 0.
func (n *node) toward(key []byte, dir int) (index int, id pagemeta.PageID, ok bool) {
	switch {
	case dir == 0:
		return n.childFor(key)
	case !n.sane():
		return 0, 0, false
	case dir < 0:
		index = n.count()
	}
	id, ok = n.child(index)
	return index, id, ok
}
