package store

import (
	"fmt"

	"faultline/store/tree"
)

// manyMost bounds how many writes the tree gets at a time, for the memory that they take.
const manyMost = 256

// gather has b.many be the writes at the beginning of data, which are b's, that the tree
// can make together, and returns what follows them. Long values and SetExpiry are made
// alone, and so is what a Tx does to leaves that it has been to.
func (b *Batch) gather(data []byte) (rest []byte, err error) {
	b.many.Reset()
	if b.n == 1 || b.tx != nil {
		return data, nil
	}
	for len(data) > 0 && len(b.many.List) < manyMost {
		w, rest, err := nextWrite(data)
		if err != nil {
			return nil, err
		}
		c, ok := w.change()
		if !ok {
			return data, nil
		}
		b.many.Add(c)
		data = rest
	}
	return data, nil
}

// change is w for tree.PutMany, if that can make it.
func (w *write) change() (c tree.Change, ok bool) {
	c = tree.Change{Key: w.key, Value: w.value}
	switch {
	case w.isLong() || w.op == opSetExpiry:
		return c, false
	case w.op == opPutExpiring:
		c.Value, c.Expires = w.cell, true
	case w.op == opDelete:
		c.Value = nil
	}
	return c, true
}

// applyMany makes the writes of b.many, and returns how many met a key that was there.
func (db *DB) applyMany(b *Batch) (found int, err error) {
	made, err := db.tree.PutMany(&b.op, b.many.List)
	if err = db.readError(err); err != nil && made > 0 {
		return 0, db.flusher.Stop(fmt.Errorf("in the middle of a batch: %w", err))
	}
	if err != nil {
		return 0, err
	}
	for i := range b.many.List {
		w := &b.many.List[i]
		if w.Expires {
			if err := db.enterDue(b, w.Key, w.Expiry(), w.Was); err != nil {
				return 0, db.flusher.Stop(fmt.Errorf("in the middle of a batch: %w", err))
			}
		}
		if w.Existed && !db.expired(w.Was) {
			found++
		}
	}
	return found, nil
}
