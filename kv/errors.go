package kv

import (
	"errors"
	"syscall"
)

// Errors of both kinds of store. Compare with errors.Is: most come wrapped in one
// that has more to say.
var (
	// ErrNotFound is returned for a key that is not there.
	ErrNotFound = errors.New("key not found")

	// ErrEmptyKey is returned for a key of no bytes.
	ErrEmptyKey = errors.New("empty key")

	// ErrTooLarge is wrapped by the error for a key, a value or a batch past its
	// limit. Nothing has changed.
	ErrTooLarge = errors.New("too large")

	// ErrFull is wrapped by the error of a write that needs more pages than the
	// memory budget of the store allows for. Nothing has changed; deletes make room.
	ErrFull = errors.New("no page left")

	// ErrNoSpace is wrapped by the error of a write for which the disk has no room, be
	// it for want of blocks or past a quota; it wraps syscall.ENOSPC. Nothing has
	// changed, and the write may be tried again once there is room.
	ErrNoSpace error = noSpace{}

	// ErrReadOnly is returned by a write to a store that takes none.
	ErrReadOnly = errors.New("store opened read-only")

	// ErrClosed is returned by whatever is called after Close.
	ErrClosed = errors.New("store closed")

	// ErrStopped is wrapped by every write after a write or a sync of the store has
	// failed: what is on disk is then in doubt. Reads go on. The store recovers when
	// it is opened again, or its server started again.
	ErrStopped = errors.New("store stopped by an earlier error")

	// ErrCorrupt is wrapped by every error about bytes on disk that no crash can
	// explain.
	ErrCorrupt = errors.New("corrupt data")

	// ErrNoKeyspace is wrapped by the error for a keyspace that is not there.
	ErrNoKeyspace = errors.New("no such keyspace")
)

type noSpace struct{}

func (noSpace) Error() string { return "no room on the disk" }
func (noSpace) Unwrap() error { return syscall.ENOSPC }
