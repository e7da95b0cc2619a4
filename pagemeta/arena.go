package pagemeta

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"faultline/internal/offheap"
	"faultline/uffd"
)

// An arena is the range of memory that the pages live in, registered with
// userfaultfd for missing pages and for write protection. Its address space is
// reserved once and, after close, kept for the next arena of the size: an
// address that a slow reader still holds must never become somebody else's
// memory, the Go heap's least of all.
type arena struct {
	mem []byte // the pages
	fd  *uffd.FD
}

// reserved are the ranges of closed arenas by size, PROT_NONE.
var reserved struct {
	sync.Mutex
	free map[int][][]byte
}

func newArena(pages int) (*arena, error) {
	fd, err := uffd.Open(uffd.FeatureSigbus | uffd.FeaturePagefaultFlagWP)
	if err != nil {
		return nil, err
	}
	a := &arena{fd: fd}
	if err := a.reserve(pages * PageBytes); err != nil {
		return nil, errors.Join(fmt.Errorf("reserve %d pages: %w", pages, err), fd.Close())
	}
	if err := a.advise(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	if err := fd.Register(a.base(), uintptr(len(a.mem)), uffd.ModeMissing|uffd.ModeWP); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// reserve takes a range of size bytes, a kept one if there is one.
func (a *arena) reserve(size int) error {
	reserved.Lock()
	defer reserved.Unlock()
	if kept := reserved.free[size]; len(kept) > 0 {
		mem := kept[len(kept)-1]
		if err := offheap.Unbar(mem); err != nil {
			return err
		}
		reserved.free[size] = kept[:len(kept)-1]
		a.mem = mem
		return nil
	}
	mem, err := offheap.Reserve(size)
	a.mem = mem
	return err
}

// advise keeps the kernel from doing what would lose the protection of a page
// or show its bytes elsewhere; docs/kernel.md has the reasons.
func (a *arena) advise() error {
	return offheap.Advise(a.mem, offheap.NoHugePage, offheap.DontFork, offheap.DontDump, offheap.Unmergeable)
}

func (a *arena) base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(a.mem))) }

// page returns the memory of page id. It may be touched only inside a trap
// boundary, or when the page is known to be resident.
func (a *arena) page(id PageID) *Page {
	return (*Page)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(a.mem)), uintptr(id)*PageBytes))
}

func (a *arena) addr(id PageID) uintptr { return a.base() + uintptr(id)*PageBytes }

// span is the memory of n pages from id on.
func (a *arena) span(id PageID, n int) []byte {
	return a.mem[int(id)*PageBytes : (int(id)+n)*PageBytes]
}

// close gives the memory back and keeps the addresses, for which any touch is
// then a fault. The caller has seen to it that nobody loads or writes pages.
func (a *arena) close() error {
	err := a.fd.Close()
	if a.mem == nil {
		return err
	}
	if barErr := offheap.Bar(a.mem); barErr != nil {
		return errors.Join(err, fmt.Errorf("drop arena: %w", barErr))
	}
	reserved.Lock()
	defer reserved.Unlock()
	if reserved.free == nil {
		reserved.free = map[int][][]byte{}
	}
	reserved.free[len(a.mem)] = append(reserved.free[len(a.mem)], a.mem)
	return err
}
