package store

import (
	"fmt"
	"time"

	"faultline/internal/disk"
	"faultline/internal/offheap"
	"faultline/pagemeta"
	"faultline/store/tree"
)

const (
	// MaxKeyBytes is the longest key. The shortest has one byte.
	MaxKeyBytes = 1024

	// MaxValueBytes is the longest value: 256 MiB.
	MaxValueBytes = 256 << 20

	// MaxEntryBytes is the most bytes that a key and its value have together in a
	// page of the tree. A longer value lies in pages of its own, which a read
	// takes from the file.
	MaxEntryBytes = tree.MaxEntryBytes - tree.OwnerBytes - tree.ExpiryBytes

	// MaxBatchBytes is the most encoded bytes of a Batch, its values among them:
	// 32 MiB. Put and PutReader take longer values.
	MaxBatchBytes = 32 << 20

	// MinMemoryBudget is the least memory that a store works with: 8 MiB.
	MinMemoryBudget = 8 << 20
)

// Options say how a store is opened. The zero Options, like nil, are the
// defaults. Open does not keep or change what it is given.
type Options struct {
	// MemoryBudget bounds all memory that the store uses, in bytes, whatever its
	// size on disk: pages in memory, tables about pages, the images of a flush
	// round, the buffers of the log, and what the store has on the Go heap. Tables
	// take 0.8 % of the size on disk. Default 0: half of the machine's memory.
	MemoryBudget int64

	// DirtyBudget bounds the pages that are changed and not yet in the data
	// file, in bytes; their images in a round may take as much again. A flush
	// round starts at half of it, and writers are slowed down when less than a
	// quarter is left. Larger: fewer writes of the same page, but longer
	// rounds. Default 0: a quarter of MemoryBudget, or 1 GiB if that is less, but all
	// pages while all data is in memory beside their images; the most is a third. Dirty
	// pages and images get no more than half of what the tables leave of the budget,
	// unless all data is in memory.
	DirtyBudget int64

	// LogBytes is how much the log may grow before a flush round starts. It
	// bounds the time that Open takes after a crash. Default 0: 256 MiB.
	LogBytes int64

	// SegmentBytes is the size of a file of the log, a multiple of 4096. A store
	// keeps the one that it was made with. Default 0: 16 MiB.
	SegmentBytes int64

	// CheckpointEvery is the longest time between flush rounds while there is
	// something to flush. Default 0: a minute; negative: no limit.
	CheckpointEvery time.Duration

	// ReadOnly opens the store without changing any file but LOCK. What a crash
	// left to recover is recovered in memory. The directory must hold a store.
	ReadOnly bool

	// Progress, if it is not nil, is called by Open while it recovers: done bytes of
	// the log have been replayed, of total. The first call comes before the first
	// record, further ones after each MiB or so, the last with done = total. The total
	// counts files of the log as a whole, the last of them too, of which only a part
	// may be in use: the last call can come early. It must return quickly.
	Progress func(done, total uint64)

	// TrapOnly turns off every preparation that saves a trap: each page is
	// loaded and made writable by a trap of the MMU. For tests; it costs
	// microseconds a page and changes nothing else.
	TrapOnly bool

	// Clock tells when keys expire. Within one Open, time does not go back for the
	// store, whatever Clock says. Default nil: the system's.
	Clock func() time.Time

	// Expired is called after a key has been deleted since it had expired; key is valid
	// until it returns. It is called by one goroutine of the store, so what it keeps
	// waiting is the deletion of others. It must not close the store.
	Expired func(ks *Keyspace, key []byte)

	fs         disk.FS
	mostDirty  int64 // DirtyBudget, or what it may become where all data is in memory
	pages      int   // if not 0, the most pages that there can be
	room       int   // if not 0, how many pages may be in memory, images among them
	logBuffer  int   // see wal.Options.BufferBytes
	noHelper   bool  // see wal.Options
	pieceBytes int   // 0: pieceBytes
}

// withDefaults returns o, or the defaults, complete and checked.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.MemoryBudget == 0 {
		total, err := offheap.Total()
		if err != nil {
			return c, fmt.Errorf("size of memory: %w", err)
		}
		c.MemoryBudget = total / 2
	}
	c.mostDirty = c.DirtyBudget
	if c.DirtyBudget == 0 {
		c.mostDirty = c.MemoryBudget // what bounds it is room for images
		c.DirtyBudget = max(min(c.MemoryBudget/4, 1<<30, (c.MemoryBudget-4<<20)/4), minCredits*pagemeta.PageBytes)
	}
	if c.LogBytes == 0 {
		c.LogBytes = 256 << 20
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = 16 << 20
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = time.Minute
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.fs == nil {
		c.fs = disk.OS
	}
	if c.pieceBytes == 0 {
		c.pieceBytes = pieceBytes
	}
	switch {
	case c.MemoryBudget < MinMemoryBudget:
		return c, fmt.Errorf("%w: %d bytes, want %d at least", ErrBudget, c.MemoryBudget, MinMemoryBudget)
	case c.DirtyBudget < minCredits*pagemeta.PageBytes || c.DirtyBudget > c.MemoryBudget/3:
		return c, fmt.Errorf("dirty budget of %d bytes: want %d to a third of the memory budget, %d",
			c.DirtyBudget, minCredits*pagemeta.PageBytes, c.MemoryBudget/3)
	case c.LogBytes < 0:
		return c, fmt.Errorf("log of %d bytes before a round", c.LogBytes)
	case !validSegment(c.SegmentBytes):
		return c, fmt.Errorf("log segments of %d bytes: want a multiple of %d, 1 GiB at most", c.SegmentBytes, pagemeta.PageBytes)
	}
	return c, nil
}

// validSegment tells whether a file of the log may have so many bytes.
func validSegment(bytes int64) bool {
	return bytes > 0 && bytes <= 1<<30 && bytes%pagemeta.PageBytes == 0
}

// The longest key of a user has room in the index of those that expire.
const _ = uint(tree.MaxKeyBytes - dueBytes - tree.OwnerBytes - MaxKeyBytes)

// minCredits is enough for two operations that split every level.
const minCredits = 256
