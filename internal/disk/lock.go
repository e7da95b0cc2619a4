package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ErrLocked is wrapped by the error of FS.Lock when another process has the lock.
var ErrLocked = errors.New("in use by another process")

// Lock writes the pid into the file.
func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		defer f.Close()
		if err != ErrLocked {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 32))
		return nil, fmt.Errorf("%s: %w (pid %s)", name, ErrLocked, strings.TrimSpace(string(pid)))
	}
	pid := fmt.Sprintln(os.Getpid())
	if _, err := f.WriteAt([]byte(pid), 0); err != nil { // it keeps its block, on a full disk
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(int64(len(pid))); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
