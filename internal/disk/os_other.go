//go:build !linux

package disk

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

const noFollow = 0

func (f osFile) Sync() error { return f.File.Sync() }

func (f osFile) Allocate(size int64) error { return f.grow(size) }

func flock(f *os.File) error {
	return fmt.Errorf("lock on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
