//go:build lmdb && cgo

package engine

import (
	"context"
	"errors"

	"faultline/cmd/kvbench/internal/lmdb"
)

var lmdbNames = []string{"lmdb"}

func newLMDB() Engine { return lmdbEngine{} }

// lmdbEngine has no setting for memory: its pages are in the page cache.
type lmdbEngine struct{}

func (lmdbEngine) Name() string        { return "lmdb" }
func (lmdbEngine) Version() string     { return lmdb.Version() }
func (lmdbEngine) OffHeapBytes() int64 { return 0 }
func (lmdbEngine) Survives() bool      { return true }

func (lmdbEngine) Settings() []string {
	return []string{
		"no setting for memory: the page cache is its memory; a map of 64 GiB, without MDB_WRITEMAP, MDB_NOTLS",
		"settled by mdb_env_sync",
		"not synced: MDB_NOSYNC, a transaction for each put, handed to the kernel before the call returns, survives SIGKILL",
		"synced: a transaction for each put, fdatasync and a synced write of the meta page before the call returns; writers take turns",
		"one crossing from Go to C an operation, 64 entries of a scan; readrandom: the transaction is renewed for each key, the value is read in place",
	}
}

func (lmdbEngine) Open(dir string, m Mode) (DB, error) {
	db, err := lmdb.Open(dir, m.Sync)
	if err != nil {
		return nil, err
	}
	return lmdbDB{db}, nil
}

type lmdbDB struct{ *lmdb.DB }

func (db lmdbDB) Put(key, value []byte) error    { return orCannot(db.DB.Put(key, value)) }
func (db lmdbDB) NewBatch() Batch                { return lmdbBatch{db.DB.NewBatch()} }
func (db lmdbDB) NewReader() Reader              { return lmdbReader{db.DB.NewReader()} }
func (db lmdbDB) NewIterator() (Iterator, error) { return db.DB.NewIterator() }
func (db lmdbDB) Settle(_ context.Context) error { return db.Sync() }

// orCannot says of a key that is too long that the engine does not take it.
func orCannot(err error) error {
	if errors.Is(err, lmdb.ErrKeySize) {
		return cannot(err.Error())
	}
	return err
}

type lmdbBatch struct{ *lmdb.Batch }

func (b lmdbBatch) Commit() error { return orCannot(b.Batch.Commit()) }

type lmdbReader struct{ *lmdb.Reader }

func (r lmdbReader) Get(key []byte) (bool, error) {
	found, err := r.Reader.Get(key)
	return found, orCannot(err)
}
