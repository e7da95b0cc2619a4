package store

import (
	"context"
	"errors"
	"fmt"

	"faultline/store/tree"
)

// A write is refused for want of disk space before it has changed anything (step 2),
// or not at all: what it may add to the log, to the data file and to the journal has
// blocks by then. The flusher does that for the journal, in Begin.

// useRoom lets the tree take no page for which the data file has no room.
func (db *DB) useRoom() error {
	if db.opts.ReadOnly {
		return nil
	}
	db.tree.SetRoom(db.tree.End())
	return db.flusher.UseRoom(dataFile{db})
}

// dataFile is the store for the flusher, which makes room in it.
type dataFile struct{ *DB }

func (f dataFile) Trim() error { return f.tree.Trim() }

func (f dataFile) Spare() int { return f.tree.Spare() }

func (f dataFile) SetRoom(pages int) bool {
	f.tree.DeferLess(f.opts.changeBytes(int64(pages)))
	return f.tree.SetRoom(pages)
}

// reserveLog makes room in the log for a record of n bytes; urgent is for what a full
// disk must allow, see wal.Log.Reserve. The caller gives it back with Release. On a full
// disk a checkpoint is made if it frees segments.
func (db *DB) reserveLog(ctx context.Context, n int, urgent bool) error {
	if err := db.flusher.Err(); err != nil {
		return db.orClosed(err)
	}
	err := db.log.Reserve(n, urgent)
	if errors.Is(err, ErrNoSpace) && db.logSpans() && ctx.Err() == nil {
		// What cannot be merged keeps its part of the log.
		if e := db.Checkpoint(ctx); e != nil && !errors.Is(e, ErrNoSpace) && !errors.Is(e, ErrFull) {
			return e
		}
		err = db.log.Reserve(n, urgent)
	}
	return db.waited(err)
}

// logSpans tells whether the log since the last cut has more than one segment: then a
// cut made now frees some.
func (db *DB) logSpans() bool {
	size := uint64(db.log.SegmentBytes())
	return db.cutLSN.Load()/size < uint64(db.LSN())/size
}

// orFull adds to ErrFull, of a write that may add grow pages, which budget would do.
func (db *DB) orFull(err error, grow int) error {
	if !errors.Is(err, ErrFull) {
		return err
	}
	used := int64(db.tree.State().Used)
	want := (used+int64(grow))*65/64 + 1024 // a part is kept for recovery
	return fmt.Errorf("%w: %d pages are in use, and there can be %d with a MemoryBudget of %d bytes: open the store with %d or more",
		err, used, db.opts.capacity(), db.opts.MemoryBudget, db.opts.budgetFor(want))
}

// makeRoom makes room in the data file for n pages more than are in use or promised.
func (db *DB) makeRoom(n int) error {
	want, err := db.tree.RoomFor(n)
	return db.makeRoomTo(want, err)
}

// makeRoomBehind makes room for a run of n pages behind all that are in use.
func (db *DB) makeRoomBehind(n int) error {
	want, err := db.tree.RoomBehind(n)
	return db.makeRoomTo(want, err)
}

// makeRoomTo makes room for the first want pages, unless err says that it cannot be.
func (db *DB) makeRoomTo(want int, err error) error {
	if err == nil {
		err = db.flusher.Grow(want)
	}
	if err != nil {
		db.tree.Scarce()
	}
	return err
}

// promise is tree.Promise for a batch, and makes room.
func (db *DB) promise(b *Batch, n int) error {
	if b.puts == 0 {
		return nil // deletes take no pages
	}
	for {
		err := db.tree.Promise(&b.op, n)
		if !errors.Is(err, tree.ErrNoRoom) {
			return err
		}
		if err := db.makeRoom(n); err != nil {
			return err
		}
	}
}
