package store

import (
	"bytes"
	"context"
	"slices"

	"faultline/store/tree"
)

// putLong is Put of a value that is larger than a piece.
func (tx *Tx) putLong(key, value []byte, expiry uint64) error {
	if err := checkEntry(len(key), int64(len(value))); err != nil {
		return err
	}
	k := tx.touch(key)
	tx.replace(k)
	k.long, k.longExpiry = bytes.Clone(value), expiry
	tx.longs++
	return nil
}

// commitLong is commit of a Tx that has put values which are larger than a piece: they
// go to the disk before. Since that costs much, it looks first whether it is of use.
func (tx *Tx) commitLong(ctx context.Context) (LSN, error) {
	db := tx.db
	if err := db.writable(); err != nil {
		return 0, err
	}
	if err := tx.checkNow(); err != nil {
		return 0, err
	}
	if err := db.open.take(ctx, tx.longs); err != nil {
		return 0, err
	}
	defer db.open.give(tx.longs)
	for i := range tx.keys {
		k := &tx.keys[i]
		if k.long == nil {
			continue
		}
		v, err := db.openValue(ctx, int64(len(k.long)))
		if err != nil {
			return 0, err
		}
		defer db.closeValue(v)
		for piece := range slices.Chunk(k.long, db.opts.pieceBytes) {
			if err := db.receive(ctx, v, piece); err != nil {
				return 0, err
			}
		}
		key := k.key.of(tx.mem)
		tx.batch.putLong(key[0], key[tree.OwnerBytes:], v, k.longExpiry)
	}
	return tx.commit(ctx)
}
