package store

import (
	"fmt"
	"sort"

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
// others have. As the file grows, tables take what the three after them must do
// without (spare): half of the account at most, and the file can become as large as
// tables of that size allow.
const (
	heapShare   = 8        // of the budget
	minHeap     = 1 << 20  // bytes
	maxHeap     = 64 << 20 // bytes
	minClean    = 1 << 20  // bytes
	changeShare = 4        // of the budget, at most
	chunkShare  = 4        // of changes: chunks of theirs that are not full, at most
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

// forTables is what tables may take at most.
func (o *Options) forTables() int64 {
	n := o.pagesMemory()
	return min(n/2, n-2*minCredits*pagemeta.PageBytes-minClean)
}

// spare is what a file of so many pages leaves for dirty pages, images and changes.
func (o *Options) spare(pages int64) int64 {
	return max(o.pagesMemory()-pages*pagemeta.TableBytes-minClean, 0)
}

// credits is how many pages may be changed, of a file of so many: they and their images
// have half of the spare memory. A small file does not need the other half, since all of
// it is in memory beside its images: then credits are what these leave, and a page that
// is changed over and over is written once in a long while.
func (o *Options) credits(pages int64) int {
	return int(max(min(o.DirtyBudget, o.spare(pages)/4), o.dirtyInMemory(pages), minCredits*pagemeta.PageBytes) / pagemeta.PageBytes)
}

// dirtyInMemory is how many bytes of pages may be changed if a file of so many is in
// memory whole: any number if there is room for the images of all; a page counts again
// when it is changed while its image is on its way. Changes are kept beside leaves that
// are not in memory, less than a page beside each: they take the memory of these, and
// more only for the ends of their chunks.
func (o *Options) dirtyInMemory(pages int64) int64 {
	whole, most := pages*pagemeta.PageBytes, o.spare(pages)-o.changeBytes(pages)/chunkShare
	if images := most - whole; images < whole {
		most = images
	}
	return min(most, o.mostDirty)
}

// changeBytes is the most that the change buffer takes, beside a file of so many pages:
// three quarters of what is left when dirty pages and images have half.
func (o *Options) changeBytes(pages int64) int64 {
	spare := o.spare(pages)
	left := spare - 2*min(o.DirtyBudget, spare/4)
	return max(min(o.MemoryBudget/changeShare, left*3/4), 0)
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
	return fmt.Errorf("%w: %d bytes for %d pages of data: want %d at least",
		ErrBudget, o.MemoryBudget, pages, need)
}

// budgetFor is the smallest budget with which there can be so many pages, or the one
// that there is if that is enough.
func (o *Options) budgetFor(pages int64) int64 {
	missing := sort.Search(1<<50, func(n int) bool {
		larger := *o
		larger.MemoryBudget += int64(n)
		return larger.forTables() >= pages*pagemeta.TableBytes
	})
	return o.MemoryBudget + int64(missing)
}
