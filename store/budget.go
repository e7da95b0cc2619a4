package store

import (
	"fmt"

	"faultline/pagemeta"
	"faultline/store/wal"
)

// The memory budget is divided so:
//
//	log     buffers of the log
//	heap    what a program with a store has of Go at least: heads, cursors, batches, and
//	        what the collector has not taken away yet
//	tables  what is kept of every page of the file (pagemeta.TableBytes)
//	dirty   pages that are changed, DirtyBudget
//	images  their images in a round, as much again
//	changes writes that are kept beside leaves that are not in memory
//	clean   the rest: pages that are in memory because they are read
//
// From tables on it is one account, of package pagemeta: what some do not use the
// others have. The smallest budget is the one that leaves minClean.
const (
	heapShare   = 8        // of the budget
	changeShare = 4        // of the budget
	minHeap     = 1 << 20  // bytes
	maxHeap     = 64 << 20 // bytes
	minClean    = 1 << 20  // bytes
)

func heapBytes(budget int64) int64 { return min(max(budget/heapShare, minHeap), maxHeap) }

func (o *Options) logBytes() int64 {
	if o.logBuffer > 0 {
		return 2 * int64(o.logBuffer)
	}
	return 2 * wal.DefaultBufferBytes
}

// pagesMemory is the part of the budget that is for pages, tables and images.
func (o *Options) pagesMemory() int64 {
	return o.MemoryBudget - o.logBytes() - heapBytes(o.MemoryBudget)
}

// roomMemory is what package pagemeta may use.
func (o *Options) roomMemory() int64 {
	if o.room > 0 {
		return int64(o.room) * pagemeta.PageBytes
	}
	return o.pagesMemory()
}

// forTables is what is left for tables at most.
func (o *Options) forTables() int64 {
	return o.pagesMemory() - 2*o.DirtyBudget - o.changeBytes() - minClean
}

// changeBytes is the most that the change buffer takes.
func (o *Options) changeBytes() int64 {
	return max(0, min(o.MemoryBudget/changeShare, o.pagesMemory()-2*o.DirtyBudget-2*minClean))
}

// maxPages is less than the numbers that the flusher gives to pages of its own.
const maxPages = 1<<31 - 1

// capacity is how many pages there can be: as many as there is memory for tables.
func (o *Options) capacity() int {
	n := min(o.forTables()/pagemeta.TableBytes, maxPages)
	if o.pages > 0 {
		n = min(n, int64(o.pages))
	}
	return int(n)
}

// fits returns ErrBudget with the smallest budget, if a file of so many pages needs
// a larger one.
func (o *Options) fits(pages int64) error {
	need := o.budgetFor(pages)
	if need <= o.MemoryBudget {
		return nil
	}
	return fmt.Errorf("%w: %d bytes for %d pages of data: want %d at least (dirty budget %d)",
		ErrBudget, o.MemoryBudget, pages, need, o.DirtyBudget)
}

// budgetFor is the smallest budget with which there can be so many pages, or the one
// that there is if that is enough.
func (o *Options) budgetFor(pages int64) int64 {
	missing := pages*pagemeta.TableBytes - o.forTables()
	if missing <= 0 {
		return o.MemoryBudget
	}
	const fraction = heapShare // of what is added, the heap gets one part in so many
	return o.MemoryBudget + missing*fraction/(fraction-1) + 1
}
