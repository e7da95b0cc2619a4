package pagemeta

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrClosed is returned for a page of a table that was closed meanwhile.
var ErrClosed = errors.New("page table closed")

// A Trap is a touch of the arena that the MMU refused. The zero Trap is none.
//
// An operation runs inside a boundary, one small function whose first statement
// is
//
//	defer pages.Catch(&trap, pagemeta.Arm())
//
// A touch that may not happen ends that function wherever it is; trap then says
// which page it was. Back outside, holding no latch, the operation calls Resolve
// and runs the function again from its inputs: after a trap every local variable
// is garbage.
type Trap struct {
	page PageID
	hit  bool
	deaf bool // phase 2 has begun: a trap is a bug
}

// Hit tells whether there was a trap.
func (tr *Trap) Hit() bool { return tr.hit }

// Commit begins phase 2 of an operation that writes: every page that it will
// change is writable, and from here on a trap panics instead of restarting,
// since a restart would apply half of a change twice.
//
//go:noinline
func (tr *Trap) Commit() { tr.deaf = true }

// Arm makes a refused touch a panic for this goroutine, until Catch puts back
// what was set before.
func Arm() bool { return debug.SetPanicOnFault(true) }

// Catch is the boundary. It must be deferred directly: it recovers. Panics that
// are not traps of this table's arena go on.
func (t *Table) Catch(trap *Trap, armed bool) {
	r := recover()
	debug.SetPanicOnFault(armed)
	if r == nil {
		return
	}
	clearDirection()
	fault, ok := r.(interface{ Addr() uintptr })
	if !ok {
		panic(r)
	}
	off := fault.Addr() - t.arena.base()
	if off >= uintptr(len(t.arena.mem)) {
		panic(r)
	}
	id := PageID(off / PageBytes)
	if trap.deaf {
		panic(fmt.Sprintf("pagemeta: trap in phase 2 at page %d, which is %v", id, t.State(id)))
	}
	*trap = Trap{page: id, hit: true}
}

// An Intent says why an operation touches pages.
type Intent bool

const (
	ToRead  Intent = false
	ToWrite Intent = true
)

// Resolve does what the trap asks for, so that the operation can run again: it
// loads the page, or, if the operation writes, runs mkwrite. A reader never
// makes a page Dirty. The error is the page's or the owner's; nothing of the
// operation has happened yet.
func (t *Table) Resolve(trap *Trap, intent Intent) error {
	id := trap.page
	*trap = Trap{}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	if t.State(id) == Absent {
		t.metrics.loadTraps.Add(1)
		return t.loadPage(id)
	}
	if intent == ToRead {
		return nil // somebody loaded it meanwhile
	}
	return t.mkwrite(id, &t.metrics.mkwriteTraps)
}

// loadPage makes page id resident.
func (t *Table) loadPage(id PageID) error {
	t.makeRoom()
	t.lock(id)
	defer t.unlock(id)
	if t.load(id).State() != Absent {
		return nil
	}
	return t.fetch(id)
}

// Ask is a load in advance: page id is in memory when it returns nil, though it
// may be evicted again at once; heat puts that off. It costs one atomic load when
// the page is there already. In a TrapOnly table it does nothing.
func (t *Table) Ask(id PageID, heat Heat) error {
	if t.TrapOnly {
		return nil
	}
	w := t.load(id)
	if w.heat() < heat {
		t.metas[id].word.Or(uint64(heat) << heatShift)
	}
	if w.State() != Absent {
		return nil
	}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	return t.loadPage(id)
}

// fetch brings the locked, Absent page id into memory.
func (t *Table) fetch(id PageID) error {
	image := &zeroPage
	if !t.load(id).fresh() {
		image = pagePool.Get().(*Page)
		defer pagePool.Put(image)
		if err := t.Owner.ReadPage(id, image); err != nil {
			return err
		}
	}
	return t.bring(id, image)
}

// bring makes the locked, Absent page id Clean, with image.
func (t *Table) bring(id PageID, image *Page) error {
	if err := t.install(id, image, false); err != nil {
		return err
	}
	t.move(id, Load, 0)
	return nil
}

// install puts image into the arena as the locked, Absent page id, protected by the
// same call unless it is to be writable: between two calls a store could slip through.
func (t *Table) install(id PageID, image *Page, writable bool) error {
	t.changes(id)
	if err := t.arena.fd.Copy(t.arena.addr(id), image[:], !writable); err != nil {
		return fmt.Errorf("load page %d: %w", id, err)
	}
	t.arrived(id)
	t.metrics.loads.Add(1)
	return nil
}
