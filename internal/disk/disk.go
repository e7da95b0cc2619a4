// Package disk is the seam between the store and the file system: the few
// calls that the log, the journal, the data file and recovery make, and nothing
// else. OS is the real one. A test puts another below the same code, one that
// forgets what was not synced, fails the k-th call, or stops at it.
//
// # Assumptions
//
// Sync is fdatasync: when it has returned nil, the bytes written before it and
// the size that is needed to read them back survive a power cut. When it has
// failed, nothing is known of the bytes written since the last Sync that
// succeeded, and no later Sync can make it known: the kernel drops the error
// with the page. Callers stop. A name made, renamed or removed survives a power
// cut once SyncDir of its directory has returned nil.
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"faultline/kv"
)

// An FS makes, finds and removes files. Names are paths as for package os.
// Methods are safe for concurrent use.
type FS interface {
	// Open opens name for reading and writing. With create it makes the file,
	// mode 0600, if there is none; without, a missing file is fs.ErrNotExist. A
	// symbolic link is an error: who can plant one would choose what is written to.
	Open(name string, create bool) (File, error)
	// OpenRead opens name for reading only.
	OpenRead(name string) (File, error)
	// Rename gives old the name new, over a file that has it.
	Rename(old, new string) error
	// Remove deletes name.
	Remove(name string) error
	// MkdirAll makes a directory, mode 0700, and its parents. One that is
	// there already is no error.
	MkdirAll(name string) error
	// List returns the names in a directory, sorted.
	List(name string) ([]string, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes the lock file name, made if there is none, until Close. It fails
	// with ErrLocked while another has it. The kernel lets go of it when the
	// process ends, however that happens.
	Lock(name string) (io.Closer, error)
}

// A File is an open file. ReadAt and WriteAt may be called concurrently, and Close
// when no other call is under way.
// WriteAt writes all of p or fails; after an error the whole range is in doubt.
type File interface {
	ReadAt(p []byte, off int64) (n int, err error)
	WriteAt(p []byte, off int64) (n int, err error)
	// Sync makes what was written durable (fdatasync).
	Sync() error
	// Allocate reserves blocks for the first size bytes, and makes the file at
	// least that long, so that later writes there cannot meet a full disk. A
	// file system that cannot reserve only sets the length.
	Allocate(size int64) error
	// Truncate sets the length in bytes.
	Truncate(size int64) error
	// Size returns the length in bytes.
	Size() (int64, error)
	Close() error
}

// A Mapper is a File that can be stored to as memory. Not every File is one.
type Mapper interface {
	// Map maps the first size bytes, which must be there with their blocks. A
	// store to the mapping is in the kernel at once: it survives the process as
	// what WriteAt has written does, and a power cut no more than that.
	Map(size int) ([]byte, error)
	// Unmap ends what Map began. Nobody may touch the memory any more.
	Unmap(mem []byte) error
}

// An Evicter is a File whose bytes in the cache of the kernel can be dropped. Not
// every File is one.
type Evicter interface {
	// Evict drops them, as far as they are not waiting to be written, so that what is
	// read next comes from the disk. They need not be the same: of what a Sync that
	// failed was to write, the cache may still have what the disk never got.
	Evict() error
}

// SyncAndEvict makes what was written to f durable, and what is read from it next
// what is durable, whatever became of an earlier Sync.
func SyncAndEvict(f File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return Evict(f)
}

// Evict is Evict of an Evicter; a File that is none has nothing to drop.
func Evict(f File) error {
	if e, ok := f.(Evicter); ok {
		return e.Evict()
	}
	return nil
}

// ErrCorrupt is wrapped by every error about bytes on disk that no crash can
// explain.
var ErrCorrupt = kv.ErrCorrupt

// A CorruptError says which bytes are wrong and why. It wraps ErrCorrupt.
type CorruptError struct {
	File   string // path, as it was opened
	Offset int64  // bytes from the start of File
	Err    error  // what is wrong
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: %s at byte %d: %v", ErrCorrupt, e.File, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// OS is the file system of the machine.
var OS FS = osFS{}

type osFS struct{}

func (osFS) Open(name string, create bool) (File, error) {
	flag := os.O_RDWR | noFollow
	if create {
		flag |= os.O_CREATE
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) OpenRead(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(old, new string) error { return os.Rename(old, new) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) MkdirAll(name string) error { return os.MkdirAll(name, 0o700) }

func (osFS) List(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

type osFile struct{ *os.File }

// grow makes the file at least size bytes long.
func (f osFile) grow(size int64) error {
	have, err := f.Size()
	if err != nil || have >= size {
		return err
	}
	return f.Truncate(size)
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: not a regular file", f.Name())
	}
	return st.Size(), nil
}
