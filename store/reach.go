package store

import "faultline/store/tree"

// reach sees to it that no write of b needs the disk: it makes their leaves resident
// and writable, unless they are to be kept beside their leaves and there is room,
// and the bitmaps that tell which pages are free. An error of the disk is then one
// of b alone, with nothing changed: in the middle of b it would stop the store. A
// single write has no middle, and where all is in memory there is nothing to read. It
// is called inside the gate, with the keys locked.
//
// Two things can still fail in the middle: a page that is read once more since it was
// evicted, and a leaf beside which others have taken the room.
func (db *DB) reach(b *Batch) error {
	if b.steps == 1 || db.tree.Resident() {
		return nil
	}
	db.tree.BeginReach(&b.op)
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		n := len(w.cell)
		switch {
		case w.isLong() || w.op == opSetExpiry:
			n = tree.MaxEntryBytes // its leaf takes no part of it, but is needed
		case w.op == opPut:
			n = len(w.value)
		}
		if err := db.tree.Reach(&b.op, w.key, n); err != nil {
			return db.readError(err)
		}
		if w.expiry != 0 {
			if err := db.tree.Reach(&b.op, b.dueKey(w.key, w.expiry), 0); err != nil {
				return db.readError(err)
			}
		}
		rest = more
	}
	return db.readError(db.tree.ReachSpace())
}
