package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
)

// errChanged says that somebody has written what a Tx has read. Nothing has changed.
var errChanged = errors.New("changed meanwhile")

var txs = sync.Pool{New: func() any { return new(Tx) }}

// Modify calls fn, which reads and writes with a Tx, and then makes the writes, all or
// none, at a moment at which all that fn has read was so. If somebody has written to
// what fn has read before that moment, nothing is made, and fn is called again: it
// should do nothing else that cannot be done twice. It returns the LSN after the writes.
//
// keys are those that fn will touch, as far as they are known: calls of Modify that
// name the same key wait for each other instead of calling fn again. fn may touch others,
// or none of them. It must not call Modify, for which it would wait for ever.
//
// An error of fn ends the Modify: nothing has changed, and the error is returned if what
// fn has read was so at one moment. An fn that writes nothing has read all at one moment,
// too; the LSN covers what it has read then, and is not waited for.
//
// ctx is as in ApplyContext, and is looked at before each call of fn. Errors as for
// Apply.
func (ks *Keyspace) Modify(ctx context.Context, keys [][]byte, d Durability, fn func(tx *Tx) error) (LSN, error) {
	tx := txs.Get().(*Tx)
	defer txs.Put(tx)
	db := ks.db
	tx.db, tx.home, tx.batch.tx = db, ks, tx
	tx.claim(keys)
	defer tx.unclaim()
	for {
		if err := db.usable(); err != nil {
			return 0, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		lsn, err := tx.try(ctx, fn)
		switch {
		case err == errChanged:
			tx.claimMore()
		case err != nil || tx.batch.n == 0:
			return lsn, err
		default:
			return lsn, db.wait(ctx, lsn, d)
		}
	}
}

// try calls fn and makes its writes.
func (tx *Tx) try(ctx context.Context, fn func(tx *Tx) error) (LSN, error) {
	tx.reset()
	err := fn(tx)
	if tx.dead > 0 {
		tx.compact()
	}
	if err != nil || tx.batch.n+tx.longs == 0 {
		return tx.tryRead(err)
	}
	if tx.longs > 0 {
		return tx.commitLong(ctx)
	}
	return tx.commit(ctx)
}

// commit makes the writes of tx.
func (tx *Tx) commit(ctx context.Context) (LSN, error) {
	if err := tx.db.paceMerge(ctx, len(tx.batch.data)); err != nil {
		return 0, err
	}
	return tx.db.commit(ctx, &tx.batch)
}

// tryRead ends an attempt of which nothing is to be written, since err says so, or since
// there is nothing.
func (tx *Tx) tryRead(err error) (LSN, error) {
	tx.batch.Reset()
	if changed := tx.checkNow(); changed == errChanged || err == nil {
		err = changed
	}
	if tx.db.closed.Load() {
		return 0, ErrClosed
	}
	return tx.db.LSN(), err
}

// checkNow is check for who has no lock.
func (tx *Tx) checkNow() error {
	b := &tx.batch
	b.stripes = sorted(tx.appendStripes(b.stripes[:0]))
	renewals := tx.db.spaces.renewals.Load()
	tx.db.lock(b.stripes)
	defer tx.db.unlock(b.stripes)
	err := tx.check()
	if err == nil && tx.db.spaces.renewals.Load() != renewals {
		return errChanged // the keyspace of some of the keys only
	}
	return err
}

// check returns errChanged unless the store still has what tx has read. The stripes of
// its keys are locked. Without a tx there is nothing to check.
func (tx *Tx) check() error {
	if tx == nil {
		return nil
	}
	for i := range tx.keys {
		k := &tx.keys[i]
		if !k.read {
			continue
		}
		now, found, expiry, err := tx.db.tree.GetExpiring(tx.again[:0], tx.current(k.key.of(tx.mem)))
		if tx.again = now; err != nil {
			return tx.db.readError(err)
		}
		if found != k.found || expiry != k.expiry || tx.db.expired(expiry) != k.expired || !bytes.Equal(now, k.cell.of(tx.mem)) {
			return errChanged
		}
	}
	return nil
}

// appendStripes appends the stripes of all keys that tx has read or written.
func (tx *Tx) appendStripes(dst []uint16) []uint16 {
	for i := range tx.keys {
		dst = append(dst, stripeOf(tx.keys[i].hash))
	}
	return dst
}

// claim waits until no other Modify has one of keys, in the order of all claims.
func (tx *Tx) claim(keys [][]byte) {
	tx.claims = tx.claims[:0]
	for _, key := range keys {
		tx.claims = append(tx.claims, stripeOf(tx.db.hash(key)))
	}
	tx.lockClaims()
}

// claimMore claims what an attempt has touched as well, so that no other Modify is the
// reason if the next one fails.
func (tx *Tx) claimMore() {
	for i := range tx.keys {
		if _, ok := slices.BinarySearch(tx.claims, stripeOf(tx.keys[i].hash)); !ok {
			tx.unclaim()
			tx.claims = tx.appendStripes(tx.claims)
			tx.lockClaims()
			return
		}
	}
}

func (tx *Tx) lockClaims() {
	tx.claims = sorted(tx.claims)
	for _, s := range tx.claims {
		tx.db.claims[s].Lock()
	}
}

func (tx *Tx) unclaim() {
	for _, s := range tx.claims {
		tx.db.claims[s].Unlock()
	}
}
