package store

import (
	"errors"

	"faultline/internal/disk"
	"faultline/kv"
)

// Errors that the client of a server can meet too are those of package kv.
var (
	// ErrNotFound is returned for a key that is not there.
	ErrNotFound = kv.ErrNotFound

	// ErrEmptyKey is returned for a key of no bytes.
	ErrEmptyKey = kv.ErrEmptyKey

	// ErrTooLarge is wrapped by the error for a key, an entry or a batch past
	// its limit: MaxKeyBytes, MaxEntryBytes, MaxBatchBytes. Nothing has changed.
	ErrTooLarge = kv.ErrTooLarge

	// ErrFull is wrapped by the error of a write, or of Open, that needs more pages than
	// the memory budget allows for; the text has the budget that would do. Nothing has
	// changed; deletes make room.
	ErrFull = kv.ErrFull

	// ErrBudget is wrapped by the error of Open for a memory budget that the store
	// cannot work with; the text has the smallest one that it can.
	ErrBudget = errors.New("memory budget too small")

	// ErrNoSpace is wrapped by the error of a write for which the disk has no room; it
	// wraps syscall.ENOSPC. Nothing has changed, reads go on, and so do writes once there
	// is room. Deletes, and puts that need no new page, go on as far as they can.
	ErrNoSpace = kv.ErrNoSpace

	// ErrReadOnly is returned by a write to a store that was opened ReadOnly.
	ErrReadOnly = kv.ErrReadOnly

	// ErrClosed is returned by whatever is called after Close.
	ErrClosed = kv.ErrClosed

	// ErrLocked is wrapped by the error of Open if another process has the
	// store; the text has its pid.
	ErrLocked = disk.ErrLocked

	// ErrNotStore is wrapped by the error of Open for a directory that has other
	// files in it than a store's.
	ErrNotStore = errors.New("not a faultline store")

	// ErrNoKeyspace is wrapped by the error for a keyspace that is not there, or that
	// was dropped.
	ErrNoKeyspace = kv.ErrNoKeyspace

	// ErrTooManyKeyspaces is wrapped by the error for one keyspace more than
	// MaxKeyspaces.
	ErrTooManyKeyspaces = errors.New("too many keyspaces")

	// ErrCorrupt is wrapped by every error about bytes on disk that no crash can
	// explain; the text has file and offset. A torn end of the log is not one:
	// Open cuts it off.
	ErrCorrupt = kv.ErrCorrupt

	// ErrStopped is wrapped by every write after a write or a sync of the store
	// has failed: what is on disk is then in doubt. Reads go on. Close the store
	// and open it again; docs/crash.md says what that can tell and what it
	// cannot.
	ErrStopped = kv.ErrStopped
)
