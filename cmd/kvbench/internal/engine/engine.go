// Package engine makes ordered key-value stores alike, so that one program can
// measure them: Faultline, Pebble, and bbolt.
package engine

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"strings"
)

// A Setup says what an engine gets.
type Setup struct {
	MemoryBytes    int64  // of caches and buffers together
	PebbleCache    int64  // bytes, 0 = MemoryBytes
	PebbleMemTable uint64 // bytes, 0 = Pebble's default
	PebbleBloom    bool
}

// Names are the engines that there are.
var Names = []string{"faultline", "pebble", "bbolt"}

// New returns the engine of that name.
func New(name string, s Setup) Engine {
	switch name {
	case "faultline":
		return faultline{s.MemoryBytes}
	case "pebble":
		return pebbleEngine{cmp.Or(s.PebbleCache, s.MemoryBytes), s.PebbleMemTable, s.PebbleBloom}
	case "bbolt":
		return bboltEngine{}
	}
	panic(fmt.Sprintf("engine: unknown engine %q", name)) // of Names it is none
}

// An Engine is a kind of store, set up for a run.
type Engine interface {
	Name() string
	Version() string
	// Settings says in words how the engine is set up, one fact a line.
	Settings() []string
	// OffHeapBytes is the part of its memory that Go's heap does not hold.
	OffHeapBytes() int64
	// Survives tells whether an unsynced write that was acknowledged outlives the
	// process.
	Survives() bool
	// Open opens the store in dir, which exists, and makes one if it is empty.
	Open(dir string) (DB, error)
}

// A DB is an open store. Its methods are safe for concurrent use; what they
// return belongs to one client.
type DB interface {
	// Put returns once the write is on disk (sync) or as soon as the engine
	// lets it (not sync).
	Put(key, value []byte, sync bool) error
	NewBatch() Batch
	NewReader() Reader
	NewIterator() (Iterator, error)
	// Settle does all work that earlier writes have left for later.
	Settle(ctx context.Context) error
	Close() error
}

// A Counter is a DB that counts its background work.
type Counter interface {
	// Rounds returns how many times it has written out what it gathered in memory:
	// flush rounds of Faultline, flushes of a memtable of Pebble.
	Rounds() uint64
}

// A Checker is a DB that can compare itself with itself.
type Checker interface {
	Check(ctx context.Context) error
}

// A Batch is writes that are committed together, unsynced.
type Batch interface {
	Put(key, value []byte) error
	// Commit writes the batch and empties it.
	Commit() error
}

// A Reader gets single keys in the way that copies least, and reads every cache
// line of the value.
type Reader interface {
	Get(key []byte) (found bool, err error)
}

// An Iterator has the methods that Pebble's and Faultline's share, so that
// neither is called through a wrapper. Close returns the error that ended an
// iteration early.
type Iterator interface {
	First() bool
	SeekGE(key []byte) bool
	Next() bool
	Key() []byte
	Value() []byte
	Close() error
}

// cacheLineBytes is the distance at which a value is read.
const cacheLineBytes = 64

// Touch reads a byte of every cache line of b.
func Touch(b []byte) (sum uint64) {
	for i := 0; i < len(b); i += cacheLineBytes {
		sum += uint64(b[i])
	}
	return sum
}

// moduleVersion returns the version of a module in this binary.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == path {
		return mainVersion(info)
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "unknown"
}

// mainVersion returns the version of the main module, or the commit that it was
// built from.
func mainVersion(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if revision == "" {
		return "devel"
	}
	return strings.Join([]string{"devel-", revision, dirty}, "")
}
