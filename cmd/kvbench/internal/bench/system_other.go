//go:build !linux

package bench

import (
	"errors"
	"os"
)

func syncfs(f *os.File) error { return errors.ErrUnsupported }
