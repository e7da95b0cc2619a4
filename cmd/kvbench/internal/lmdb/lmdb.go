//go:build lmdb && cgo

package lmdb

// #cgo LDFLAGS: -llmdb
// #include <stdlib.h>
// #include "calls.h"
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"
)

// ErrKeySize is returned for a key that LMDB as it is built does not take.
var ErrKeySize = errors.New("keys are 511 bytes at most")

// Version is LMDB's.
func Version() string { return C.GoString(C.kv_version()) }

func toError(code C.int) error {
	switch code {
	case 0:
		return nil
	case C.MDB_BAD_VALSIZE:
		return ErrKeySize
	}
	return fmt.Errorf("lmdb: %s", C.GoString(C.mdb_strerror(code)))
}

// A DB is an open store. Its methods are safe for concurrent use.
type DB struct {
	store C.kv_store

	mu      sync.Mutex
	readers []*Reader // whose transactions end with the store
}

// Open opens the store in dir, and makes one if there is none. Synced, each write is on disk
// when it returns.
func Open(dir string, synced bool) (*DB, error) {
	path := C.CString(filepath.Join(dir, "data.mdb"))
	defer C.free(unsafe.Pointer(path))
	flag := C.int(0)
	if synced {
		flag = 1
	}
	db := new(DB)
	if err := toError(C.kv_open(path, flag, &db.store)); err != nil {
		return nil, err
	}
	return db, nil
}

// bytesOf is where b begins; C reads it only until the call returns.
func bytesOf(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

// Put sets key to value, in a transaction of its own.
func (db *DB) Put(key, value []byte) error {
	return toError(C.kv_put(&db.store, bytesOf(key), C.size_t(len(key)), bytesOf(value), C.size_t(len(value))))
}

// Delete removes a key, if it is there.
func (db *DB) Delete(key []byte) error {
	return toError(C.kv_delete(&db.store, bytesOf(key), C.size_t(len(key))))
}

// NewBatch returns a batch, which belongs to one goroutine.
func (db *DB) NewBatch() *Batch { return &Batch{db: db} }

// NewReader returns a reader, which belongs to one goroutine and ends with the store.
func (db *DB) NewReader() *Reader {
	r := &Reader{db: db}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.readers = append(db.readers, r)
	return r
}

// Sync has all that was written on disk.
func (db *DB) Sync() error { return toError(C.mdb_env_sync(db.store.env, 1)) }

// Close syncs the store and closes it.
func (db *DB) Close() error {
	for _, r := range db.readers {
		if r.txn != nil {
			C.mdb_txn_abort(r.txn)
		}
	}
	err := db.Sync()
	C.mdb_env_close(db.store.env)
	return err
}

// A Batch is writes of one transaction: key and value of each, both with their lengths
// before them.
type Batch struct {
	db     *DB
	bytes  []byte
	writes int
}

// Put adds a write; it copies key and value.
func (b *Batch) Put(key, value []byte) error {
	b.bytes = binary.NativeEndian.AppendUint32(b.bytes, uint32(len(key)))
	b.bytes = binary.NativeEndian.AppendUint32(b.bytes, uint32(len(value)))
	b.bytes = append(append(b.bytes, key...), value...)
	b.writes++
	return nil
}

// Commit writes the batch and empties it.
func (b *Batch) Commit() error {
	err := toError(C.kv_put_all(&b.db.store, bytesOf(b.bytes), C.size_t(b.writes)))
	b.bytes, b.writes = b.bytes[:0], 0
	return err
}

// A Reader gets keys. It renews one transaction for each.
type Reader struct {
	db  *DB
	txn *C.MDB_txn // reset between two keys
	sum uint64
}

// Get reads every cache line of the value, where it lies.
func (r *Reader) Get(key []byte) (found bool, err error) {
	if r.txn == nil {
		if err := toError(C.kv_reader(&r.db.store, &r.txn)); err != nil {
			return false, err
		}
	}
	var sum C.uint64_t
	code := C.kv_get(&r.db.store, r.txn, bytesOf(key), C.size_t(len(key)), &sum)
	if code == C.MDB_NOTFOUND {
		return false, nil
	}
	r.sum += uint64(sum)
	return code == 0, toError(code)
}

// NewIterator returns an iterator, which belongs to one goroutine.
func (db *DB) NewIterator() (*Iterator, error) {
	it := new(Iterator)
	// What C keeps pointers to must not be of Go.
	it.chunk = (*C.kv_chunk)(C.calloc(1, C.sizeof_kv_chunk))
	if err := toError(C.kv_cursor(&db.store, &it.cursor)); err != nil {
		C.free(unsafe.Pointer(it.chunk))
		return nil, err
	}
	return it, nil
}

// An Iterator has some entries at a time from C, as many as its scan is likely to
// want. It walks in one direction after it was placed.
type Iterator struct {
	cursor *C.MDB_cursor
	chunk  *C.kv_chunk
	at     int
	err    error
}

var errDirection = errors.New("lmdb: direction of a scan changed")

// First, Last and SeekGE place the iterator, Next and Prev move it; all tell whether there
// is an entry.
func (it *Iterator) First() bool { return it.load(C.MDB_FIRST, nil) }
func (it *Iterator) Last() bool  { return it.load(C.MDB_LAST, nil) }

func (it *Iterator) SeekGE(key []byte) bool { return it.load(C.MDB_SET_RANGE, key) }

func (it *Iterator) Next() bool { return it.step(C.MDB_NEXT) }
func (it *Iterator) Prev() bool { return it.step(C.MDB_PREV) }

func (it *Iterator) step(op C.MDB_cursor_op) bool {
	if it.chunk.then != op && it.err == nil {
		it.err = errDirection
	}
	if it.err != nil {
		return false
	}
	if it.at++; it.at < int(it.chunk.n) {
		return true
	}
	return it.chunk.n == C.KV_CHUNK && it.load(op, nil)
}

func (it *Iterator) load(op C.MDB_cursor_op, key []byte) bool {
	it.at = 0
	code := C.kv_load(it.cursor, op, bytesOf(key), C.size_t(len(key)), it.chunk)
	if code != C.MDB_NOTFOUND {
		it.err = toError(code)
	}
	return it.err == nil && it.chunk.n > 0
}

// Key and Value are valid until the iterator is closed.
func (it *Iterator) Key() []byte   { return bytesAt(it.chunk.keys[it.at]) }
func (it *Iterator) Value() []byte { return bytesAt(it.chunk.values[it.at]) }

func bytesAt(v C.MDB_val) []byte { return unsafe.Slice((*byte)(v.mv_data), int(v.mv_size)) }

// Close returns the error that ended an iteration early.
func (it *Iterator) Close() error {
	C.kv_cursor_close(it.cursor)
	C.free(unsafe.Pointer(it.chunk))
	return it.err
}
