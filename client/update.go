package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// errLost says that the connection of a transaction has ended before its EXEC.
var errLost = errors.New("connection lost")

// Update makes the writes of fn, all or none, at a moment at which all that fn has
// read is still so. For that fn may run more than once, until ctx ends. An error of
// fn ends it and is returned, and nothing has changed.
//
// Ctx is looked at between round trips. What fn reads is watched (WATCH), on a connection that Update has for itself; its
// writes are sent in one transaction when it has returned (MULTI, EXEC). Keys are
// watched and read ahead, in one round trip: name those that fn will read.
func (k *Keyspace) Update(ctx context.Context, keys [][]byte, d kv.Durability, fn func(kv.Tx) error) error {
	ask, err := k.link.mustAsk(ctx, d)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := k.tryUpdate(ctx, keys, ask, fn)
		again := errors.Is(err, errConflict) || isLoading(err) || errors.Is(err, errLost) && attempt < attempts
		if !again {
			return err
		}
		if ctxErr := pause(ctx, attempt); ctxErr != nil {
			return fmt.Errorf("update after %d attempts: %w: %w", attempt, ctxErr, err)
		}
	}
}

// tryUpdate is one run. The error wraps errConflict if it was in vain.
func (k *Keyspace) tryUpdate(ctx context.Context, keys [][]byte, ask bool, fn func(kv.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	conn, release := k.link.Dedicate()
	defer release()
	tx := &tx{link: k.link, conn: conn, ctx: patient(ctx), cells: make(map[string]*cell)}
	defer tx.unwatch()
	if err := tx.ahead(keys); err != nil {
		return err
	}
	err := fn(tx)
	if tx.err != nil {
		err = tx.err // fn may have passed over it
	}
	if err != nil {
		return err
	}
	if !tx.watches && len(tx.writes) == 0 {
		return nil
	}
	if !ask {
		ctx = tx.ctx
	}
	replies := conn.DoMulti(ctx, transaction(conn.B(), tx.commands(conn.B()), tx.bytes > longBytes, ask)...)
	tx.watches = replies[len(replies)-1].NonRedisError() != nil // EXEC ends that, whatever it replies
	_, err = k.link.executed(replies, ask)
	return err
}

// patient is ctx for a call that is short enough for not being ended but by a deadline:
// one that may be ended at any moment needs two goroutines for its connection.
func patient(ctx context.Context) context.Context {
	if _, ok := ctx.Deadline(); ok {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

// A tx is a batch with what it has read. It implements kv.Tx.
type tx struct {
	batch
	link    *link
	conn    rueidis.DedicatedClient
	ctx     context.Context
	cells   map[string]*cell
	watches bool
	err     error // the first of a read
}

// A cell is what a key has, for the transaction: what the server said, and then what
// was written.
type cell struct {
	found  bool
	value  []byte
	at     time.Time
	atRead bool // at is known
}

// ahead watches and reads keys.
func (tx *tx) ahead(keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = string(key)
	}
	b := tx.conn.B()
	tx.watches = true
	replies := tx.conn.DoMulti(tx.ctx, b.Watch().Key(names...).Build(), b.Mget().Key(names...).Build())
	if err := firstError(replies); err != nil {
		return tx.lost(err)
	}
	values, err := replies[1].ToArray()
	if err != nil {
		return tx.link.err(err)
	}
	for i, v := range values {
		c := &cell{found: !v.IsNil()}
		if c.found {
			if c.value, err = v.AsBytes(); err != nil {
				return tx.link.err(err)
			}
		}
		tx.cells[names[i]] = c
	}
	return nil
}

// lost marks an error as errLost, if the server has not replied.
func (tx *tx) lost(err error) error {
	_, replied := rueidis.IsRedisErr(err)
	if replied || tx.ctx.Err() != nil || tx.link.shared.closed.Load() {
		return tx.link.err(err)
	}
	return fmt.Errorf("%w: %w", errLost, err)
}

// cell returns what key has, from the server if it was not asked for before.
func (tx *tx) cell(key []byte) (*cell, error) {
	if c := tx.cells[string(key)]; c != nil {
		return c, nil
	}
	if err := tx.ahead([][]byte{key}); err != nil {
		return nil, tx.fail(err)
	}
	return tx.cells[string(key)], nil
}

// fail keeps the first error of a read: what fn makes of it, it is not to commit.
func (tx *tx) fail(err error) error {
	if tx.err == nil {
		tx.err = err
	}
	return err
}

// unwatch makes the connection as it was, for whoever has it next, or closes it.
func (tx *tx) unwatch() {
	if tx.watches && tx.conn.Do(tx.ctx, tx.conn.B().Unwatch().Build()).Error() != nil {
		tx.conn.Close()
	}
}

func (tx *tx) Get(key []byte) ([]byte, error) {
	c, err := tx.cell(key)
	switch {
	case err != nil:
		return nil, err
	case !c.found:
		return nil, kv.ErrNotFound
	}
	return append([]byte{}, c.value...), nil
}

func (tx *tx) Has(key []byte) (bool, error) {
	c, err := tx.cell(key)
	return err == nil && c.found, err
}

func (tx *tx) Expiry(key []byte) (time.Time, error) {
	c, err := tx.cell(key)
	switch {
	case err != nil:
		return time.Time{}, err
	case !c.found:
		return time.Time{}, kv.ErrNotFound
	case c.atRead:
		return c.at, nil
	}
	ms, err := tx.conn.Do(tx.ctx, tx.conn.B().Pexpiretime().Key(string(key)).Build()).AsInt64()
	if err != nil {
		return time.Time{}, tx.fail(tx.lost(err))
	}
	at, err := expiry(ms)
	if err != nil { // it expired, or was deleted, between the two
		return time.Time{}, tx.fail(fmt.Errorf("%w: %w", errConflict, err))
	}
	c.at, c.atRead = at, true
	return at, nil
}

func (tx *tx) Put(key, value []byte) error { return tx.PutExpiring(key, value, time.Time{}) }

func (tx *tx) PutExpiring(key, value []byte, at time.Time) error {
	if err := tx.batch.PutExpiring(key, value, at); err != nil {
		return err
	}
	c := &cell{found: true, value: append([]byte{}, value...), at: at, atRead: true}
	c.expire()
	tx.cells[string(key)] = c
	return nil
}

func (tx *tx) Delete(key []byte) error {
	if err := tx.batch.Delete(key); err != nil {
		return err
	}
	tx.cells[string(key)] = &cell{}
	return nil
}

func (tx *tx) SetExpiry(key []byte, at time.Time) error {
	if len(key) == 0 {
		return kv.ErrEmptyKey
	}
	c, err := tx.cell(key)
	if err != nil {
		return err
	}
	c.at, c.atRead = at, true
	c.expire()
	return tx.batch.SetExpiry(key, at)
}

// expire makes c of a key that is not there, if its time has come.
func (c *cell) expire() {
	if !c.at.IsZero() && !c.at.After(time.Now()) {
		*c = cell{}
	}
}
