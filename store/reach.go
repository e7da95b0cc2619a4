package store

// reach makes the leaves resident and writable that the writes of b will change,
// and the bitmaps that tell which pages are free. An error of the disk is then one
// of b alone, with nothing changed: in the middle of b it would stop the store. A
// single write has no middle. It is called inside the gate, with the keys locked.
//
// What can still fail in the middle is a page that was read here and is read once
// more: an inner node or a bitmap that was evicted since.
func (db *DB) reach(b *Batch) error {
	if b.n == 1 {
		return nil
	}
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		if err := db.tree.Reach(w.key); err != nil {
			return db.readError(err)
		}
		rest = more
	}
	return db.readError(db.tree.ReachSpace())
}
