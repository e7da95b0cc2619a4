package store

import "faultline/store/tree"

// A commit of several writes is wide: it changes one key after the other. Readers
// take no lock, and would see it half made; so wide commits count themselves, and a
// reader that has met one waits for the stripe of its key, which the commit holds
// until all is made. What it has read stays as it is: if that is new, nothing is old
// any more by the time that it is returned.
//
// The counter is looked at after the read. A reader that has seen a write of a wide
// commit then sees the counter too, or else the commit has come to its end. One that
// looks before would miss the commit that begins in between.

// applyWhole makes the writes of b, with the keys locked, so that no reader tells of
// one of them before all are made.
func (db *DB) applyWhole(b *Batch) (found int, err error) {
	if b.n > 1 {
		db.wide.Add(1)
		defer db.wide.Add(-1)
	}
	return db.apply(b)
}

// find is get for readers that hold no stripe.
func (db *DB) find(dst, key []byte) (value []byte, found tree.Found, expiry uint64, err error) {
	value, found, expiry, err = db.get(dst, key)
	if db.wide.Load() != 0 {
		db.pass(db.stripe(key))
	}
	return value, found, expiry, err
}

// lookup is find with the errors that users get: ErrClosed, ErrNotFound, or that of a page.
func (db *DB) lookup(dst, key []byte) (value []byte, found tree.Found, expiry uint64, err error) {
	value, found, expiry, err = db.find(dst, key)
	switch {
	case db.closed.Load(): // whatever was read, it may not have been this store
		err = ErrClosed
	case err != nil:
		err = db.readError(err)
	case found == tree.Nothing:
		err = ErrNotFound
	}
	return value, found, expiry, err
}

// pass returns when who has the stripe now, if anybody, has made all its writes and
// has its LSN.
func (db *DB) pass(stripe uint16) {
	db.stripes[stripe].Lock()
	db.stripes[stripe].Unlock() //lint:ignore SA2001 to have waited is all
}
