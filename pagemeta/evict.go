package pagemeta

import (
	"sync"

	"faultline/internal/offheap"
)

// A clock bounds memory. Its hand goes round over the pages and evicts the Clean
// ones that nobody has asked for since it last came by; each time it takes one from
// the heat of a page, so that inner nodes, which are asked for in every descent,
// and get more of it, outlast leaves.
//
//	page lock, if free ---> state = Absent ---> memory dropped ---> unlock
//
// The state goes first and the lock is held to the end: who needs the page waits
// for the lock, and then loads it. A batch goes through this together, with one
// system call and one flush of the TLBs (docs/bench.md).
type clock struct {
	kick  chan struct{} // room is short; capacity 1
	quit  chan struct{}
	ended chan struct{}
	mu    struct {
		sync.Mutex
		hand    PageID
		victims []PageID
		ranges  [][]byte
	}
}

// evictBatch is how many pages are evicted together: from here on a page gets no
// cheaper.
const evictBatch = 256

// Heat is how often the clock hand passes a page by before it is evicted.
type Heat uint8

const (
	Cold Heat = 0 // what a scan reads, once
	Warm Heat = 1 // a leaf
	Hot  Heat = 3 // an inner node
)

func (w Word) heat() Heat { return Heat(w & heatMask >> heatShift) }

func (c *clock) init() {
	c.kick = make(chan struct{}, 1)
	c.quit, c.ended = make(chan struct{}), make(chan struct{})
}

func (c *clock) wake() {
	select {
	case c.kick <- struct{}{}:
	default: // it is awake already
	}
}

// keepRoom evicts pages ahead of loads, until Close.
func (t *Table) keepRoom() {
	defer close(t.clock.ended)
	for {
		select {
		case <-t.clock.quit:
			return
		case <-t.clock.kick:
		}
		for t.makeFree(t.ahead(), evictBatch) > 0 {
		}
	}
}

// evict takes up to want pages out of memory, and returns how many. The caller has
// the mutex of the clock.
func (t *Table) evict(want int) int {
	c := &t.clock
	c.mu.victims = t.choose(c.mu.victims[:0], want)
	gone := t.takeOut(c.mu.victims)
	for _, id := range c.mu.victims {
		t.unlock(id)
	}
	t.metrics.evicted.Add(uint64(gone))
	return gone
}

// takeOut makes pages Absent, which are locked and Clean, and returns how many are. The
// caller has the mutex of the clock.
func (t *Table) takeOut(pages []PageID) (gone int) {
	for _, id := range pages {
		t.step(id, stepEvict)
		t.move(id, Evict, 0)
	}
	gone = t.drop(pages)
	t.room.resident.Add(-int64(gone))
	return gone
}

// choose moves the hand on until it has locked want pages to evict, or has been
// everywhere so often that nothing can be left. Page 0 stays: every round needs it.
func (t *Table) choose(dst []PageID, want int) []PageID {
	c, high := &t.clock, PageID(t.room.high.Load())
	for left := (uint64(Hot) + 1) * uint64(high); left > 0 && len(dst) < want; left-- {
		if c.mu.hand++; c.mu.hand >= high {
			c.mu.hand = 0
			continue
		}
		m := &t.metas[c.mu.hand].word
		w := Word(m.Load())
		switch {
		case w.State() != Clean || w.locked():
		case w.heat() > Cold:
			m.CompareAndSwap(uint64(w), uint64(w-heatOne))
		case m.CompareAndSwap(uint64(w), uint64(w|lockBit)):
			dst = append(dst, c.mu.hand)
		}
	}
	return dst
}

// drop gives the memory of pages back, which are locked and Absent, and returns
// how many are gone. One that the kernel does not let go (mlockall) is Clean again.
func (t *Table) drop(pages []PageID) (gone int) {
	c := &t.clock
	c.mu.ranges = c.mu.ranges[:0]
	for i := 0; i < len(pages); {
		j := i + 1
		for j < len(pages) && pages[j] == pages[j-1]+1 {
			j++
		}
		t.step(pages[i], stepDrop)
		c.mu.ranges = append(c.mu.ranges, t.arena.span(pages[i], j-i))
		i = j
	}
	if offheap.DropMany(c.mu.ranges) == nil {
		return len(pages)
	}
	for _, id := range pages {
		if offheap.Drop(t.arena.span(id, 1)) == nil {
			gone++
		} else {
			t.move(id, Load, 0)
		}
	}
	return gone
}
