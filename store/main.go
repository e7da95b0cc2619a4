package store

import (
	"context"
	"io"
	"iter"
	"time"

	"faultline/kv"
)

// A DB is its default keyspace.

// Get is Keyspace.Get of the default keyspace.
func (db *DB) Get(key []byte) ([]byte, error) { return db.spaces.main.Get(key) }

// AppendGet is Keyspace.AppendGet of the default keyspace.
func (db *DB) AppendGet(dst, key []byte) ([]byte, error) { return db.spaces.main.AppendGet(dst, key) }

// GetRange is Keyspace.GetRange of the default keyspace.
func (db *DB) GetRange(key []byte, offset, n int64) ([]byte, error) {
	return db.spaces.main.GetRange(key, offset, n)
}

// AppendGetRange is Keyspace.AppendGetRange of the default keyspace.
func (db *DB) AppendGetRange(dst, key []byte, offset, n int64) ([]byte, error) {
	return db.spaces.main.AppendGetRange(dst, key, offset, n)
}

// Has is Keyspace.Has of the default keyspace.
func (db *DB) Has(key []byte) (bool, error) { return db.spaces.main.Has(key) }

// AppendGetSpan is Keyspace.AppendGetSpan of the default keyspace.
func (db *DB) AppendGetSpan(dst, key []byte, place func(bytes int64) (offset, n int64)) ([]byte, error) {
	return db.spaces.main.AppendGetSpan(dst, key, place)
}

// ValueBytes is Keyspace.ValueBytes of the default keyspace.
func (db *DB) ValueBytes(key []byte) (int, error) { return db.spaces.main.ValueBytes(key) }

// Put is Keyspace.Put of the default keyspace.
func (db *DB) Put(key, value []byte, d Durability) error { return db.spaces.main.Put(key, value, d) }

// PutReader is Keyspace.PutReader of the default keyspace.
func (db *DB) PutReader(ctx context.Context, key []byte, r io.Reader, size int64, d Durability) error {
	return db.spaces.main.PutReader(ctx, key, r, size, d)
}

// PutIfAbsent is Keyspace.PutIfAbsent of the default keyspace.
func (db *DB) PutIfAbsent(key, value []byte, d Durability) (put bool, err error) {
	return db.spaces.main.PutIfAbsent(key, value, d)
}

// PutIfPresent is Keyspace.PutIfPresent of the default keyspace.
func (db *DB) PutIfPresent(key, value []byte, d Durability) (put bool, err error) {
	return db.spaces.main.PutIfPresent(key, value, d)
}

// PutExpiring is Keyspace.PutExpiring of the default keyspace.
func (db *DB) PutExpiring(key, value []byte, at time.Time, d Durability) error {
	return db.spaces.main.PutExpiring(key, value, at, d)
}

// Expiry is Keyspace.Expiry of the default keyspace.
func (db *DB) Expiry(key []byte) (time.Time, error) { return db.spaces.main.Expiry(key) }

// Expire is Keyspace.Expire of the default keyspace.
func (db *DB) Expire(key []byte, at time.Time, d Durability) (found bool, err error) {
	return db.spaces.main.Expire(key, at, d)
}

// Expiring is Keyspace.Expiring of the default keyspace.
func (db *DB) Expiring() uint64 { return db.spaces.main.Expiring() }

// Delete is Keyspace.Delete of the default keyspace.
func (db *DB) Delete(key []byte, d Durability) error { return db.spaces.main.Delete(key, d) }

// DeleteRange is Keyspace.DeleteRange of the default keyspace.
func (db *DB) DeleteRange(ctx context.Context, lower, upper []byte, d Durability) (deleted uint64, err error) {
	return db.spaces.main.DeleteRange(ctx, lower, upper, d)
}

// NewIterator is Keyspace.NewIterator of the default keyspace.
func (db *DB) NewIterator(o *IterOptions) (*Iterator, error) { return db.spaces.main.NewIterator(o) }

// All is Keyspace.All of the default keyspace.
func (db *DB) All() iter.Seq2[Item, error] { return db.spaces.main.All() }

// Range is Keyspace.Range of the default keyspace.
func (db *DB) Range(lower, upper []byte) iter.Seq2[Item, error] {
	return db.spaces.main.Range(lower, upper)
}

// Backward is Keyspace.Backward of the default keyspace.
func (db *DB) Backward(lower, upper []byte) iter.Seq2[Item, error] {
	return db.spaces.main.Backward(lower, upper)
}

// Count is Keyspace.Count of the default keyspace.
func (db *DB) Count(lower, upper []byte) (uint64, error) { return db.spaces.main.Count(lower, upper) }

// Len is Keyspace.Len of the default keyspace.
func (db *DB) Len() uint64 { return db.spaces.main.Len() }

// Modify is Keyspace.Modify of the default keyspace.
func (db *DB) Modify(ctx context.Context, keys [][]byte, d Durability, fn func(tx *Tx) error) (LSN, error) {
	return db.spaces.main.Modify(ctx, keys, d, fn)
}

// GetAll is Keyspace.GetAll of the default keyspace.
func (db *DB) GetAll(keys [][]byte, visit func(i int, value []byte, err error) error) error {
	return db.spaces.main.GetAll(keys, visit)
}

// Write is Keyspace.Write of the default keyspace.
func (db *DB) Write(ctx context.Context, d Durability, fn func(kv.Batch) error) error {
	return db.spaces.main.Write(ctx, d, fn)
}

// Update is Keyspace.Update of the default keyspace.
func (db *DB) Update(ctx context.Context, keys [][]byte, d Durability, fn func(kv.Tx) error) error {
	return db.spaces.main.Update(ctx, keys, d, fn)
}

// Clear is Keyspace.Clear of the default keyspace.
func (db *DB) Clear(ctx context.Context) error { return db.spaces.main.Clear(ctx) }
