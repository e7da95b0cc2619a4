package memdisk

import (
	"fmt"
	"io/fs"
	"slices"
	"unsafe"

	"faultline/internal/disk"
)

// An inode is a file, whatever its names are.
type inode struct {
	now     content  // as it is read
	durable content  // as of the last Sync
	pending []write  // since then
	mapped  *content // now, as far as pending has it; nil if now changes by calls only
	dropped bool     // now has bytes that a failed sync has lost: see FS.Drops
	solid   int64    // blocks that count against the quota: the first of the file
}

// newInode is a file with the contents c, all durable.
func newInode(c content) *inode {
	return &inode{now: c, durable: c.clone(), solid: blocksOf(c.size)}
}

// blocksOf is how many blocks so many bytes take.
func blocksOf(bytes int64) int64 { return (bytes + blockBytes - 1) / blockBytes }

// A write since the last Sync; without data it sets the length.
type write struct {
	off  int64
	data []byte
}

func (w write) apply(c *content) {
	if w.data == nil {
		c.resize(w.off)
	} else {
		c.write(w.off, w.data)
	}
}

// do makes a write that is a call.
func (f *inode) do(w write) {
	w.apply(&f.now)
	f.pending = append(f.pending, w)
	if f.mapped != nil {
		w.apply(f.mapped)
	}
}

// absorb makes writes of what was stored to a mapping since the last time, of whole
// blocks as the kernel does. So each version of a block that was there at some
// call is one that may be on disk.
func (f *inode) absorb() {
	if f.mapped == nil {
		return
	}
	for i, b := range f.now.blocks {
		if b == nil || *b == *f.mapped.block(i) {
			continue
		}
		at := int64(i) * blockBytes
		w := write{at, slices.Clone(b[:min(blockBytes, f.now.size-at)])}
		w.apply(f.mapped)
		f.pending = append(f.pending, w)
	}
}

// sync makes everything durable.
func (f *inode) sync() {
	f.absorb()
	for _, w := range f.pending {
		w.apply(&f.durable)
	}
	f.pending = nil
}

// clone returns a copy, what is not synced included. Nobody has it mapped.
func (f *inode) clone() *inode {
	f.absorb()
	return &inode{now: f.now.clone(), durable: f.durable.clone(), pending: slices.Clip(f.pending), dropped: f.dropped, solid: f.solid}
}

// A file is a disk.File.
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
		if err := f.fs.charge(f.inode, off+int64(len(p))); err != nil {
			return &fs.PathError{Op: "write", Path: f.name, Err: err}
		}
		f.inode.do(write{off, slices.Clone(p)})
		return nil
	})
	return len(p), err
}

func (f file) Sync() error {
	err := f.fs.do("sync", f.name, func() error {
		if !matches(f.fs.Lies, f.name) {
			f.sync()
		}
		return nil
	})
	if err != nil && matches(f.fs.Drops, f.name) {
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		f.absorb()
		f.pending, f.dropped = nil, true
	}
	return err
}

// Evict is of disk.Evicter.
func (f file) Evict() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.dropped && f.mapped == nil && len(f.pending) == 0 {
		f.now, f.dropped = f.durable.clone(), false
	}
	return nil
}

// Direct is of disk.Director.
func (f file) Direct() (disk.File, error) { return directFile{f}, nil }

func (f file) Allocate(size int64) error {
	if have, _ := f.Size(); have >= size {
		return nil
	}
	return f.fs.do("allocate", f.name, func() error {
		if err := f.fs.charge(f.inode, size); err != nil {
			return &fs.PathError{Op: "allocate", Path: f.name, Err: err}
		}
		f.inode.do(write{off: size})
		return nil
	})
}

func (f file) Truncate(size int64) error {
	return f.fs.do("truncate", f.name, func() error {
		f.inode.do(write{off: size})
		f.solid = min(f.solid, blocksOf(size))
		return nil
	})
}

func (f file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.now.size, nil
}

func (f file) Close() error { return nil }

// A directFile refuses what a disk could not do past the cache, whatever the one of
// the machine could.
type directFile struct{ file }

func (f directFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.aligned("read", p, off); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, off)
}

func (f directFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.aligned("write", p, off); err != nil {
		return 0, err
	}
	return f.file.WriteAt(p, off)
}

func (f directFile) aligned(op string, p []byte, off int64) error {
	mem := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if (uint64(off)|uint64(len(p))|uint64(mem))%disk.DirectBytes == 0 {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.name, Err: fmt.Errorf("%d bytes from %d on, to or from memory at %#x: %w", len(p), off, mem, fs.ErrInvalid)}
}

// A mapper is a file with mappings. What WriteAt does is seen in them as long as it
// does not make the file longer.
type mapper struct{ file }

func (f mapper) Map(size int) ([]byte, error) {
	var mem []byte
	err := f.fs.do("map", f.name, func() error {
		if int64(size) > f.now.size {
			return fs.ErrInvalid
		}
		mem = f.now.whole()[:size:size]
		if f.mapped == nil {
			seen := f.now.clone()
			f.mapped = &seen
		}
		return nil
	})
	return mem, err
}

func (f mapper) Unmap([]byte) error { return nil }
