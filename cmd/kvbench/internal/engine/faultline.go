package engine

import (
	"context"
	"errors"

	"faultline/store"

	"github.com/dustin/go-humanize"
)

type faultline struct{ memoryBytes int64 }

func (faultline) Name() string    { return "faultline" }
func (faultline) Version() string { return moduleVersion("faultline") }

func (e faultline) OffHeapBytes() int64 { return e.memoryBytes }
func (faultline) Survives() bool        { return true }

func (e faultline) Settings() []string {
	return []string{
		"memory budget " + humanize.IBytes(uint64(e.memoryBytes)) + ", other options default",
		"settled by Checkpoint",
		"not synced: store.Async, handed to the kernel before the call returns, survives SIGKILL",
		"synced: store.Sync, fdatasync before the call returns",
		"readrandom: AppendGet into a buffer of the client",
	}
}

func (e faultline) Open(dir string, m Mode) (DB, error) {
	db, err := store.Open(dir, &store.Options{MemoryBudget: e.memoryBytes})
	if err != nil {
		return nil, err
	}
	d := store.Async
	if m.Sync {
		d = store.Sync
	}
	return &faultlineDB{db, d}, nil
}

type faultlineDB struct {
	*store.DB
	durability store.Durability
}

func (db *faultlineDB) Put(key, value []byte) error { return db.DB.Put(key, value, db.durability) }
func (db *faultlineDB) Delete(key []byte) error     { return db.DB.Delete(key, db.durability) }

func (db *faultlineDB) NewBatch() Batch                  { return &faultlineBatch{db: db} }
func (db *faultlineDB) NewReader() Reader                { return &faultlineReader{db: db.DB} }
func (db *faultlineDB) Settle(ctx context.Context) error { return db.Checkpoint(ctx) }

func (db *faultlineDB) Rounds() uint64 { return db.Metrics().Flush.Rounds }

func (db *faultlineDB) Check(ctx context.Context) error {
	_, err := db.Verify(ctx)
	return err
}

func (db *faultlineDB) NewIterator() (Iterator, error) {
	it, err := db.DB.NewIterator(nil)
	if err != nil {
		return nil, err
	}
	return it, nil
}

type faultlineBatch struct {
	db    *faultlineDB
	batch store.Batch
}

func (b *faultlineBatch) Put(key, value []byte) error { return b.batch.Put(key, value) }

func (b *faultlineBatch) Commit() error {
	_, err := b.db.Apply(&b.batch, b.db.durability)
	b.batch.Reset()
	return err
}

type faultlineReader struct {
	db  *store.DB
	buf []byte
	sum uint64
}

func (r *faultlineReader) Get(key []byte) (found bool, err error) {
	value, err := r.db.AppendGet(r.buf[:0], key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.buf = value
	r.sum += Touch(value)
	return true, nil
}
