//go:build !linux

package engine

import "os"

// datasync has the bytes of a file on disk.
func datasync(f *os.File) error { return f.Sync() }
