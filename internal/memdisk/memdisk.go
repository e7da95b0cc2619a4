// Package memdisk is a file system in memory that knows what of it is durable,
// so that the real log, journal and recovery can be crashed at any call and be
// shown every state that a disk may then be in.
//
// # What a crash leaves
//
// The model is the one of package disk: what Sync and SyncDir have made durable
// stays, of the rest any part may be there. Crash makes one such state, by a Loss
// and a random source. A file that is mapped is stored to without a call: its
// pages reach the disk, or not, like any write that was not synced.
//
// It is for tests.
package memdisk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"faultline/internal/disk"
)

// An FS is a file system. Methods are safe for concurrent use; the fields are set before.
type FS struct {
	// Maps says that files can be mapped (disk.Mapper).
	Maps bool

	// Lies is a pattern (filepath.Match) of files and directories whose syncs do
	// nothing, as those of a disk that lies.
	Lies string

	// Drops is a pattern of files of which a sync that the hook fails loses what it
	// was to make durable, as the kernel does: the bytes can be read until Evict or
	// a power cut, and no later sync writes them.
	Drops string

	mu      sync.Mutex
	hook    func(op, path string) error
	names   map[string]*inode
	durable map[string]*inode // names, as of the last SyncDir of their directory
	steps   []step            // since then
	dirs    map[string]bool   // made by MkdirAll; they are durable at once
	locked  map[string]bool   // by Lock
	quota   int64             // blocks, if it is not 0
}

// New returns a file system without files.
func New() *FS {
	return &FS{names: map[string]*inode{}, durable: map[string]*inode{}, dirs: map[string]bool{}, locked: map[string]bool{}}
}

// SetHook has hook called before every call that changes something, with the name of the
// call and the path. An error ends the call before it has done anything. Nil ends that;
// calls that are on their way may still ask the old one.
func (m *FS) SetHook(hook func(op, path string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// SetQuota lets all files together have so many bytes at most, in whole blocks; 0 ends
// that. A write or an allocation past it fails with ENOSPC and does nothing. Names cost
// nothing, and a write behind the end of a file costs the hole before it, too. Crash
// does not take the quota along.
func (m *FS) SetQuota(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.quota = bytes / blockBytes
}

// Used returns how many bytes count against a quota.
func (m *FS) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used() * blockBytes
}

func (m *FS) used() (blocks int64) {
	for _, f := range m.names {
		blocks += f.solid
	}
	return blocks
}

// charge makes the first size bytes of f count, or fails. mu is held.
func (m *FS) charge(f *inode, size int64) error {
	more := blocksOf(size) - f.solid
	if more <= 0 {
		return nil
	}
	if m.quota > 0 && m.used()+more > m.quota {
		return syscall.ENOSPC
	}
	f.solid += more
	return nil
}

// matches tells whether path is one that pattern is of.
func matches(pattern, path string) bool {
	match, _ := filepath.Match(pattern, path)
	return match
}

// do makes one call under the lock, after the hook has let it pass.
func (m *FS) do(op, path string, call func() error) error {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		if err := hook(op, path); err != nil {
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return call()
}

// Open opens or makes a file.
func (m *FS) Open(name string, create bool) (disk.File, error) {
	m.mu.Lock()
	node := m.names[name]
	m.mu.Unlock()
	if node == nil && !create {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if node == nil {
		err := m.do("create", name, func() error {
			if node = m.names[name]; node == nil {
				node = &inode{}
				m.names[name] = node
				m.steps = append(m.steps, step{to: name, file: node})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	f := file{m, name, node}
	if m.Maps {
		return mapper{f}, nil
	}
	return f, nil
}

// OpenRead is Open for reading.
func (m *FS) OpenRead(name string) (disk.File, error) { return m.Open(name, false) }

// Rename gives a file another name.
func (m *FS) Rename(old, new string) error {
	return m.do("rename", new, func() error {
		if m.names[old] == nil {
			return fs.ErrNotExist
		}
		m.names[new] = m.names[old]
		delete(m.names, old)
		m.steps = append(m.steps, step{from: old, to: new})
		return nil
	})
}

// Remove removes a file.
func (m *FS) Remove(name string) error {
	return m.do("remove", name, func() error {
		if m.names[name] == nil {
			return fs.ErrNotExist
		}
		delete(m.names, name)
		m.steps = append(m.steps, step{from: name})
		return nil
	})
}

// MkdirAll makes a directory.
func (m *FS) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirs[name] = true
	return nil
}

// List returns the files of a directory, and the directories in it that have
// files.
func (m *FS) List(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := map[string]bool{}
	for path := range m.names {
		for dir := path; dir != "." && dir != "/"; dir = filepath.Dir(dir) {
			if filepath.Dir(dir) == name {
				in[filepath.Base(dir)] = true
			}
		}
	}
	for dir := range m.dirs {
		if filepath.Dir(dir) == name {
			in[filepath.Base(dir)] = true
		}
	}
	if len(in) == 0 && !m.dirs[name] {
		return nil, &fs.PathError{Op: "list", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Sorted(maps.Keys(in)), nil
}

// SyncDir makes the names in a directory durable.
func (m *FS) SyncDir(name string) error {
	return m.do("syncdir", name, func() error {
		if matches(m.Lies, name) {
			return nil
		}
		m.steps = slices.DeleteFunc(m.steps, func(s step) bool {
			if s.dir() != name {
				return false
			}
			s.apply(m.durable)
			return true
		})
		return nil
	})
}

// Lock takes a lock that ends with Close, or a crash. It makes no file.
func (m *FS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[name] {
		return nil, fmt.Errorf("%s: %w", name, disk.ErrLocked)
	}
	m.locked[name] = true
	return &lock{m, name}, nil
}

type lock struct {
	fs   *FS
	name string
}

func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locked, l.name)
	return nil
}
