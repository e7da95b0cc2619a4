package engine

import (
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/dustin/go-humanize"
)

// A room looks how much is free on the disk. Pebble does not survive a full one: it panics
// with its locks held, on goroutines of its own too, or waits for a compaction that cannot
// end. So clients are refused before that.
type room struct {
	least uint64 // bytes that are to stay free, see leastRoom
	short atomic.Bool
}

// leastRoom is what Pebble may still need when clients no longer write: to flush what they
// wait for, and to compact as much of level 0 as they may wait for into the next level.
func leastRoom(o *pebble.Options) uint64 {
	return o.MemTableSize*uint64(o.L0StopWritesThreshold) + uint64(o.LBaseMaxBytes)
}

// watch has a store in dir look each time that it begins a file.
func (r *room) watch(dir string, o *pebble.Options) {
	r.least = leastRoom(o)
	look := func() {
		if usage, err := o.FS.GetDiskUsage(dir); err == nil && usage.AvailBytes < r.least {
			r.short.Store(true)
		}
	}
	o.EventListener.WALCreated = func(pebble.WALCreateInfo) { look() }
	o.EventListener.TableCreated = func(pebble.TableCreateInfo) { look() }
}

// err returns an error from when there is too little on.
func (r *room) err() error {
	if !r.short.Load() {
		return nil
	}
	return fmt.Errorf("the disk has less than %s free, which Pebble may need to go on", humanize.IBytes(r.least))
}
