package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// openFileLimit returns how many descriptors this process may have open.
func openFileLimit() (uint64, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	return lim.Cur, nil
}
