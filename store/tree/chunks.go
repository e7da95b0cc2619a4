package tree

import (
	"fmt"
	"sync"
	"sync/atomic"

	"faultline/internal/offheap"
	"faultline/pagemeta"
)

// chunks is the memory of the change buffer. Chunks of one size are taken one by one,
// by zones, and given back together: to the kernel, and to the page table that has lent
// the memory. What a chunk has held is found by its place in mem, by readers without a
// lock too, and so mem stays mapped.
type chunks struct {
	pages *pagemeta.Table
	mem   []byte // chunk 0 is not used: a record at 0 is none
	size  int    // of a chunk, in bytes
	taken atomic.Int64
	limit atomic.Int64 // how many may be taken
	mu    struct {
		sync.Mutex
		free  []int // where chunks begin that were given back
		fresh int   // where those begin that never were taken
	}
}

// chunksMost is in how many chunks the memory comes: each zone has one or two that are
// not full yet.
const chunksMost = 512

func (c *chunks) init(bytes int64) (err error) {
	c.size = int(max(bytes/chunksMost/pagemeta.PageBytes, 1) * pagemeta.PageBytes)
	n := bytes / int64(c.size)
	if c.mem, err = offheap.Reserve(int(n+1) * c.size); err != nil {
		return fmt.Errorf("change buffer: %w", err)
	}
	c.mu.fresh = c.size
	c.limit.Store(n)
	return nil
}

// take returns where a chunk begins, or 0 if there is none.
func (c *chunks) take() (at int) {
	if c.taken.Add(1) > c.limit.Load() {
		c.taken.Add(-1)
		return 0
	}
	c.pages.Lend(int64(c.size))
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.mu.free); n > 0 {
		at, c.mu.free = c.mu.free[n-1], c.mu.free[:n-1]
		return at
	}
	at = c.mu.fresh
	c.mu.fresh += c.size
	return at
}

// give gives chunks back. A reader that still looks there sees zeros, or what is not
// for it, and that the version of its leaf has changed.
func (c *chunks) give(list []int) error {
	ranges := make([][]byte, len(list))
	for i, at := range list {
		ranges[i] = c.mem[at : at+c.size]
	}
	if err := offheap.DropMany(ranges); err != nil {
		return fmt.Errorf("change buffer: %w", err)
	}
	c.mu.Lock()
	c.mu.free = append(c.mu.free, list...)
	c.mu.Unlock()
	c.taken.Add(-int64(len(list)))
	c.pages.Lend(-int64(len(list) * c.size))
	return nil
}

// free is how many chunks may still be taken.
func (c *chunks) free() int { return int(c.limit.Load() - c.taken.Load()) }
