package tree

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"faultline/kv"
	"faultline/pagemeta"
)

var (
	// ErrFull is returned by a change that needs more pages than there are.
	// Nothing has changed.
	ErrFull = kv.ErrFull

	// ErrNoRoom is returned by a change that needs more pages than SetRoom allows.
	// Nothing has changed; RoomFor says how many would do.
	ErrNoRoom = errors.New("no room in the file")

	// ErrDamaged is wrapped by an error about a page whose bytes cannot be a
	// node, though its checksum was right.
	ErrDamaged = errors.New("damaged page")
)

// Root is the page of the root. It stays the root for ever: when it is split its
// content moves down.
const Root pagemeta.PageID = 2

// maxHeight is more levels than 2^32 pages can make, each inner node having two
// children at least.
const maxHeight = 32

// A Tree is a B+tree over the pages of a table. Methods are safe for concurrent
// use; those that change the tree are called inside the flusher's gate, with the
// credits of Credits reserved, and for one key by one goroutine at a time.
type Tree struct {
	pages  *pagemeta.Table
	counts counts

	// moves counts structure changes, each before it shows. Who has followed a
	// pointer that one of them has changed may come to a page that cannot be read
	// any more, and must not call that an error.
	moves atomic.Uint64

	left   atomic.Int64 // pages that are free and not promised
	scarce atomic.Bool  // there is no room for more

	// What the tree is like, for estimates: stale by a change or two.
	inner, leaves, levels atomic.Int32

	changes changes // of leaves that are not in memory
	metrics metrics

	mu struct { // structure changes: one at a time
		sync.Mutex
		change change
		space  space
	}
}

// New returns a tree that has no key yet, and makes its first pages. It is a
// change like any other.
func New(pages *pagemeta.Table) (*Tree, error) {
	t := &Tree{pages: pages}
	t.mu.space.init(pages.Pages, State{})
	return t, t.restructure(&Op{}, t.planNew)
}

// State is what a Tree needs to be found again. It is stored in the superblock.
type State struct {
	Pages  uint32 // pages of the data file
	Used   uint32 // pages in use
	Inner  uint32 // of these, inner nodes
	Values uint32 // of these, pages of long values
	Dead   uint64 // keys that are of no current generation
	Slots  [MaxSlots]SlotState
}

// keys is the number of all keys, or more than there can be.
func (s *State) keys() uint64 {
	n := s.Dead
	for i := range s.Slots {
		if s.Slots[i].Expiring > s.Slots[i].Keys || s.Slots[i].Keys > math.MaxInt64/MaxSlots {
			return math.MaxInt64
		}
		n += s.Slots[i].Keys
	}
	return n
}

// sound tells whether there can be a tree with these numbers.
func (s *State) sound() bool {
	return s.Pages > uint32(Root) && s.Used <= s.Pages && uint64(s.Inner)+uint64(s.Values) < uint64(s.Used) &&
		s.Dead <= math.MaxInt64/2 && s.keys() <= uint64(s.Used)*maxSlots
}

// Open returns the tree that had state s.
func Open(pages *pagemeta.Table, s State) (*Tree, error) {
	if !s.sound() {
		return nil, fmt.Errorf("%w: %d pages, %d in use, %d of them inner nodes, %d of long values, %d keys",
			ErrDamaged, s.Pages, s.Used, s.Inner, s.Values, s.keys())
	}
	if int(s.Pages) > pages.Pages {
		return nil, fmt.Errorf("%d pages, room for %d: %w", s.Pages, pages.Pages, ErrFull)
	}
	t := &Tree{pages: pages}
	t.counts.set(&s)
	t.mu.space.init(pages.Pages, s)
	return t, t.restructure(&Op{}, t.planOpen)
}

// State returns the state. The caller has closed the gate.
func (t *Tree) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	space := &t.mu.space
	s := State{
		Pages:  uint32(space.pages),
		Used:   uint32(space.used),
		Inner:  uint32(space.inner),
		Values: uint32(space.values),
	}
	t.counts.state(&s)
	return s
}

// Len returns the number of keys, dead ones among them.
func (t *Tree) Len() uint64 { return t.counts.all() }

// Found says what Get has found.
type Found uint8

const (
	Nothing Found = iota
	Short         // the value
	Long          // the Ref of a long value, see ParseRef
)

// Get is GetExpiring for who does not ask when the key expires.
func (t *Tree) Get(dst, key []byte) (value []byte, found Found, err error) {
	value, found, _, err = t.GetExpiring(dst, key)
	return value, found, err
}

// GetExpiring is GetAt for who does not come back to the leaf.
func (t *Tree) GetExpiring(dst, key []byte) (value []byte, found Found, expiry uint64, err error) {
	value, found, expiry, _, err = t.GetAt(dst, key)
	return value, found, expiry, err
}

// A Place is a leaf with its version: while it has that, all its keys are as they were.
// The zero Place is none.
type Place struct {
	leaf    pagemeta.PageID
	version uint64
}

// Unchanged tells whether what GetAt has found at p is so still. It may say no without
// need.
func (t *Tree) Unchanged(p Place) bool { return p.leaf != 0 && t.pages.Unchanged(p.leaf, p.version) }

// GetAt appends what key has to dst, and returns when it expires, or 0, and where it was
// found, or would be. Without such a key dst is as it was. It takes no lock.
func (t *Tree) GetAt(dst, key []byte) (value []byte, found Found, expiry uint64, at Place, err error) {
	for {
		seen := t.moves.Load()
		value, found, expiry, next, trap := t.tryGet(dst, key, &at)
		if next == done && !trap.Hit() {
			return value, found, expiry, at, nil
		}
		if err := t.again(next, &trap, pagemeta.ToRead, seen); err != nil {
			return dst, Nothing, 0, Place{}, err
		}
	}
}

func (t *Tree) tryGet(dst, key []byte, place *Place) (value []byte, found Found, expiry uint64, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	id, v, next := t.descend(key)
	if next != done {
		return nil, Nothing, 0, next, trap
	}
	*place = Place{id, v}
	if t.pages.Marked(id) {
		if change, changed := t.changes.find(id, key); changed {
			value, expiry, ok := split(change.Value, change.Expires)
			found := Short
			if change.Value == nil {
				found = Nothing
			}
			return append(dst, value...), found, expiry, t.believe(id, v, ok), trap
		}
	}
	if err := t.pages.Ask(id, pagemeta.Warm); err != nil {
		return nil, Nothing, 0, step{kind: failed, err: err}, trap
	}
	n := t.node(id)
	at, has, ok := n.search(key)
	if has && ok {
		if value, ok = n.value(at); ok {
			value, expiry, ok = split(value, n.expires(at))
		}
		found = Short
		if n.isLong(at) {
			found = Long
		}
	}
	if ok {
		value = append(dst, value...)
	}
	return value, found, expiry, t.believe(id, v, ok && n.is(0)), trap
}

// A step says how an attempt ended that may have to be made again.
type step struct {
	kind stepKind
	page pagemeta.PageID
	err  error
}

type stepKind uint8

const (
	trapped   stepKind = iota // the zero step: the boundary was left by a trap
	succeeded                 // what was read is true
	changed                   // somebody changed a page meanwhile
	damaged                   // nobody did, and the page is no node
	failed                    // err
)

var done = step{kind: succeeded}

// believe ends a look at page id, read since Version returned v: ok tells
// whether what was read made sense.
func (t *Tree) believe(id pagemeta.PageID, v uint64, ok bool) step {
	switch {
	case !t.pages.Unchanged(id, v):
		return step{kind: changed}
	case !ok:
		return step{kind: damaged, page: id}
	}
	return done
}

// again does what must be done before an attempt that ended with s is made
// again, or returns why it may not be. seen is moves as it was before the attempt.
func (t *Tree) again(s step, trap *pagemeta.Trap, intent pagemeta.Intent, seen uint64) (err error) {
	switch {
	case trap.Hit():
		err = t.pages.Resolve(trap, intent)
	case s.kind == damaged:
		err = fmt.Errorf("page %d: %w", s.page, ErrDamaged)
	case s.kind == failed:
		err = s.err
	}
	if t.moves.Load() != seen {
		return nil // it may have been another's page by then
	}
	return err
}

func (t *Tree) node(id pagemeta.PageID) *node { return (*node)(t.pages.Page(id)) }

// writing is node for phase 2.
func (t *Tree) writing(id pagemeta.PageID) *node { return (*node)(t.pages.Writing(id)) }

// below tells whether a node of this level may be a child of one of the level
// above; maxHeight is above the root. A damaged tree must not lead in circles.
func below(level, above int) bool {
	return level == above-1 || above == maxHeight && level < maxHeight
}

// heat is that of a node below one of this level.
func heat(above int) pagemeta.Heat {
	if above == 1 {
		return pagemeta.Warm
	}
	return pagemeta.Hot
}

// leafLines is how many cache lines the slots of most leaves have, with what is before them.
const leafLines = 5

// descend goes from the root to the leaf that key belongs to, and returns it
// with its version. The leaf need not be in memory, nor has anyone looked whether
// it is one. It runs inside a boundary.
//
// A node is read between two looks at its version, and left only after the
// version of its child is known: so the child was its child when that version
// was current.
func (t *Tree) descend(key []byte) (pagemeta.PageID, uint64, step) {
	return t.descendFetching(key, leafLines)
}

// descendFetching is descend for who will look at so many cache lines of the leaf's slots
// soon, or not if it is 0.
func (t *Tree) descendFetching(key []byte, lines int) (pagemeta.PageID, uint64, step) {
	id := Root
	v := t.pages.Version(id)
	for above := maxHeight; above > 1; {
		if err := t.pages.Ask(id, heat(above)); err != nil {
			return 0, 0, step{kind: failed, err: err}
		}
		n := t.node(id)
		level := n.level()
		if level == 0 || !below(level, above) {
			return id, v, t.believe(id, v, below(level, above) && n.Kind() == KindLeaf)
		}
		above = level
		_, child, ok := n.childFor(key)
		if !ok || int(child) >= t.pages.Pages {
			return 0, 0, t.believe(id, v, false)
		}
		if level == 1 && lines > 0 {
			t.pages.Expect(child, lines)
		}
		cv := t.pages.Version(child)
		if s := t.believe(id, v, true); s != done {
			return 0, 0, s
		}
		id, v = child, cv
	}
	return id, v, done
}

// An Op is what one operation, a write or a batch of them, was promised.
type Op struct {
	// Found asks Put and Delete to tell whether the key was there. Without, they
	// may say no without a look at its leaf.
	Found bool
	// Was is when the key was to expire that the last Put or Delete has met; 0 if not,
	// or if they did not look at its leaf.
	Was uint64

	// At is where the next Put or Delete is likely to find its key, if it is not zero.
	At Place

	// Before, if not 0, lets DeleteRange leave long values whose LSN is not before it.
	Before uint64

	finger finger

	pages   int  // pages of the file that nobody else can take
	merges  bool // it may take what is owed to changes beside leaves
	reached reached
}

// Put sets key to value; it does not expire. existed tells whether it had one, if op
// asks for it. After an error nothing has changed.
func (t *Tree) Put(op *Op, key, value []byte) (existed bool, err error) {
	if value == nil {
		value = []byte{}
	}
	return t.put(op, key, value, 0)
}

// PutExpiring is Put of a value that has when the key expires in its first ExpiryBytes.
func (t *Tree) PutExpiring(op *Op, key, value []byte) (existed bool, err error) {
	return t.put(op, key, value, expiryBit)
}

func (t *Tree) put(op *Op, key, value []byte, flags int) (existed bool, err error) {
	for {
		seen := t.moves.Load()
		f, next, trap := t.tryPut(op, key, value, flags)
		switch {
		case trap.Hit():
		case next == done && f == full:
			return t.putAnew(op, key, value, flags)
		case next == done:
			if f != deferred {
				t.counts.add(key, added(f, flags, op.Was))
			}
			return f == replaced, nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return false, err
		}
	}
}

// tryPut is Put for a leaf that has room, in two phases: first the leaf is made
// writable, which may trap and may fail; then it is changed, under its latch.
func (t *Tree) tryPut(op *Op, key, value []byte, flags int) (f fit, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	op.Was = 0
	id, v, next := t.descendFor(op, key)
	if next != done {
		return full, next, trap
	}
	if t.defers(op, id) {
		if f, next = t.tryDefer(id, v, Change{key, value, flags != 0}); next != done || f == deferred {
			return f, next, trap
		}
	}
	if next = t.latchLeaf(id, v); next != done {
		return full, next, trap
	}
	trap.Commit()
	n := t.writing(id)
	if f = t.absorb(id, n); f == replaced {
		f, op.Was = n.put(key, value, flags)
	}
	op.finger.written(t, id, v, t.pages.Unlatch(id, true))
	if f == broken {
		return f, step{kind: damaged, page: id}, trap
	}
	return f, done, trap
}

// descendFor is descend for a change of key, which begins at op.At the first time.
func (t *Tree) descendFor(op *Op, key []byte) (pagemeta.PageID, uint64, step) {
	at := op.At
	op.At = Place{}
	if t.Unchanged(at) {
		return at.leaf, at.version, done
	}
	f := &op.finger
	if f.covers(t, key) {
		return f.leaf, f.version, done
	}
	id, v, s := t.descend(key)
	if s == done {
		f.follow(t, key, id, v)
	}
	return id, v, s
}

// cellLines is how many cache lines a short cell has, but for one.
const cellLines = 2

// latchLeaf is phase 1 of a change of leaf id, which had version v when its parent
// was read: the leaf is writable and latched then.
func (t *Tree) latchLeaf(id pagemeta.PageID, v uint64) step {
	if err := t.pages.Ask(id, pagemeta.Warm); err != nil {
		return step{kind: failed, err: err}
	}
	if err := t.pages.Prepare(id); err != nil {
		return step{kind: failed, err: err}
	}
	t.pages.Page(id).Touch()
	if line := t.node(id).heap() / pagemeta.LineBytes; line >= cellLines && line < pagemeta.PageBytes/pagemeta.LineBytes {
		t.pages.ExpectMore(id, line-cellLines, cellLines+1) // a new cell goes there
	}
	if !t.pages.Latch(id, v) {
		return step{kind: changed}
	}
	if !t.node(id).changeable() {
		t.pages.Unlatch(id, false)
		return step{kind: damaged, page: id}
	}
	return done
}

// Kind says what the page is.
func (n *node) Kind() byte { return (*pagemeta.Page)(n).Kind() }

// Delete removes key. existed tells whether it was there, if op asks for it. After
// an error nothing has changed.
func (t *Tree) Delete(op *Op, key []byte) (existed bool, err error) {
	for {
		seen := t.moves.Load()
		f, sparse, next, trap := t.tryDelete(op, key)
		switch {
		case trap.Hit():
		case next == done && f == spread:
			return true, t.deleteLong(op, key)
		case next == done && f == full:
			if err := t.settle(op, key); err != nil {
				return false, err
			}
			continue
		case next == done:
			if f == replaced {
				t.counts.add(key, removed(op.Was))
			}
			if sparse {
				// The key is gone whether or not the leaf can be merged; one
				// that stays sparse costs room until the next delete in it.
				_ = t.merge(op, key)
			}
			return f == replaced, nil
		}
		if err := t.again(next, &trap, pagemeta.ToWrite, seen); err != nil {
			return false, err
		}
	}
}

// tryDelete is Delete in two phases, as tryPut is Put. f is replaced if the key was
// there, full if the leaf must be laid out anew first, spread as of node.delete. sparse tells that the leaf
// should be merged with a neighbour.
func (t *Tree) tryDelete(op *Op, key []byte) (f fit, sparse bool, next step, trap pagemeta.Trap) {
	defer t.pages.Catch(&trap, pagemeta.Arm())
	op.Was = 0
	id, v, next := t.descendFor(op, key)
	if next != done {
		return 0, false, next, trap
	}
	if t.defers(op, id) {
		if f, next = t.tryDefer(id, v, Change{Key: key}); next != done || f == deferred {
			return f, false, next, trap
		}
	}
	if next = t.latchLeaf(id, v); next != done {
		return 0, false, next, trap
	}
	trap.Commit()
	n := t.writing(id)
	if f = t.absorb(id, n); f == replaced {
		f, op.Was = n.delete(key)
	}
	sparse = f == replaced && id != Root && n.sparse()
	op.finger.written(t, id, v, t.pages.Unlatch(id, true))
	if f == broken {
		return f, false, step{kind: damaged, page: id}, trap
	}
	return f, sparse, done, trap
}

// Credits returns how many pages n writes of together bytes of keys and values
// may make Dirty at worst, and how many pages they may add to the file.
//
// A leaf that is full is split by any put to it, however small: once each, and
// then once for each half page of what is put. Entries near a page in size may
// make two leaves. Each split puts one key into an inner node, for which the same
// holds. The root may be split, and its parts get new pages. Each page that is taken or
// given back may have a bitmap of its own.
func (t *Tree) Credits(n, bytes int) (dirty, grow int) {
	inner, leaves, height := int(t.inner.Load()), int(t.leaves.Load()), t.height()
	groups := groupsOf(inner + leaves)
	const half = room / 4 // of a node, at the worst cut
	large := 3 * bytes / room
	splits := min(n, leaves+bytes/half+1)
	above := min(splits+large, inner+(bytes+(splits+large)*(slotBytes+innerCellBytes))/half) + height
	grow = splits + large + above + 2
	return min(n, leaves) + min(splits, inner) + height + grow + min(grow, groups) + 2, grow
}

// height is the number of levels. It may be stale by one.
func (t *Tree) height() int { return int(t.levels.Load()) }
