package bench

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncfs writes all that is dirty on the file system of f.
func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
