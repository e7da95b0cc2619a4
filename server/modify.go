package server

import (
	"context"
	"errors"
	"time"

	"faultline/store"
)

// A view is where commands read keys: the database that is selected, or the
// transaction that is being executed.
type view interface {
	AppendGet(dst, key []byte) ([]byte, error)
	AppendGetRange(dst, key []byte, offset, n int64) ([]byte, error)
	AppendGetSpan(dst, key []byte, place func(bytes int64) (offset, n int64)) ([]byte, error)
	Has(key []byte) (bool, error)
	ValueBytes(key []byte) (int, error)
	Expiry(key []byte) (time.Time, error)
}

// A keyspace is what commands need of a database.
type keyspace interface {
	view
	GetAll(keys [][]byte, visit func(i int, value []byte, err error) error) error
	Modify(context.Context, [][]byte, store.Durability, func(*store.Tx) error) (store.LSN, error)
	NewIterator(*store.IterOptions) (*store.Iterator, error)
	Len() uint64
	Count(lower, upper []byte) (uint64, error)
	PutExpiring(key, value []byte, at time.Time, d store.Durability) error
	DeleteRange(ctx context.Context, lower, upper []byte, d store.Durability) (deleted uint64, err error)
}

// A writer is where blind writes go: a batch, or the transaction that is being executed.
type writer interface {
	Put(key, value []byte) error
	PutExpiring(key, value []byte, at time.Time) error
	Delete(key []byte) error
}

// view returns what the command may read from.
func (c *conn) view() view {
	if c.tx != nil {
		return c.tx
	}
	return c.keys()
}

// blind returns what a command that reads nothing may write to. It then calls changed
// for each key, and at last apply.
func (c *conn) blind() writer {
	if c.tx != nil {
		return c.tx
	}
	c.batch.Reset()
	if c.space != nil {
		c.batch.Use(c.space)
	}
	return &c.batch
}

// changed notes that the command has written key, which stays as it is until the command
// has ended.
func (c *conn) changed(key []byte) { c.written = append(c.written, written{c.db, key}) }

// apply makes the blind writes visible and notes what flush has to wait for, or answers
// with the error.
func (c *conn) apply() (ok bool) {
	if c.tx != nil {
		return true // EXEC applies all
	}
	lsn, err := c.srv.db.ApplyContext(c.srv.ctx, &c.batch, store.Deferred)
	if err != nil {
		c.refuseWrite(err)
		return false
	}
	c.committed(lsn)
	return true
}

// modify runs body, which reads and writes with tx, and answers. All that it does is done
// at one moment. It may run more than once: what it has answered before is dropped then.
// An error of body, which is one of the store, is answered instead, and nothing has
// changed. keys are those that body touches.
func (c *conn) modify(keys [][]byte, body func(tx *store.Tx) error) {
	if c.tx != nil {
		if err := body(c.tx); err != nil {
			c.refuseWrite(err)
		}
		return
	}
	mark := c.out.Len()
	lsn, err := c.keys().Modify(c.srv.ctx, keys, store.Deferred, func(tx *store.Tx) error {
		c.out.Truncate(mark)
		c.written = c.written[:0]
		c.tx = tx
		defer func() { c.tx = nil }()
		return body(tx)
	})
	if err != nil {
		c.out.Truncate(mark)
		c.refuseWrite(err)
		return
	}
	c.committed(lsn)
}

// committed notes what the replies rest on, and tells those who wait for it what has
// been written.
func (c *conn) committed(lsn store.LSN) {
	c.wrote, c.hasWrote = max(c.wrote, lsn), true
	if len(c.written) > 0 {
		c.lastWrite = max(c.lastWrite, lsn)
		c.srv.watches.announce(c.written)
		c.srv.tracking.announce(c, c.written)
		clear(c.written)
		c.written = c.written[:0]
	}
}

// refuseWrite answers a write that was not made, and sends that before the next command:
// a failed wait for later writes takes back the replies that wait with them, and the
// client would have to doubt this write too. Inside EXEC it ends the transaction.
func (c *conn) refuseWrite(err error) {
	c.written = c.written[:0]
	if c.tx != nil {
		c.multi.failed = err
		return
	}
	c.fail(err)
	if !c.multi.running { // a command between two transactions of EXEC, whose replies go together
		c.flush()
	}
}

// orAbsent returns nil for the error that says that there is no such key.
func orAbsent(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
