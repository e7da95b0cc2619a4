package pagemeta

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// An Owner keeps the pages on disk. It stands to a Table as a file system's
// vm_operations and address_space_operations stand to the kernel's memory
// manager. Methods are called concurrently, each for a page that is locked: they
// may block, and must not touch the arena.
type Owner interface {
	// ReadPage fills image with page id of the data file, and has checked it.
	ReadPage(id PageID, image *Page) error

	// Mkwrite is told that page id is about to become writable, and attaches
	// its journal metadata: the head that it returns stays with the page until
	// Written, and is never 0. If the page is Frozen, frozen is its image and
	// head its current one: the image must be captured before Mkwrite returns,
	// since the page changes next. Otherwise frozen is nil.
	//
	// After an error the page is as it was, and the error reaches the operation.
	Mkwrite(id PageID, head uint32, frozen *Page) (uint32, error)

	// Forget is told that there was no memory for the fresh page for which Mkwrite
	// has returned head: the page is Absent as before.
	Forget(head uint32)

	// Stop is told that the kernel did not make a page writable for which there
	// is a head already. No operation may begin any more. It returns what this one
	// is to return.
	Stop(cause error) error
}

// Config is what a Table is made of.
type Config struct {
	Pages    int   // capacity; the address space is reserved, memory is used as pages come
	Memory   int64 // bytes that the pages in memory and the tables may take; 0: no bound
	Owner    Owner // who keeps the pages on disk
	TrapOnly bool  // Prepare and Ask do nothing: every page goes by a trap
}

// A Table holds pages in memory, with a state for each. Methods are safe for
// concurrent use except where they say otherwise.
type Table struct {
	Config
	arena  *arena
	mem    []byte          // metas, dirty and frozen
	metas  []meta          // one a page
	dirty  []atomic.Uint64 // one bit a page: Dirty, so that Freeze finds it
	frozen []atomic.Uint64 // one bit a page: it is of the next cut, Frozen or Dirty again
	shadow shadow          // of the pages, for the race detector
	// dirtyWords is how far dirty has been used: nothing is set beyond.
	dirtyWords atomic.Int64

	cut      atomic.Bool // pages that are Frozen are of a cut; changed with the gate closed
	freezing []PageID    // memory of FreezeAhead

	room  room
	clock clock
	queue [64]waitQueue

	closed  atomic.Bool
	busy    atomic.Int64 // loads and mkwrites running; Close waits for them
	metrics metrics
}

// A meta is what a Table keeps of one page, outside the arena: a failed
// compare-and-swap on a protected page would trap too.
type meta struct {
	word  atomic.Uint64 // a Word
	latch atomic.Uint64 // see latch.go
}

// Four metas share a cache line, and none straddles two.
var _ = [1]struct{}{}[unsafe.Sizeof(meta{})-16]

// zeroPage is what a fresh page is made of.
var zeroPage Page

// New reserves the address space and registers it. The error wraps
// errors.ErrUnsupported where the machine has no userfaultfd to give.
func New(c Config) (*Table, error) {
	if c.Pages <= 0 || uint64(c.Pages) > 1<<32 {
		return nil, fmt.Errorf("pagemeta: %d pages: want 1 to %d", c.Pages, uint64(1)<<32)
	}
	a, err := newArena(c.Pages)
	if err != nil {
		return nil, err
	}
	words := (c.Pages + 63) / 64
	mem, err := reserveMetas(c.Pages*int(unsafe.Sizeof(meta{})) + 2*words*8)
	if err != nil {
		a.close()
		return nil, fmt.Errorf("page table: %w", err)
	}
	t := &Table{Config: c, arena: a, mem: mem, shadow: newShadow(c.Pages)}
	start := unsafe.Pointer(unsafe.SliceData(mem))
	t.metas = unsafe.Slice((*meta)(start), c.Pages)
	bitmaps := unsafe.Slice((*atomic.Uint64)(unsafe.Add(start, c.Pages*int(unsafe.Sizeof(meta{})))), 2*words)
	t.dirty, t.frozen = bitmaps[:words], bitmaps[words:]
	for i := range t.queue {
		t.queue[i].init()
	}
	t.clock.init()
	go t.keepRoom()
	return t, nil
}

// Close gives all memory back. Operations that write must have ended; a reader
// that is still under way gets ErrClosed, at the latest from its next trap. The
// few bytes a page of the table itself stay mapped for such a reader: they are
// given back to the kernel, and zero.
func (t *Table) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	close(t.clock.quit)
	<-t.clock.ended
	t.awaitIdle()
	err := t.arena.close()
	return errors.Join(err, dropMetas(t.mem))
}

// Page returns the memory of page id, which must be below Pages. It may be
// touched only inside a trap boundary, or while the page is known to be there.
func (t *Table) Page(id PageID) *Page { return t.arena.page(id) }

// Writing is Page for who is about to change the page in phase 2, and is the only
// one who may. It tells the race detector, where there is one.
func (t *Table) Writing(id PageID) *Page {
	t.changes(id)
	return t.Page(id)
}

// State returns the state of page id. It may be stale when it is returned,
// unless the caller rules that out: inside the gate a Dirty page stays Dirty.
func (t *Table) State(id PageID) State { return t.load(id).State() }

// Fresh says that the data file does not have page id, or that its bytes there
// are of no use any more: until the page is Dirty, a load gives zeros and reads
// nothing. It has no effect on a Dirty page, and none on what is in memory.
func (t *Table) Fresh(id PageID) {
	t.lock(id)
	if w := t.load(id); w.State() != Dirty {
		t.metas[id].word.Or(uint64(freshBit))
	}
	t.unlock(id)
}

func (t *Table) load(id PageID) Word { return Word(t.metas[id].word.Load()) }

// move takes a locked page through e to the state that the diagram of State
// names, with the owner's handle head. Any other move is a broken invariant.
func (t *Table) move(id PageID, e Event, head uint32) {
	m := &t.metas[id].word
	for {
		w := Word(m.Load())
		to, ok := w.State().next(e)
		if !ok || !w.locked() {
			panic(fmt.Sprintf("pagemeta: %v of page %d, which is %v (word %#x)", e, id, w.State(), uint64(w)))
		}
		if m.CompareAndSwap(uint64(w), uint64(w.with(to, head))) {
			if w.guest() {
				t.room.guests.Add(-1)
			}
			return
		}
	}
}

// A waitQueue is where goroutines wait for a page lock; many pages share one,
// as in the kernel's hashed page wait queues.
type waitQueue struct {
	mu   sync.Mutex
	cond sync.Cond
}

func (q *waitQueue) init() { q.cond.L = &q.mu }

// lock takes the lock of page id: mkwrite, load and the flusher exclude each
// other by it. It is held for microseconds, or for one read of the data file.
func (t *Table) lock(id PageID) {
	m := &t.metas[id].word
	for {
		t.step(id, stepLock)
		w := Word(m.Load())
		if !w.locked() {
			if m.CompareAndSwap(uint64(w), uint64(w|lockBit)) {
				return
			}
			continue
		}
		q := &t.queue[id%PageID(len(t.queue))]
		q.mu.Lock()
		if w = Word(m.Load()); w.locked() && m.CompareAndSwap(uint64(w), uint64(w|waitBit)) {
			t.step(id, stepWait) // who unlocks needs q.mu to wake, and so comes after Wait
			q.cond.Wait()
		}
		q.mu.Unlock()
	}
}

// unlock gives the lock of page id back and wakes who waits for it.
func (t *Table) unlock(id PageID) {
	t.step(id, stepUnlock)
	old := Word(t.metas[id].word.And(^uint64(lockBit | waitBit)))
	if old&waitBit == 0 {
		return
	}
	q := &t.queue[id%PageID(len(t.queue))]
	q.mu.Lock()
	q.cond.Broadcast()
	q.mu.Unlock()
}

// enter counts the caller among those that Close waits for. It fails once the
// table is closed.
func (t *Table) enter() error {
	t.busy.Add(1)
	if t.closed.Load() {
		t.busy.Add(-1)
		return ErrClosed
	}
	return nil
}

func (t *Table) leave() { t.busy.Add(-1) }

func (t *Table) setDirty(id PageID) {
	for {
		n := t.dirtyWords.Load()
		if int64(id)/64 < n || t.dirtyWords.CompareAndSwap(n, int64(id)/64+1) {
			break
		}
	}
	t.dirty[id/64].Or(1 << (id % 64))
}

// Dirty counts the pages that a Freeze would return: those that are Dirty, or frozen
// ahead.
func (t *Table) Dirty() int {
	n := 0
	for i := range t.dirtyWords.Load() {
		n += bits.OnesCount64(t.dirty[i].Load() | t.frozen[i].Load())
	}
	return n
}
