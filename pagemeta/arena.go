package pagemeta

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

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
		if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return fmt.Errorf("mprotect: %w", err)
		}
		reserved.free[size] = kept[:len(kept)-1]
		a.mem = mem
		return nil
	}
	mem, err := mmap(size, unix.PROT_READ|unix.PROT_WRITE)
	a.mem = mem
	return err
}

// mmap reserves anonymous memory outside the Go heap. unix.Mmap is not used:
// its book-keeping offers an Munmap, and there is none here.
func mmap(size int, prot uintptr) ([]byte, error) {
	addr, err := unix.MmapPtr(-1, 0, nil, uintptr(size), int(prot),
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", size, err)
	}
	return unsafe.Slice((*byte)(addr), size), nil
}

// advise keeps the kernel from doing what would lose the protection of a page
// or show its bytes elsewhere; docs/kernel.md has the reasons.
func (a *arena) advise() error {
	for _, adv := range []struct {
		name string
		code int
	}{
		{"MADV_NOHUGEPAGE", unix.MADV_NOHUGEPAGE},
		{"MADV_DONTFORK", unix.MADV_DONTFORK},
		{"MADV_DONTDUMP", unix.MADV_DONTDUMP},
		{"MADV_UNMERGEABLE", unix.MADV_UNMERGEABLE},
	} {
		err := unix.Madvise(a.mem, adv.code)
		if err != nil && err != unix.EINVAL { // EINVAL: a kernel built without it
			return fmt.Errorf("madvise %s: %w", adv.name, err)
		}
	}
	return nil
}

func (a *arena) base() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(a.mem))) }

// page returns the memory of page id. It may be touched only inside a trap
// boundary, or when the page is known to be resident.
func (a *arena) page(id PageID) *Page {
	return (*Page)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(a.mem)), uintptr(id)*PageBytes))
}

func (a *arena) addr(id PageID) uintptr { return a.base() + uintptr(id)*PageBytes }

// close gives the memory back and keeps the addresses, for which any touch is
// then a fault. The caller has seen to it that nobody loads or writes pages.
func (a *arena) close() error {
	err := a.fd.Close()
	if a.mem == nil {
		return err
	}
	_, mapErr := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(a.mem)), uintptr(len(a.mem)), unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_FIXED)
	if mapErr != nil {
		return errors.Join(err, fmt.Errorf("drop arena: %w", mapErr))
	}
	reserved.Lock()
	defer reserved.Unlock()
	if reserved.free == nil {
		reserved.free = map[int][][]byte{}
	}
	reserved.free[len(a.mem)] = append(reserved.free[len(a.mem)], a.mem)
	return err
}
