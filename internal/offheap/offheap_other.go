//go:build !linux

package offheap

import (
	"errors"
	"fmt"
	"runtime"
)

var NoHugePage, DontFork, DontDump, Unmergeable, Populate Advice

func unsupported() error {
	return fmt.Errorf("memory outside the heap on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func Reserve(size int) ([]byte, error)          { return nil, unsupported() }
func Free(mem []byte) error                     { return unsupported() }
func Drop(mem []byte) error                     { return unsupported() }
func DropMany(ranges [][]byte) error            { return unsupported() }
func Bar(mem []byte) error                      { return unsupported() }
func Unbar(mem []byte) error                    { return unsupported() }
func Advise(mem []byte, advice ...Advice) error { return unsupported() }
func Total() (int64, error)                     { return 0, unsupported() }
