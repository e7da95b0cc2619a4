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
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"faultline/internal/disk"
)

// ErrCut is the error of every call after the power was cut by CutAt.
var ErrCut = errors.New("power cut")

// An FS is a file system. Methods are safe for concurrent use; the fields are set before.
type FS struct {
	// Hook is called before every call that changes something, with the name of
	// the call and the path. An error ends the call before it has done anything.
	Hook func(op, path string) error

	// Maps says that files can be mapped (disk.Mapper).
	Maps bool

	// Lies is a path whose syncs do nothing, as those of a disk that lies.
	Lies string

	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode // names, as of the last SyncDir of their directory
	steps   []step            // since then
	dirs    map[string]bool   // made by MkdirAll; they are durable at once
}

// A step is a change of a directory that is not synced: from empty is a new file,
// to empty a removed one.
type step struct {
	from, to string
	file     *inode
}

func (s step) dir() string {
	if s.to == "" {
		return filepath.Dir(s.from)
	}
	return filepath.Dir(s.to)
}

func (s step) apply(names map[string]*inode) {
	file := s.file
	if s.from != "" {
		if file = names[s.from]; file == nil {
			return
		}
		delete(names, s.from)
	}
	if s.to != "" {
		names[s.to] = file
	}
}

type inode struct {
	now     content // as it is read
	durable content // as of the last Sync
	pending []write // since then
	mapped  bool    // now is stored to, too
}

// A content is what a file holds: data, and zeros from there to size. Files are
// often much longer than what was ever written to them.
type content struct {
	data []byte
	size int64
}

func (c *content) clone() content { return content{slices.Clone(c.data), c.size} }

// whole returns all bytes, zeros included, to be changed in place.
func (c *content) whole() []byte {
	if missing := c.size - int64(len(c.data)); missing > 0 {
		c.data = append(c.data, make([]byte, missing)...)
	}
	return c.data
}

func (c *content) resize(size int64) {
	if size < int64(len(c.data)) {
		c.data = c.data[:size:size]
	}
	c.size = size
}

func (c *content) write(off int64, p []byte) {
	end := off + int64(len(p))
	if missing := end - int64(len(c.data)); missing > 0 {
		c.data = append(c.data, make([]byte, missing)...)
	}
	copy(c.data[off:], p)
	c.size = max(c.size, end)
}

func (c *content) read(p []byte, off int64) (n int, err error) {
	n = int(max(0, min(int64(len(p)), c.size-off)))
	clear(p[:n])
	if off < int64(len(c.data)) {
		copy(p[:n], c.data[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// A write since the last Sync; without data it sets the length.
type write struct {
	off  int64
	data []byte
}

// New returns a file system without files.
func New() *FS {
	return &FS{names: map[string]*inode{}, durable: map[string]*inode{}, dirs: map[string]bool{}}
}

// A Loss says what a crash does to what is not synced.
type Loss int

const (
	Kill    Loss = iota // nothing: the process died, and the kernel goes on
	Keep                // nothing, though the power failed
	Drop                // all of it is gone
	Subset              // each write, and each name, on its own
	Blocks              // each block of 4096 bytes on its own
	Torn                // each sector of 512 bytes on its own
	NumLoss             // how many there are
)

func (l Loss) String() string {
	return [...]string{"kill", "keep", "drop", "subset", "blocks", "torn"}[l]
}

// grain is what reaches the disk as a whole.
func (l Loss) grain() int {
	switch l {
	case Blocks:
		return 4096
	case Torn:
		return 512
	}
	return 1 << 30
}

// Crash returns the file system as it may be after a crash. The hook is not taken
// along. rng is used by the losses that are random.
func (m *FS) Crash(how Loss, rng *rand.Rand) *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	if how == Kill {
		return m.clone()
	}
	kept := func() bool { return how == Keep || how != Drop && rng.IntN(2) == 0 }
	names := maps.Clone(m.durable)
	for _, s := range m.steps {
		if kept() {
			s.apply(names)
		}
	}
	after := New()
	after.Maps, after.dirs = m.Maps, maps.Clone(m.dirs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		left := names[name].crash(how.grain(), kept)
		after.names[name] = &inode{now: left, durable: left.clone()}
	}
	after.durable = maps.Clone(after.names)
	return after
}

// crash returns what the disk has of the file: of each piece of a write that lies
// in one grain of the file, all or nothing.
func (f *inode) crash(grain int, kept func() bool) content {
	left := f.durable.clone()
	for _, w := range f.pending {
		if w.data == nil && kept() {
			left.resize(w.off)
		}
		for i := 0; i < len(w.data); {
			n := min(len(w.data)-i, grain-int((w.off+int64(i))%int64(grain)))
			if kept() {
				left.write(w.off+int64(i), w.data[i:i+n])
			}
			i += n
		}
	}
	if !f.mapped {
		return left
	}
	grain = min(grain, 4096) // of a mapping the kernel writes pages
	mem := f.now.whole()
	left.resize(int64(len(mem)))
	data := left.whole()
	for at := 0; at < len(data); at += grain {
		if end := min(at+grain, len(data)); kept() {
			copy(data[at:end], mem[at:end])
		}
	}
	return left
}

// clone returns a copy, what is not synced included.
func (m *FS) clone() *FS {
	c := New()
	c.Maps, c.dirs = m.Maps, maps.Clone(m.dirs)
	copies := map[*inode]*inode{nil: nil}
	clone := func(file *inode) *inode {
		if _, ok := copies[file]; !ok {
			copies[file] = &inode{file.now.clone(), file.durable.clone(), slices.Clone(file.pending), file.mapped}
		}
		return copies[file]
	}
	for name, file := range m.names {
		c.names[name] = clone(file)
	}
	for name, file := range m.durable {
		c.durable[name] = clone(file)
	}
	for _, s := range m.steps {
		s.file = clone(s.file)
		c.steps = append(c.steps, s)
	}
	return c
}

// CutAt makes every changing call fail from the nth on (0: the first), as if the
// power had gone before it. It replaces the hook.
func (m *FS) CutAt(n int64) {
	var mu sync.Mutex
	var calls int64
	m.Hook = func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls > n {
			return ErrCut
		}
		return nil
	}
}

// Bytes returns the contents of a file, which the caller may change in place; nil
// if there is none. What it changes counts as durable after Settle.
func (m *FS) Bytes(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.names[name]; f != nil {
		return f.now.whole()
	}
	return nil
}

// Durable returns what of a file's contents is durable, as far as it was ever
// written to: zeros behind that are missing.
func (m *FS) Durable(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.names[name].durable.data)
}

// Put makes a file of data, durable, in place of what had the name; with nil data
// there is none.
func (m *FS) Put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data == nil {
		delete(m.names, name)
		delete(m.durable, name)
		return
	}
	now := content{data, int64(len(data))}
	f := &inode{now: now, durable: now.clone()}
	m.names[name], m.durable[name] = f, f
}

// Settle makes everything durable as it is.
func (m *FS) Settle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.names {
		f.durable, f.pending = f.now.clone(), nil
	}
	m.durable, m.steps = maps.Clone(m.names), nil
}

// SettleFile makes the bytes of a file durable as they are.
func (m *FS) SettleFile(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[name]
	f.durable, f.pending = f.now.clone(), nil
}

// Forget brings a file back to what of it was durable.
func (m *FS) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[name]
	f.now, f.pending = f.durable.clone(), nil
}

// Names returns the paths of all files, sorted.
func (m *FS) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

// do makes one call under the lock, after the hook has let it pass.
func (m *FS) do(op, path string, call func() error) error {
	if m.Hook != nil {
		if err := m.Hook(op, path); err != nil {
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
		node = &inode{}
		err := m.do("create", name, func() error {
			m.names[name] = node
			m.steps = append(m.steps, step{to: name, file: node})
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

type file struct {
	fs   *FS
	name string
	*inode
}

func (f file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.now.read(p, off)
}

func (f file) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.do("write", f.name, func() error {
		f.now.write(off, p)
		f.pending = append(f.pending, write{off, slices.Clone(p)})
		return nil
	})
	return len(p), err
}

func (f file) Sync() error {
	return f.fs.do("sync", f.name, func() error {
		if f.name == f.fs.Lies {
			return nil
		}
		if f.mapped {
			f.durable, f.pending = f.now.clone(), nil
			return nil
		}
		for _, w := range f.pending {
			if w.data == nil {
				f.durable.resize(w.off)
			} else {
				f.durable.write(w.off, w.data)
			}
		}
		f.pending = nil
		return nil
	})
}

func (f file) setSize(op string, size int64) error {
	return f.fs.do(op, f.name, func() error {
		f.now.resize(size)
		f.pending = append(f.pending, write{off: size})
		return nil
	})
}

func (f file) Allocate(size int64) error {
	if have, _ := f.Size(); have >= size {
		return nil
	}
	return f.setSize("allocate", size)
}

func (f file) Truncate(size int64) error { return f.setSize("truncate", size) }

func (f file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.now.size, nil
}

func (f file) Close() error { return nil }

// A mapper is a file with mappings. Crash sees what is stored to them at once;
// what WriteAt does is seen in them as long as it does not make the file longer.
type mapper struct{ file }

func (f mapper) Map(size int) ([]byte, error) {
	var mem []byte
	err := f.fs.do("map", f.name, func() error {
		if int64(size) > f.now.size {
			return fs.ErrInvalid
		}
		f.mapped, mem = true, f.now.whole()[:size:size]
		return nil
	})
	return mem, err
}

func (f mapper) Unmap([]byte) error { return nil }
