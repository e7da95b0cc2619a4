package store

import (
	"context"

	"faultline/kv"
)

// A DB and a Keyspace do what package kv says, so that a program can be moved to the
// client of a server.
var (
	_ kv.Store    = (*DB)(nil)
	_ kv.Keyspace = (*Keyspace)(nil)
)

// Space is Keyspace for kv.Store.
func (db *DB) Space(name string) (kv.Keyspace, error) { return db.Keyspace(name) }

// Write is Apply of a Batch that fn fills. An error of fn is returned, and nothing has
// changed. Errors as for Put.
func (ks *Keyspace) Write(ctx context.Context, d Durability, fn func(kv.Batch) error) error {
	b := batches.Get().(*Batch)
	defer batches.Put(b)
	b.begin(ks)
	if err := fn(b); err != nil {
		return err
	}
	_, err := ks.db.ApplyContext(ctx, b, d)
	return err
}

// Update is Modify for kv.Keyspace.
func (ks *Keyspace) Update(ctx context.Context, keys [][]byte, d Durability, fn func(kv.Tx) error) error {
	_, err := ks.Modify(ctx, keys, d, func(tx *Tx) error { return fn(tx) })
	return err
}
