package store

import (
	"context"
	"errors"
	"fmt"

	"faultline/pagemeta"
	"faultline/store/tree"
)

// Compact makes the files as short as they can be: what lies at the end of the data
// file is moved to free pages before, one node or one long value at a time, while the
// store is in use; then a checkpoint is made, and what is free at the end is cut off.
// Metrics.Moved tells how far it is. Without it files become shorter too, but only as
// far as their end is free by chance.
//
// It may end at any time: when ctx does, or in a crash. Pages that have been moved stay
// where they are then. Errors are those of Checkpoint, and of reads.
func (db *DB) Compact(ctx context.Context) error {
	if err := db.writable(); err != nil {
		return err
	}
	if err := db.sweep(ctx); err != nil {
		return db.orClosed(err)
	}
	m := db.tree.NewMover()
	if err := db.moveValues(ctx, m.Limit()); err != nil {
		return err
	}
	for more := true; more; {
		var err error
		if more, err = db.moveNode(ctx, m); err != nil {
			return err
		}
	}
	return db.orClosed(db.flusher.Shrink(ctx))
}

// moveNode makes one step of m.
func (db *DB) moveNode(ctx context.Context, m *tree.Mover) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("compact: %w", err)
	}
	grant, err := db.begin(ctx, tree.MoveCredits, 0)
	if err != nil {
		return false, err
	}
	defer db.flusher.End(grant, 0)
	before := m.Moved()
	more, err = m.Step()
	db.moved.Add(m.Moved() - before)
	return more, db.readError(err)
}

// moveValues moves the long values that have pages from limit on. It walks all leaves,
// if there is one at all.
func (db *DB) moveValues(ctx context.Context, limit pagemeta.PageID) error {
	if db.tree.State().Values == 0 {
		return nil
	}
	if err := db.flusher.Checkpoint(ctx); err != nil { // what is free now may be had for values then
		return db.orClosed(err)
	}
	c := db.tree.NewCursor()
	defer c.Close()
	for ok := c.First(); ok; ok = c.Next() {
		if !c.Long() {
			continue
		}
		if err := db.moveValue(ctx, c.Key(), c.Value(), limit); err != nil {
			return err
		}
	}
	return db.readError(c.Err())
}

// moveValue moves the long value that ref leads to, if it has pages from limit on and
// there is room before. It is copied under an id of its own, and then takes the place of
// the old one, unless the key has another value by then.
func (db *DB) moveValue(ctx context.Context, key, ref []byte, limit pagemeta.PageID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	old, err := db.parseRef(ref)
	if err != nil || !reaches(old, limit) {
		return err
	}
	v := newLongValue()
	v.ref.LSN = old.LSN // the log has nothing newer of it
	defer func() {
		if !v.taken {
			db.tree.Drop(v.ref.Extents...)
		}
	}()
	if !db.holdBefore(v, tree.Pages(old.Extents), limit) {
		return nil
	}
	if err := db.copyValue(v, old); err != nil {
		if _, same, e := db.hasRef(key, ref); e != nil || !same {
			return e // it was replaced, and its pages used again
		}
		return err
	}
	return db.putMoved(ctx, key, ref, v)
}

// reaches tells whether a page of the value is limit or beyond.
func reaches(ref tree.Ref, limit pagemeta.PageID) bool {
	for _, e := range ref.Extents {
		if e.End() > limit {
			return true
		}
	}
	return false
}

// holdBefore gives v room for n pages before limit, if there is.
func (db *DB) holdBefore(v *longValue, n int, limit pagemeta.PageID) bool {
	for held := 0; held < n; {
		if len(v.ref.Extents) == tree.MaxExtents {
			return false
		}
		e, err := db.tree.HoldBefore(n-held, limit)
		if err != nil {
			return false // what cannot be read shows elsewhere
		}
		v.ref.Extents = append(v.ref.Extents, e)
		held += int(e.Pages)
	}
	return true
}

// copyValue writes what old leads to into the pages of v.
func (db *DB) copyValue(v *longValue, old tree.Ref) error {
	buf := pieceBuffers.Get().(*[]byte)
	defer pieceBuffers.Put(buf)
	for v.ref.Bytes < old.Bytes {
		piece, err := db.readRef((*buf)[:0], old, portion{offset: int64(v.ref.Bytes), n: pieceBytes})
		if err == nil {
			err = db.write(v, piece)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hasRef tells whether key has the long value that ref leads to, and when it expires.
func (db *DB) hasRef(key, ref []byte) (expiry uint64, same bool, err error) {
	var now [tree.MaxEntryBytes]byte
	raw, found, expiry, err := db.tree.GetExpiring(now[:0], key)
	return expiry, found == tree.Long && string(raw) == string(ref), db.readError(err)
}

// putMoved sets key to v, if it still has ref. The log is not told: to it nothing has
// changed.
func (db *DB) putMoved(ctx context.Context, key, ref []byte, v *longValue) error {
	dirty, _ := db.tree.Credits(1, len(key)+tree.MaxRefBytes)
	stripe := []uint16{db.stripe(key)}
	grant, err := db.begin(ctx, dirty, uint64(stripe[0]))
	if err != nil {
		return err
	}
	defer db.flusher.End(grant, uint64(stripe[0]))
	db.lock(stripe)
	defer db.unlock(stripe)
	if db.tree.Gen(key[0]) != key[1] {
		return nil // the sweeper has no lock for it
	}
	expiry, same, err := db.hasRef(key, ref)
	if err != nil || !same {
		return err
	}
	_, err = db.tree.PutLong(&tree.Op{}, key, v.ref, expiry)
	if errors.Is(err, tree.ErrNoRoom) || errors.Is(err, ErrFull) {
		return nil // a leaf without room for one more extent
	}
	if v.taken = err == nil; v.taken {
		db.moved.Add(uint64(tree.Pages(v.ref.Extents)))
	}
	return db.readError(err)
}
