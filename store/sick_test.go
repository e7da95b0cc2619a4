package store

import (
	"io/fs"
	"sync/atomic"
	"syscall"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
)

// A sickFS is a file system of which one sector cannot be read, and whose writes
// are torn: they are made piece by piece.
type sickFS struct {
	disk.FS
	bad  atomic.Pointer[sector] // nil: all can be read
	hits atomic.Int64           // reads that have failed
	tear func()                 // called between the pieces of a write; nil: writes are whole
}

// A sector is a byte of a file that cannot be read, and what a read of it returns.
type sector struct {
	file string
	at   int64
	err  syscall.Errno
}

func newSick() (*sickFS, *memdisk.FS) {
	m := memdisk.New()
	return &sickFS{FS: m}, m
}

func (s *sickFS) Open(name string, create bool) (disk.File, error) {
	f, err := s.FS.Open(name, create)
	return sickFile{f, s, name}, err
}

func (s *sickFS) OpenRead(name string) (disk.File, error) { return s.Open(name, false) }

type sickFile struct {
	disk.File
	fs   *sickFS
	name string
}

func (f sickFile) ReadAt(p []byte, off int64) (int, error) {
	if bad := f.fs.bad.Load(); bad != nil && bad.file == f.name && bad.at >= off && bad.at < off+int64(len(p)) {
		f.fs.hits.Add(1)
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: bad.err}
	}
	return f.File.ReadAt(p, off)
}

func (f sickFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fs.tear == nil {
		return f.File.WriteAt(p, off)
	}
	const piece = 1000
	for at := 0; at < len(p); at += piece {
		f.fs.tear()
		if _, err := f.File.WriteAt(p[at:min(at+piece, len(p))], off+int64(at)); err != nil {
			return at, err
		}
	}
	return len(p), nil
}
