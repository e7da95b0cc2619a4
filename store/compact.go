package store

import (
	"context"
	"fmt"

	"faultline/store/tree"
)

// Compact makes the files as short as they can be: pages at the end of the data file
// are moved to free ones before, one at a time, while the store is in use; then a
// checkpoint is made, and what is free at the end is cut off. Metrics.Moved tells how
// far it is. Without it files become shorter too, but only as far as their end is free
// by chance.
//
// It may end at any time: when ctx does, or in a crash. Pages that have been moved stay
// where they are then. Errors are those of Checkpoint, and of reads.
func (db *DB) Compact(ctx context.Context) error {
	if err := db.writable(); err != nil {
		return err
	}
	m := db.tree.NewMover()
	for more := true; more; {
		var err error
		if more, err = db.move(ctx, m); err != nil {
			return err
		}
	}
	return db.orClosed(db.flusher.Shrink(ctx))
}

// move makes one step of m.
func (db *DB) move(ctx context.Context, m *tree.Mover) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("compact: %w", err)
	}
	grant, err := db.flusher.Begin(ctx, tree.MoveCredits, 0)
	if err != nil {
		return false, db.orClosed(err)
	}
	defer db.flusher.End(grant, 0)
	if err := db.usable(); err != nil {
		return false, err
	}
	before := m.Moved()
	more, err = m.Step()
	db.moved.Add(m.Moved() - before)
	return more, db.readError(err)
}
