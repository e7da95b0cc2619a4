// Package engine makes key-value stores alike, so that one program can measure
// them: Faultline, Pebble, bbolt, LMDB (build tag lmdb), and servers that speak the
// protocol of Redis; beside them a bare log, which bounds what a store can do.
//
// What an engine cannot do returns a CannotError. Nothing is done in its place.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A Setup says what an engine gets.
type Setup struct {
	MemoryBytes    int64  // of caches and buffers together
	PebbleCache    int64  // bytes, 0 = MemoryBytes
	PebbleMemTable uint64 // bytes, 0 = Pebble's default
	PebbleBloom    bool
	RedisAddr      string // host:port, or the path of a socket
}

// Embedded are the engines that keep a store in a directory, in this process.
var Embedded = append([]string{"faultline", "pebble", "bbolt"}, lmdbNames...)

// Names are all engines that there are.
var Names = append(slices.Clone(Embedded), "rawlog", "redis")

// CheckNames returns what is wrong with a list of engines, of which there are these.
func CheckNames(names, have []string) error {
	if len(names) == 0 {
		return fmt.Errorf("no engine: have %s", strings.Join(have, ", "))
	}
	for i, name := range names {
		switch {
		case slices.Contains(names[:i], name):
			return fmt.Errorf("engine %s is named twice", name)
		case slices.Contains(have, name):
		case name == "lmdb":
			return errors.New("engine lmdb is not in this build: build with cgo, LMDB's header (Debian: liblmdb-dev) and -tags lmdb")
		default:
			return fmt.Errorf("unknown engine %q: have %s", name, strings.Join(have, ", "))
		}
	}
	return nil
}

// New returns the engine of that name.
func New(name string, s Setup) Engine {
	switch name {
	case "faultline":
		return faultline{s.MemoryBytes}
	case "pebble":
		return pebbleEngine{cmp.Or(s.PebbleCache, s.MemoryBytes), s.PebbleMemTable, s.PebbleBloom}
	case "bbolt":
		return bboltEngine{}
	case "lmdb":
		return newLMDB()
	case "rawlog":
		return rawLog{}
	case "redis":
		return &redisEngine{addr: s.RedisAddr}
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
	Open(dir string, m Mode) (DB, error)
}

// A Mode is what a store is opened for.
type Mode struct {
	// Sync has each write on disk when it returns. Without it a write returns as soon
	// as the engine lets it.
	Sync bool
	// Writers is how many clients may write at once, 0 as 1.
	Writers int
}

// A Remote is an Engine whose store is not in a directory here, but in another
// process: it cannot be copied, nor killed. Open of an empty directory makes the
// store empty.
type Remote interface {
	// Reach returns an error if the store cannot be used.
	Reach(ctx context.Context) error
}

// A DB is an open store. Its methods are safe for concurrent use; what they
// return belongs to one client.
type DB interface {
	Put(key, value []byte) error
	// Delete removes a key, if it is there.
	Delete(key []byte) error
	NewBatch() Batch
	NewReader() Reader
	NewIterator() (Iterator, error)
	// Settle does all work that earlier writes have left for later.
	Settle(ctx context.Context) error
	Close() error
}

// A Lener is a DB that can count its keys without an Iterator.
type Lener interface {
	Len() (int, error)
}

// A CPUTimer is a DB that is in another process, of which it tells how long it has used
// the processor.
type CPUTimer interface {
	CPUTime() (time.Duration, error)
}

// A Counter is a DB that counts its background work.
type Counter interface {
	// Rounds returns how many times it has written out what it gathered in memory:
	// flush rounds of Faultline, flushes of a memtable of Pebble.
	Rounds() uint64
}

// RoundsOf returns what counts the background work of db; it stays 0 where nothing does.
func RoundsOf(db DB) func() uint64 {
	if counter, ok := db.(Counter); ok {
		return counter.Rounds
	}
	return func() uint64 { return 0 }
}

// A Checker is a DB that can compare itself with itself.
type Checker interface {
	Check(ctx context.Context) error
}

// A Batch is writes that are committed together.
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
	Last() bool
	SeekGE(key []byte) bool
	Next() bool
	Prev() bool
	Key() []byte
	Value() []byte
	Close() error
}

// A CannotError says what an engine cannot do. It wraps errors.ErrUnsupported.
type CannotError struct{ Why string }

func (e *CannotError) Error() string { return e.Why }
func (e *CannotError) Unwrap() error { return errors.ErrUnsupported }

func cannot(why string) error { return &CannotError{why} }

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
