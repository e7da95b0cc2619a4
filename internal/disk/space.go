package disk

import (
	"errors"
	"fmt"
	"syscall"

	"faultline/kv"
)

// ErrNoSpace is wrapped by the error of an operation for which the file system has
// no room left, be it for want of blocks or past a quota. It wraps syscall.ENOSPC.
// Whoever returns it has changed nothing, and may be asked again once there is room.
var ErrNoSpace = kv.ErrNoSpace

// Full tells whether err, of a call, says that the file system has no room left.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// NoSpace returns err so that it wraps ErrNoSpace, if it is one for which Full says
// yes; else err as it is.
func NoSpace(err error) error {
	if !Full(err) || errors.Is(err, ErrNoSpace) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoSpace, err)
}
