package wal

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"faultline/internal/disk"
)

var errCrash = errors.New("power cut")

// A memFS is a file system in memory that knows what of it is durable. Every call
// that changes something first goes through hook, with its name and path; an
// error ends the call before it has done anything.
type memFS struct {
	mu    sync.Mutex
	names map[string]*inode
	synct map[string]*inode // names, as of the last SyncDir
	steps []dirStep         // since then
	hook  func(op, path string) error
	maps  bool // files can be mapped
}

// A dirStep is a change of a directory that is not synced: from empty is a new
// file, to empty a removed one.
type dirStep struct {
	from, to string
	file     *inode
}

type inode struct {
	data    []byte
	stable  []byte // as of the last Sync
	pending []memWrite
	mapped  bool // data is stored to, too
}

// A memWrite is a write since the last Sync; without data it sets the length.
type memWrite struct {
	off  int64
	data []byte
}

func newMemFS() *memFS {
	return &memFS{names: map[string]*inode{}, synct: map[string]*inode{}}
}

// A loss says what a power cut does to what is not synced.
type loss int

const (
	keepAll loss = iota
	dropAll
	subset // each write and each name on its own
	torn   // each 512-byte sector on its own
	kill   // none: the process died, and the kernel goes on
	numLoss
)

func (m loss) String() string { return [...]string{"keep", "drop", "subset", "torn", "kill"}[m] }

// crash returns the file system as it is after a power cut, or a kill.
func (m *memFS) crash(how loss, rng *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	if how == kill {
		return m.clone()
	}
	kept := func() bool { return how == keepAll || how != dropAll && rng.IntN(2) == 0 }
	names := maps.Clone(m.synct)
	for _, s := range m.steps {
		if !kept() {
			continue
		}
		file := s.file
		if s.from != "" {
			if file = names[s.from]; file == nil {
				continue
			}
			delete(names, s.from)
		}
		if s.to != "" {
			names[s.to] = file
		}
	}
	after := newMemFS()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old := names[name]
		data := slices.Clone(old.stable)
		for _, w := range old.pending {
			step := max(len(w.data), 1)
			if how == torn {
				step = 512
			}
			if w.data == nil && kept() {
				data = resize(data, w.off)
			}
			for i := 0; i < len(w.data); {
				n := min(step, len(w.data)-i)
				if how == torn { // sectors are those of the file
					n = min(n, 512-int(w.off+int64(i))%512)
				}
				if kept() {
					data = writeTo(data, w.off+int64(i), w.data[i:i+n])
				}
				i += n
			}
		}
		if old.mapped {
			data = writeBack(data, old.data, how == torn, kept)
		}
		after.names[name] = &inode{data: data, stable: slices.Clone(data)}
	}
	after.maps = m.maps
	after.synct = maps.Clone(after.names)
	return after
}

// writeBack returns data with some of what a mapping has in its place: whole pages,
// or sectors.
func writeBack(data, mapping []byte, sectors bool, kept func() bool) []byte {
	step := 4096
	if sectors {
		step = 512
	}
	data = resize(data, int64(len(mapping)))
	for at := 0; at < len(data); at += step {
		if end := min(at+step, len(data)); kept() {
			copy(data[at:end], mapping[at:end])
		}
	}
	return data
}

// clone returns a copy, with what is not synced, and without the hook.
func (m *memFS) clone() *memFS {
	c := newMemFS()
	c.maps = m.maps
	copies := map[*inode]*inode{nil: nil}
	clone := func(file *inode) *inode {
		if _, ok := copies[file]; !ok {
			copies[file] = &inode{slices.Clone(file.data), slices.Clone(file.stable), slices.Clone(file.pending), file.mapped}
		}
		return copies[file]
	}
	for name, file := range m.names {
		c.names[name] = clone(file)
	}
	for name, file := range m.synct {
		c.synct[name] = clone(file)
	}
	for _, s := range m.steps {
		s.file = clone(s.file)
		c.steps = append(c.steps, s)
	}
	return c
}

func resize(b []byte, size int64) []byte {
	if int64(len(b)) > size {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func writeTo(b []byte, off int64, p []byte) []byte {
	if end := off + int64(len(p)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[off:], p)
	return b
}

// do runs one call under the lock, after the hook has let it pass.
func (m *memFS) do(op, path string, call func() error) error {
	if m.hook != nil {
		if err := m.hook(op, path); err != nil {
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return call()
}

func (m *memFS) Open(name string, create bool) (disk.File, error) {
	m.mu.Lock()
	file := m.names[name]
	m.mu.Unlock()
	if file == nil && !create {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if file == nil {
		file = &inode{}
		err := m.do("create", name, func() error {
			m.names[name] = file
			m.steps = append(m.steps, dirStep{to: name, file: file})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if m.maps {
		return memMapper{memFile{m, name, file}}, nil
	}
	return memFile{m, name, file}, nil
}

// A memMapper is a memFile with mappings. They are seen by readers of the file at
// once, and by crash; what WriteAt does is seen in them as long as it does not
// make the file longer.
type memMapper struct{ memFile }

func (f memMapper) Map(size int) ([]byte, error) {
	var mem []byte
	err := f.fs.do("map", f.name, func() error {
		f.mapped, mem = true, f.data[:size:size]
		return nil
	})
	return mem, err
}

func (f memMapper) Unmap([]byte) error { return nil }

func (m *memFS) OpenRead(name string) (disk.File, error) { return m.Open(name, false) }

func (m *memFS) Rename(old, new string) error {
	return m.do("rename", new, func() error {
		file := m.names[old]
		if file == nil {
			return fs.ErrNotExist
		}
		delete(m.names, old)
		m.names[new] = file
		m.steps = append(m.steps, dirStep{from: old, to: new})
		return nil
	})
}

func (m *memFS) Remove(name string) error {
	return m.do("remove", name, func() error {
		if m.names[name] == nil {
			return fs.ErrNotExist
		}
		delete(m.names, name)
		m.steps = append(m.steps, dirStep{from: name})
		return nil
	})
}

func (m *memFS) MkdirAll(name string) error { return nil }

func (m *memFS) List(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for path := range m.names {
		if rest, ok := strings.CutPrefix(path, name+string(filepath.Separator)); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFS) SyncDir(name string) error {
	return m.do("syncdir", name, func() error {
		if name == testDir {
			m.synct, m.steps = maps.Clone(m.names), nil
		}
		return nil
	})
}

type memFile struct {
	fs   *memFS
	name string
	*inode
}

func (f memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f memFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.do("write", f.name, func() error {
		f.data = writeTo(f.data, off, p)
		f.pending = append(f.pending, memWrite{off, slices.Clone(p)})
		return nil
	})
	return len(p), err
}

func (f memFile) Sync() error {
	return f.fs.do("sync", f.name, func() error {
		if len(f.pending) > 0 {
			f.stable, f.pending = slices.Clone(f.data), nil
		}
		return nil
	})
}

func (f memFile) setSize(op string, size int64) error {
	return f.fs.do(op, f.name, func() error {
		f.data = resize(f.data, size)
		f.pending = append(f.pending, memWrite{off: size})
		return nil
	})
}

func (f memFile) Allocate(size int64) error {
	if have, _ := f.Size(); have >= size {
		return nil
	}
	return f.setSize("allocate", size)
}

func (f memFile) Truncate(size int64) error { return f.setSize("truncate", size) }

func (f memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f memFile) Close() error { return nil }

const (
	testDir  = "/d/wal"
	testSalt = 0x5eed
)

func testOptions(m *memFS) Options {
	return Options{FS: m, Dir: testDir, SegmentBytes: 4096, Salt: testSalt, Spares: 2, noHelper: true}
}
