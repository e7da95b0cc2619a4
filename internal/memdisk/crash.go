package memdisk

import (
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

// ErrCut is the error of every call after the power was cut by CutAt.
var ErrCut = errors.New("power cut")

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
		return blockBytes
	case Torn:
		return 512
	}
	return 1 << 30
}

// keeper returns what decides of each piece whether it is there after the crash:
// where that is left to chance, odds times of 8.
func (l Loss) keeper(odds int, rng *rand.Rand) func() bool {
	switch l {
	case Keep:
		return func() bool { return true }
	case Drop:
		return func() bool { return false }
	}
	return func() bool { return rng.IntN(8) < odds }
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

// Crash returns the file system as it may be after a crash. The hook is not taken
// along, nor is who holds a lock. rng is used by the losses that are random. Where
// files are mapped, nobody may store to them meanwhile.
func (m *FS) Crash(how Loss, rng *rand.Rand) *FS { return m.CrashOdds(how, 4, rng) }

// CrashOdds is Crash by which, of what is left to chance, a piece is kept odds times
// of 8.
func (m *FS) CrashOdds(how Loss, odds int, rng *rand.Rand) *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	if how == Kill {
		return m.clone()
	}
	kept := how.keeper(odds, rng)
	names := maps.Clone(m.durable)
	for _, s := range m.steps {
		if kept() {
			s.apply(names)
		}
	}
	after := New()
	after.Maps, after.dirs = m.Maps, maps.Clone(m.dirs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		after.names[name] = newInode(names[name].crash(how.grain(), kept))
	}
	after.durable = maps.Clone(after.names)
	return after
}

// crash returns what the disk has of the file: of each piece of a write that lies
// in one grain of the file, all or nothing.
func (f *inode) crash(grain int, kept func() bool) content {
	f.absorb()
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
	return left
}

// clone returns a copy, what is not synced included.
func (m *FS) clone() *FS {
	c := New()
	c.Maps, c.dirs = m.Maps, maps.Clone(m.dirs)
	copies := map[*inode]*inode{nil: nil}
	clone := func(file *inode) *inode {
		if _, ok := copies[file]; !ok {
			copies[file] = file.clone()
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
	m.SetHook(func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls > n {
			return ErrCut
		}
		return nil
	})
}
