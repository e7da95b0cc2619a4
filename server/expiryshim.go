package server

import (
	"bytes"
	"errors"
	"time"

	"faultline/store"
)

var errNoExpiry = errors.New("keys do not expire yet")

func expiryOf(v view, key []byte) (time.Time, error) {
	found, err := v.Has(key)
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return time.Time{}, err
}

func setExpiry(tx *store.Tx, key []byte, at time.Time) error { return errNoExpiry }

func putUntil(w writer, key, value []byte, at time.Time) error {
	if !at.IsZero() {
		return errNoExpiry
	}
	return w.Put(key, value)
}

func putLong(ks keyspace, key, value []byte, at time.Time) error {
	if !at.IsZero() {
		return errNoExpiry
	}
	return ks.Put(key, value, store.Deferred)
}

// Until there are keyspaces.

func (c *conn) deleteRange(b bounds) (n int64, err error) {
	for {
		it, err := c.keys().NewIterator(&store.IterOptions{Lower: b.lower, Upper: b.upper, KeysOnly: true})
		if err != nil {
			return n, err
		}
		c.blind()
		for ok := it.First(); ok && c.batch.Len() < 1000; ok = it.Next() {
			c.batch.Delete(it.Key())
			c.changed(bytes.Clone(it.Key()))
		}
		if err := it.Close(); err != nil || c.batch.Len() == 0 {
			return n, err
		}
		n += int64(c.batch.Len())
		lsn, err := c.srv.db.ApplyContext(c.srv.ctx, &c.batch, store.Deferred)
		if err != nil {
			return n, err
		}
		c.committed(lsn)
	}
}

func cmdKvDelrange(c *conn, args [][]byte) {
	b, empty, ok := c.parseBounds(args[1], args[2])
	if !ok {
		return
	}
	n := int64(0)
	if !empty {
		var err error
		if n, err = c.deleteRange(b); err != nil {
			c.refuseWrite(err)
			return
		}
	}
	c.out.Int(n)
}
