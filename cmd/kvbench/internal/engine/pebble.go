package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/dustin/go-humanize"
)

// bloomBitsPerKey is what CockroachDB uses.
const bloomBitsPerKey = 10

type pebbleEngine struct {
	cacheBytes    int64
	memTableBytes uint64 // 0 = Pebble's default
	bloom         bool
}

func (pebbleEngine) Name() string    { return "pebble" }
func (pebbleEngine) Version() string { return moduleVersion("github.com/cockroachdb/pebble/v2") }

// OffHeapBytes says that a cgo build of Pebble keeps its cache and its memtables
// in C's heap (pebble/internal/manual).
func (e pebbleEngine) OffHeapBytes() int64 {
	if usesCgo {
		return e.cacheBytes
	}
	return 0
}

func (pebbleEngine) Survives() bool { return false }

// options returns the options of a store. Pebble takes the memory of its
// memtables out of its block cache (pebble.DB.newMemTable, Cache.Reserve), so a
// cache of the whole budget makes the sum of both the budget. What malloc and
// Go's heap add to that is another matter: see Setup.PebbleCache.
func (e pebbleEngine) options() *pebble.Options {
	o := &pebble.Options{
		CacheSize:          e.cacheBytes,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             silent{},
		MemTableSize:       e.memTableBytes,
	}
	if e.bloom {
		for i := range o.Levels {
			o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
		}
	}
	o.EnsureDefaults()
	return o
}

func (e pebbleEngine) Settings() []string {
	o := e.options()
	var compression []string
	for i := range o.Levels {
		compression = append(compression, o.Levels[i].Compression().Name)
	}
	minCompactions, maxCompactions := o.CompactionConcurrencyRange()
	filter := "none"
	if e.bloom {
		filter = fmt.Sprintf("bloom of %d bits a key", bloomBitsPerKey)
	}
	return []string{
		fmt.Sprintf("block cache %s, memtables taken out of it (Cache.Reserve); filter %s; FormatMajorVersion %d, the newest",
			humanize.IBytes(uint64(o.CacheSize)), filter, uint64(o.FormatMajorVersion)),
		fmt.Sprintf("MemTableSize %s%s", humanize.IBytes(o.MemTableSize), e.memTableOrigin()),
		fmt.Sprintf("by default: MemTableStopWritesThreshold %d, L0CompactionThreshold %d, L0StopWritesThreshold %d, LBaseMaxBytes %s, BlockSize %s, compression %s, compactions at once %d to %d",
			o.MemTableStopWritesThreshold, o.L0CompactionThreshold, o.L0StopWritesThreshold,
			humanize.IBytes(uint64(o.LBaseMaxBytes)), humanize.IBytes(uint64(o.Levels[0].BlockSize)),
			strings.Join(slices.Compact(compression), ", "), minCompactions, maxCompactions),
		"settled by Flush and waiting until no compaction runs",
		"not synced: NoSync, may still be in process memory when the call returns, lost on SIGKILL",
		"synced: Sync, fdatasync before the call returns",
		"readrandom: Get without a copy, then Close",
	}
}

func (e pebbleEngine) memTableOrigin() string {
	if e.memTableBytes == 0 {
		return ", the default"
	}
	return ", not the default"
}

func (e pebbleEngine) Open(dir string, m Mode) (DB, error) {
	return openPebble(dir, e.options(), m)
}

func openPebble(dir string, o *pebble.Options, m Mode) (*pebbleDB, error) {
	db := &pebbleDB{durability: pebble.NoSync}
	if m.Sync {
		db.durability = pebble.Sync
	}
	db.room.watch(dir, o, m.Writers)
	var err error
	if db.DB, err = pebble.Open(dir, o); err != nil {
		return nil, err
	}
	return db, nil
}

type pebbleDB struct {
	*pebble.DB
	durability *pebble.WriteOptions
	room       room
}

func (db *pebbleDB) Put(key, value []byte) error {
	if err := db.room.take(len(key) + len(value)); err != nil {
		return err
	}
	return db.Set(key, value, db.durability)
}

func (db *pebbleDB) Delete(key []byte) error {
	if err := db.room.take(len(key)); err != nil {
		return err
	}
	return db.DB.Delete(key, db.durability)
}

func (db *pebbleDB) NewBatch() Batch   { return &pebbleBatch{db, db.DB.NewBatch()} }
func (db *pebbleDB) NewReader() Reader { return &pebbleReader{db: db.DB} }

func (db *pebbleDB) Rounds() uint64 { return uint64(db.Metrics().Flush.Count) }

func (db *pebbleDB) NewIterator() (Iterator, error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	return it, nil
}

// A compaction that ends starts the next one; only a longer quiet means that
// none is left.
const (
	quietEvery = 10 * time.Millisecond
	quietTimes = 10
)

// Settle writes the memtable out and waits for all compactions.
func (db *pebbleDB) Settle(ctx context.Context) error {
	if err := db.Flush(); err != nil {
		return err
	}
	tick := time.NewTicker(quietEvery)
	defer tick.Stop()
	for quiet := 0; quiet < quietTimes; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		quiet++
		if m := db.Metrics(); m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0 {
			quiet = 0
		}
		if err := db.room.take(0); err != nil {
			return err
		}
	}
	return nil
}

type pebbleBatch struct {
	db    *pebbleDB
	batch *pebble.Batch
}

func (b *pebbleBatch) Put(key, value []byte) error { return b.batch.Set(key, value, nil) }

func (b *pebbleBatch) Commit() error {
	if err := b.db.room.take(b.batch.Len()); err != nil {
		return err
	}
	err := b.batch.Commit(b.db.durability)
	b.batch.Reset()
	return err
}

type pebbleReader struct {
	db  *pebble.DB
	sum uint64
}

func (r *pebbleReader) Get(key []byte) (found bool, err error) {
	value, closer, err := r.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.sum += Touch(value)
	return true, closer.Close()
}

// silent is a logger that says nothing; a fatal error still ends the process.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic("pebble: " + fmt.Sprintf(format, args...))
}
