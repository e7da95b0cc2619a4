//go:build lmdb && cgo

package engine

// #cgo LDFLAGS: -llmdb
// #include <stdlib.h>
// #include "lmdb_calls.h"
import "C"

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"
)

var lmdbNames = []string{"lmdb"}

func newLMDB() Engine { return lmdbEngine{} }

// lmdbEngine has no setting for memory: its pages are in the page cache. It is called
// through a few C functions of ours (lmdb_calls.h), so that an operation crosses from Go to C
// once.
type lmdbEngine struct{}

func (lmdbEngine) Name() string        { return "lmdb" }
func (lmdbEngine) Version() string     { return C.GoString(C.kv_version()) }
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

func lmdbError(code C.int) error {
	switch code {
	case 0:
		return nil
	case C.MDB_BAD_VALSIZE:
		return cannot("its keys are 511 bytes at most")
	}
	return fmt.Errorf("lmdb: %s", C.GoString(C.mdb_strerror(code)))
}

func (lmdbEngine) Open(dir string, m Mode) (DB, error) {
	path := C.CString(filepath.Join(dir, "data.mdb"))
	defer C.free(unsafe.Pointer(path))
	sync := C.int(0)
	if m.Sync {
		sync = 1
	}
	db := new(lmdbDB)
	if err := lmdbError(C.kv_open(path, sync, &db.store)); err != nil {
		return nil, err
	}
	return db, nil
}

type lmdbDB struct {
	store C.kv_store

	mu      sync.Mutex
	readers []*lmdbReader // whose transactions end with the store
}

// bytesOf is where b begins; C reads it only until the call returns.
func bytesOf(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

func (db *lmdbDB) Put(key, value []byte) error {
	return lmdbError(C.kv_put(&db.store, bytesOf(key), C.size_t(len(key)), bytesOf(value), C.size_t(len(value))))
}

func (db *lmdbDB) Delete(key []byte) error {
	return lmdbError(C.kv_delete(&db.store, bytesOf(key), C.size_t(len(key))))
}

func (db *lmdbDB) NewBatch() Batch { return &lmdbBatch{db: db} }

func (db *lmdbDB) NewReader() Reader {
	r := &lmdbReader{db: db}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.readers = append(db.readers, r)
	return r
}

func (db *lmdbDB) Settle(_ context.Context) error { return lmdbError(C.mdb_env_sync(db.store.env, 1)) }

func (db *lmdbDB) Close() error {
	for _, r := range db.readers {
		if r.txn != nil {
			C.mdb_txn_abort(r.txn)
		}
	}
	err := db.Settle(context.Background())
	C.mdb_env_close(db.store.env)
	return err
}

// A lmdbBatch is key and value of each write, both with their lengths before them.
type lmdbBatch struct {
	db     *lmdbDB
	bytes  []byte
	writes int
}

func (b *lmdbBatch) Put(key, value []byte) error {
	b.bytes = binary.NativeEndian.AppendUint32(b.bytes, uint32(len(key)))
	b.bytes = binary.NativeEndian.AppendUint32(b.bytes, uint32(len(value)))
	b.bytes = append(append(b.bytes, key...), value...)
	b.writes++
	return nil
}

func (b *lmdbBatch) Commit() error {
	err := lmdbError(C.kv_put_all(&b.db.store, bytesOf(b.bytes), C.size_t(b.writes)))
	b.bytes, b.writes = b.bytes[:0], 0
	return err
}

type lmdbReader struct {
	db  *lmdbDB
	txn *C.MDB_txn // reset between two keys
	sum uint64
}

func (r *lmdbReader) Get(key []byte) (found bool, err error) {
	if r.txn == nil {
		if err := lmdbError(C.kv_reader(&r.db.store, &r.txn)); err != nil {
			return false, err
		}
	}
	var sum C.uint64_t
	code := C.kv_get(&r.db.store, r.txn, bytesOf(key), C.size_t(len(key)), &sum)
	if code == C.MDB_NOTFOUND {
		return false, nil
	}
	r.sum += uint64(sum)
	return code == 0, lmdbError(code)
}

func (db *lmdbDB) NewIterator() (Iterator, error) {
	it := new(lmdbIterator)
	// What C keeps pointers to must not be of Go.
	it.chunk = (*C.kv_chunk)(C.calloc(1, C.sizeof_kv_chunk))
	if err := lmdbError(C.kv_cursor(&db.store, &it.cursor)); err != nil {
		C.free(unsafe.Pointer(it.chunk))
		return nil, err
	}
	return it, nil
}

// A lmdbIterator has some entries at a time from C, as many as its scan is likely to
// want. It walks in one direction after it was placed.
type lmdbIterator struct {
	cursor *C.MDB_cursor
	chunk  *C.kv_chunk
	at     int
	err    error
}

var errDirection = errors.New("lmdb: direction of a scan changed")

func (it *lmdbIterator) First() bool { return it.load(C.MDB_FIRST, nil) }
func (it *lmdbIterator) Last() bool  { return it.load(C.MDB_LAST, nil) }

func (it *lmdbIterator) SeekGE(key []byte) bool { return it.load(C.MDB_SET_RANGE, key) }

func (it *lmdbIterator) Next() bool { return it.step(C.MDB_NEXT) }
func (it *lmdbIterator) Prev() bool { return it.step(C.MDB_PREV) }

func (it *lmdbIterator) step(op C.MDB_cursor_op) bool {
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

func (it *lmdbIterator) load(op C.MDB_cursor_op, key []byte) bool {
	it.at = 0
	code := C.kv_load(it.cursor, op, bytesOf(key), C.size_t(len(key)), it.chunk)
	if code != C.MDB_NOTFOUND {
		it.err = lmdbError(code)
	}
	return it.err == nil && it.chunk.n > 0
}

func (it *lmdbIterator) Key() []byte   { return lmdbBytes(it.chunk.keys[it.at]) }
func (it *lmdbIterator) Value() []byte { return lmdbBytes(it.chunk.values[it.at]) }

// lmdbBytes is valid until the iterator is closed.
func lmdbBytes(v C.MDB_val) []byte { return unsafe.Slice((*byte)(v.mv_data), int(v.mv_size)) }

func (it *lmdbIterator) Close() error {
	C.kv_cursor_close(it.cursor)
	C.free(unsafe.Pointer(it.chunk))
	return it.err
}
