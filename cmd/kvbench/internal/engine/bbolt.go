package engine

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	boltErrors "go.etcd.io/bbolt/errors"
)

// bboltEngine has no setting for memory: its pages are in the page cache, and
// the cgroup of its process bounds that.
type bboltEngine struct{}

func (bboltEngine) Name() string        { return "bbolt" }
func (bboltEngine) Version() string     { return moduleVersion("go.etcd.io/bbolt") }
func (bboltEngine) OffHeapBytes() int64 { return 0 }
func (bboltEngine) Survives() bool      { return true }

func (bboltEngine) Settings() []string {
	return []string{
		"no setting for memory: the page cache of its cgroup is its memory; freelist in a map, written when the store is closed",
		"settled by fdatasync",
		"not synced: NoSync, an Update for each put, handed to the kernel before the call returns, survives SIGKILL",
		"synced: an Update for each put, with several writers a Batch of up to as many; two fdatasyncs before the call returns",
		"readrandom: a View and Bucket.Get for each key; readseq: a Cursor",
	}
}

// bucketName is of the one bucket that all keys are in.
var bucketName = []byte("k")

func (bboltEngine) Open(dir string, m Mode) (DB, error) {
	db, err := bolt.Open(filepath.Join(dir, "bolt.db"), 0o600, &bolt.Options{
		NoSync: !m.Sync, NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	b := &bboltDB{db: db, together: m.Sync && m.Writers > 1}
	if b.together {
		db.MaxBatchSize = m.Writers
		db.MaxBatchDelay = batchDelay
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketName) == nil {
			return boltErrors.ErrBucketNotFound
		}
		return nil
	})
	if errors.Is(err, boltErrors.ErrBucketNotFound) {
		err = b.update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket(bucketName)
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return b, nil
}

// batchDelay is how long a synced write waits for others of its transaction; when
// all writers are there it begins at once.
const batchDelay = 2 * time.Millisecond

type bboltDB struct {
	db       *bolt.DB
	together bool // writers share transactions
	written  atomic.Bool
}

func (b *bboltDB) update(f func(*bolt.Tx) error) error {
	if !b.written.Load() {
		b.written.Store(true)
	}
	if b.together {
		return b.db.Batch(f)
	}
	return b.db.Update(f)
}

func (b *bboltDB) Put(key, value []byte) error {
	return b.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketName).Put(key, value) })
}

func (b *bboltDB) Delete(key []byte) error {
	return b.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketName).Delete(key) })
}

func (b *bboltDB) NewBatch() Batch                { return &bboltBatch{db: b} }
func (b *bboltDB) NewReader() Reader              { return &bboltReader{db: b.db} }
func (b *bboltDB) Settle(_ context.Context) error { return b.db.Sync() }

func (b *bboltDB) NewIterator() (Iterator, error) {
	tx, err := b.db.Begin(false)
	if err != nil {
		return nil, err
	}
	return &bboltIterator{tx: tx, cursor: tx.Bucket(bucketName).Cursor()}, nil
}

// Close writes the free list too, if there is a new one: without it the next
// Open reads the whole tree.
func (b *bboltDB) Close() error {
	var err error
	if b.written.Load() {
		b.db.NoFreelistSync = false
		err = errors.Join(b.db.Update(func(*bolt.Tx) error { return nil }), b.db.Sync())
	}
	return errors.Join(err, b.db.Close())
}

// A bboltBatch keeps its writes in memory of its own until they are committed,
// so that the transaction is as short as it can be.
type bboltBatch struct {
	db     *bboltDB
	bytes  []byte
	writes []bboltWrite
}

// A bboltWrite is where key and value begin and end in a batch's bytes.
type bboltWrite struct{ key, value, end int }

func (b *bboltBatch) Put(key, value []byte) error {
	at := len(b.bytes)
	b.bytes = append(append(b.bytes, key...), value...)
	b.writes = append(b.writes, bboltWrite{at, at + len(key), len(b.bytes)})
	return nil
}

func (b *bboltBatch) Commit() error {
	err := b.db.update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketName)
		for _, w := range b.writes {
			if err := bucket.Put(b.bytes[w.key:w.value], b.bytes[w.value:w.end]); err != nil {
				return err
			}
		}
		return nil
	})
	// bbolt refers to keys and values only until the commit.
	b.bytes, b.writes = b.bytes[:0], b.writes[:0]
	return err
}

type bboltReader struct {
	db  *bolt.DB
	sum uint64
}

func (r *bboltReader) Get(key []byte) (found bool, err error) {
	err = r.db.View(func(tx *bolt.Tx) error {
		value := tx.Bucket(bucketName).Get(key)
		found = value != nil
		r.sum += Touch(value)
		return nil
	})
	return found, err
}

type bboltIterator struct {
	tx         *bolt.Tx
	cursor     *bolt.Cursor
	key, value []byte
}

func (it *bboltIterator) First() bool            { return it.at(it.cursor.First()) }
func (it *bboltIterator) Last() bool             { return it.at(it.cursor.Last()) }
func (it *bboltIterator) Prev() bool             { return it.at(it.cursor.Prev()) }
func (it *bboltIterator) SeekGE(key []byte) bool { return it.at(it.cursor.Seek(key)) }
func (it *bboltIterator) Next() bool             { return it.at(it.cursor.Next()) }
func (it *bboltIterator) Key() []byte            { return it.key }
func (it *bboltIterator) Value() []byte          { return it.value }
func (it *bboltIterator) Close() error           { return it.tx.Rollback() }

func (it *bboltIterator) at(key, value []byte) bool {
	it.key, it.value = key, value
	return key != nil
}
