//go:build linux && (amd64 || arm64)

package uffd

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Pagemap reads the page tables of this process through /proc/self/pagemap.
// It is safe for concurrent use, but for Close.
type Pagemap struct {
	fd int // plain for the sake of symmetry with FD; closing it is harmless
}

const pagemapPath = "/proc/self/pagemap"

// OpenPagemap opens /proc/self/pagemap, which needs no privilege; see [Hold] for a
// process that gives up rights. If it may not be opened, or there is no /proc, the error
// wraps [errors.ErrUnsupported].
func OpenPagemap() (*Pagemap, error) {
	fd, err := open(&held.pagemap, pagemapPath, unix.O_RDONLY)
	if err == unix.EACCES || err == unix.EPERM || err == unix.ENOENT {
		err = fmt.Errorf("%w (%w)", err, errors.ErrUnsupported)
	}
	if err != nil {
		return nil, &OpError{Op: "open " + pagemapPath, Err: err}
	}
	return &Pagemap{fd: fd}, nil
}

// Writable appends to dst the runs of pages in the range that exist and are not
// write-protected, in order of address, and returns the extended slice. In a
// range registered with ModeWP these are the pages that a store can change
// without a trap: missing pages are not listed, nor protected ones. Pages that
// the kernel has moved to swap, or is moving in memory, count as existing, since
// they come back with the protection, or the lack of it, that they left with. So
// do pages under MADV_GUARD_INSTALL and poisoned ones, whose entries look alike.
//
// It is PAGEMAP_SCAN with PAGE_IS_WRITTEN, a snapshot of the page tables that is
// exact only while nobody changes them. Before Linux 6.7 the error wraps
// [errors.ErrUnsupported]. On an error dst comes back with the runs found so
// far.
func (p *Pagemap) Writable(addr, length uintptr, dst []Region) ([]Region, error) {
	var vec [64]pageRegion
	first := len(dst)
	end := addr + length
	for addr < end {
		arg := pmScanArg{
			start:             uint64(addr),
			end:               uint64(end),
			vecLen:            uint64(len(vec)),
			categoryMask:      pageIsWritten,
			categoryAnyofMask: pageIsPresent | pageIsSwapped,
			returnMask:        pageIsWritten,
		}
		n, errno := p.scan(&arg, &vec)
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.ENOTTY {
			return dst, &OpError{"scan", addr, end - addr, errPagemapScan}
		}
		if errno != 0 {
			return dst, &OpError{"scan", addr, end - addr, errno}
		}
		for _, r := range vec[:n] {
			// The kernel cuts a run where vec was full.
			if last := len(dst) - 1; last >= first && dst[last].End == uintptr(r.start) {
				dst[last].End = uintptr(r.end)
				continue
			}
			dst = append(dst, Region{uintptr(r.start), uintptr(r.end)})
		}
		if uintptr(arg.walkEnd) <= addr {
			return dst, &OpError{"scan", addr, end - addr, errNoProgress}
		}
		addr = uintptr(arg.walkEnd)
	}
	return dst, nil
}

// Close closes the Pagemap.
func (p *Pagemap) Close() error {
	fd := p.fd
	p.fd = -1
	if err := unix.Close(fd); err != nil {
		return &OpError{Op: "close /proc/self/pagemap", Err: err}
	}
	return nil
}

func (p *Pagemap) scan(arg *pmScanArg, vec *[64]pageRegion) (int, unix.Errno) {
	arg.size = uint64(unsafe.Sizeof(*arg))
	arg.vec = uint64(uintptr(unsafe.Pointer(vec)))
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), ioctlPagemapScan, uintptr(unsafe.Pointer(arg)))
	return int(r), errno
}

var (
	errNoProgress = errors.New("the kernel did not advance")

	// errPagemapScan stands for ENOTTY, which to a reader says less.
	errPagemapScan error = &pagemapScanError{}
)

type pagemapScanError struct{}

func (*pagemapScanError) Error() string {
	return "PAGEMAP_SCAN is not known to this kernel: it came with Linux 6.7"
}

func (*pagemapScanError) Unwrap() []error { return []error{errors.ErrUnsupported, unix.ENOTTY} }

// hasPagemapScan asks for a scan. The range may be unmapped, and here it is: the
// kernel keeps the lowest pages free (vm.mmap_min_addr).
func hasPagemapScan() bool {
	p, err := OpenPagemap()
	if err != nil {
		return false
	}
	defer p.Close()
	_, err = p.Writable(0, uintptr(unix.Getpagesize()), nil)
	return err == nil
}
