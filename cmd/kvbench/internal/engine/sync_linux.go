package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync has the bytes of a file on disk.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
