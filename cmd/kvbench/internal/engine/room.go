package engine

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/dustin/go-humanize"
)

// A room looks how much is free on the disk. Pebble does not survive a full one: it panics
// with its locks held, on goroutines of its own too, or waits for a compaction that cannot
// end. So clients are refused before that.
type room struct {
	free  func() uint64 // bytes on the disk
	least uint64        // bytes that are to stay free, see leastRoom
	large uint64        // how many times the bytes of a large write are to be free beside that
	short atomic.Uint64 // what should have been free when it was not, else 0
}

// largeWrite is from how many bytes on a write looks first. What all clients write at once
// without a look is less than the least.
const largeWrite = 64 << 10

// leastRoom is what Pebble may still need when clients no longer write: to flush what they
// wait for, and to compact as much of level 0 as they may wait for into the next level.
func leastRoom(o *pebble.Options) uint64 {
	return o.MemTableSize*uint64(o.L0StopWritesThreshold) + uint64(o.LBaseMaxBytes)
}

// watch has a store in dir look each time that it begins a file.
func (r *room) watch(dir string, o *pebble.Options, writers int) {
	r.least = leastRoom(o)
	// All clients write as much at once, to the log and to a table of its own, of which
	// level 0 has as many as of memtables.
	r.large = uint64(2*max(writers, 1) + o.L0StopWritesThreshold)
	fs := o.FS
	r.free = func() uint64 {
		usage, err := fs.GetDiskUsage(dir)
		if err != nil {
			return math.MaxUint64 // nobody knows
		}
		return usage.AvailBytes
	}
	o.EventListener.WALCreated = func(pebble.WALCreateInfo) { r.want(r.least) }
	o.EventListener.TableCreated = func(pebble.TableCreateInfo) { r.want(r.least) }
}

func (r *room) want(bytes uint64) {
	if r.free() < bytes {
		r.short.CompareAndSwap(0, bytes)
	}
}

// take returns an error if there is too little for a write of so many bytes, or was before.
func (r *room) take(bytes int) error {
	if bytes >= largeWrite {
		r.want(r.least + r.large*uint64(bytes))
	}
	if short := r.short.Load(); short > 0 {
		return fmt.Errorf("the disk has less than %s free, which Pebble may need to go on", humanize.IBytes(short))
	}
	return nil
}
