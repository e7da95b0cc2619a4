package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.etcd.io/bbolt"

	"faultline/store"
)

// A peer is a store, opened in some way.
type peer struct {
	name string
	open func(dir string) (db, error)
}

// A db is what all of them can do.
type db interface {
	// Put returns when the write is durable.
	Put(key, value []byte) error
	// Get returns nil if there is no such key.
	Get(key []byte) ([]byte, error)
	// Walk calls fn for every key in order.
	Walk(fn func(key, value []byte)) error
	// Close leaves a store that needs no recovery.
	Close() error
}

// peers have the options that are the defaults, and then those that find more.
var peers = []peer{
	{"Faultline", openFaultline},
	{"Pebble v2.1.7", func(dir string) (db, error) {
		return openPebble(dir, pebble.FormatDefault)
	}},
	{"Pebble v2.1.7, FormatNewest", func(dir string) (db, error) {
		return openPebble(dir, pebble.FormatNewest)
	}},
	{"bbolt v1.5.0", func(dir string) (db, error) { return openBolt(dir) }},
	{"bbolt v1.5.0, Tx.Check after Open", openCheckedBolt},
	{"Badger v4.9.6, SyncWrites", func(dir string) (db, error) {
		return openBadger(badger.DefaultOptions(dir))
	}},
	{"Badger v4.9.6, SyncWrites, all verification", openCheckedBadger},
}

type faultlineDB struct{ *store.DB }

func openFaultline(dir string) (db, error) {
	s, err := store.Open(dir, &store.Options{MemoryBudget: 64 << 20}) // the whole machine's half is of no use here
	return faultlineDB{s}, err
}

func (d faultlineDB) Put(key, value []byte) error { return d.DB.Put(key, value, store.Sync) }

func (d faultlineDB) Get(key []byte) ([]byte, error) {
	v, err := d.DB.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return v, err
}

func (d faultlineDB) Walk(fn func(key, value []byte)) error {
	for item, err := range d.All() {
		if err != nil {
			return err
		}
		fn(item.Key, item.Value)
	}
	return nil
}

type pebbleDB struct{ *pebble.DB }

// quiet logs nothing, and ends the process where Pebble's own logger does.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) { os.Exit(1) }

func openPebble(dir string, format pebble.FormatMajorVersion) (db, error) {
	d, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}, FormatMajorVersion: format})
	return pebbleDB{d}, err
}

func (d pebbleDB) Put(key, value []byte) error { return d.Set(key, value, pebble.Sync) }

func (d pebbleDB) Get(key []byte) ([]byte, error) {
	v, closer, err := d.DB.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return bytes.Clone(v), closer.Close()
}

func (d pebbleDB) Walk(fn func(key, value []byte)) error {
	it, err := d.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		fn(it.Key(), v)
	}
	return it.Close()
}

// Close flushes first: Pebble's own Close leaves a small store in its log.
func (d pebbleDB) Close() error { return errors.Join(d.Flush(), d.DB.Close()) }

type boltDB struct{ *bbolt.DB }

var bucket = []byte("bucket")

func openBolt(dir string) (boltDB, error) {
	d, err := bbolt.Open(filepath.Join(dir, "db"), 0o600, &bbolt.Options{Timeout: time.Second})
	return boltDB{d}, err
}

// openCheckedBolt looks for contradictions in the whole file, as `bbolt check` does.
func openCheckedBolt(dir string) (db, error) {
	d, err := openBolt(dir)
	if err != nil {
		return nil, err
	}
	return d, d.View(func(tx *bbolt.Tx) (first error) {
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}

func (d boltDB) Put(key, value []byte) error {
	return d.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return b.Put(key, value)
	})
}

// in runs fn on the bucket; one that is not there is empty.
func (d boltDB) in(fn func(b *bbolt.Bucket) error) error {
	return d.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucket); b != nil {
			return fn(b)
		}
		return nil
	})
}

func (d boltDB) Get(key []byte) (value []byte, err error) {
	err = d.in(func(b *bbolt.Bucket) error {
		value = bytes.Clone(b.Get(key))
		return nil
	})
	return value, err
}

func (d boltDB) Walk(fn func(key, value []byte)) error {
	return d.in(func(b *bbolt.Bucket) error {
		return b.ForEach(func(key, value []byte) error {
			fn(key, value)
			return nil
		})
	})
}

type badgerDB struct{ *badger.DB }

func openBadger(o badger.Options) (db, error) {
	d, err := badger.Open(o.WithSyncWrites(true).WithLogger(nil))
	return badgerDB{d}, err
}

// openCheckedBadger has Badger verify what it can: values in the value log, blocks of
// tables as they are opened and read, and all tables after Open.
func openCheckedBadger(dir string) (db, error) {
	d, err := openBadger(badger.DefaultOptions(dir).
		WithVerifyValueChecksum(true).
		WithChecksumVerificationMode(options.OnTableAndBlockRead))
	if err != nil {
		return nil, err
	}
	return d, d.(badgerDB).VerifyChecksum()
}

func (d badgerDB) Put(key, value []byte) error {
	return d.Update(func(tx *badger.Txn) error { return tx.Set(key, value) })
}

func (d badgerDB) Get(key []byte) (value []byte, err error) {
	err = d.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err == nil {
			value, err = item.ValueCopy(nil)
		}
		return err
	})
	return value, err
}

func (d badgerDB) Walk(fn func(key, value []byte)) error {
	return d.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			if err := item.Value(func(v []byte) error { fn(item.Key(), v); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}
