package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"faultline/store/tree"
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
	lsn, wrote, err := ks.modify(ctx, keys, fn)
	if err != nil || !wrote {
		return lsn, err
	}
	return lsn, ks.db.wait(ctx, lsn, d)
}

// modify is Modify up to the wait for the disk, in which others may have the keys.
func (ks *Keyspace) modify(ctx context.Context, keys [][]byte, fn func(tx *Tx) error) (lsn LSN, wrote bool, err error) {
	tx := txs.Get().(*Tx)
	defer tx.done()
	db := ks.db
	tx.db, tx.home, tx.batch.tx = db, ks, tx
	tx.claim(keys)
	defer tx.unclaim()
	for {
		if err := db.usable(); err != nil {
			return 0, false, err
		}
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		lsn, err := tx.try(ctx, fn)
		if err != errChanged {
			return lsn, tx.batch.n > 0, err
		}
		tx.claimMore()
	}
}

// done keeps tx for another Modify, without the long values that it has put.
func (tx *Tx) done() {
	if tx.longs > 0 {
		tx.reset()
	}
	txs.Put(tx)
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
	err := tx.check(tx.now())
	if err == nil && tx.db.spaces.renewals.Load() != renewals {
		return errChanged // the keyspace of some of the keys only
	}
	return err
}

// now is the time, if check needs it.
func (tx *Tx) now() uint64 {
	if !tx.expires {
		return 0
	}
	return tx.db.clock.now()
}

// check returns errChanged unless the store still has what tx has read, and no key of it
// has expired by now. The stripes of its keys are locked.
func (tx *Tx) check(now uint64) error {
	for i := range tx.keys {
		k := &tx.keys[i]
		if !k.read {
			continue
		}
		if (k.expiry != 0 && k.expiry <= now) != k.expired {
			return errChanged
		}
		same, err := tx.same(k)
		if err != nil {
			return err
		}
		if !same {
			return errChanged
		}
	}
	return nil
}

// same tells whether the store still has for k what it had. Most often its leaf has not
// been written to, which is the quicker look.
func (tx *Tx) same(k *txKey) (bool, error) {
	key := tx.current(k.key.of(tx.mem))
	if key[1] == k.gen && tx.db.tree.Unchanged(k.at) {
		return true, nil
	}
	now, found, expiry, at, err := tx.db.tree.GetAt(tx.again[:0], key)
	if tx.again = now; err != nil {
		return false, tx.db.readError(err)
	}
	k.gen, k.at = key[1], at
	return found == k.found && expiry == k.expiry && bytes.Equal(now, k.cell.of(tx.mem)), nil
}

// place returns where tx has found key, a key of the tree that it writes to, if it has
// read it.
func (tx *Tx) place(key []byte) tree.Place {
	tx.asked = append(tx.asked[:0], key...)
	tx.asked[1] = 0
	if k := tx.touchKey(tx.asked); k.gen == key[1] {
		return k.at
	}
	return tree.Place{}
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
