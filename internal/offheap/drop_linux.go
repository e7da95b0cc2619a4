package offheap

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Drop gives the memory back and keeps the addresses: they hold zeros again.
func Drop(mem []byte) error {
	if err := unix.Madvise(mem, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("madvise MADV_DONTNEED, %d bytes: %w", len(mem), err)
	}
	return nil
}

const (
	// dropRanges is how many ranges go to the kernel in one call: from here on
	// a page gets no cheaper (BenchmarkDropMany).
	dropRanges = 256

	// selfPIDFD is PIDFD_SELF of include/uapi/linux/pidfd.h. An older kernel says
	// EBADF.
	selfPIDFD = -10000
)

// oneByOne says that the kernel has refused to drop many ranges in one call.
var oneByOne atomic.Bool

// DropMany is Drop of each of ranges, in few system calls: the mmap_lock is taken
// and the TLBs are flushed once for many ranges. After an error some have been
// dropped, some of them twice, and others not.
//
// It is process_madvise on the caller itself. Linux 6.18 allows MADV_DONTNEED
// there and flushes once a call; where the kernel refuses, it drops range by
// range. DropMany does not allocate.
func DropMany(ranges [][]byte) error {
	var vec [dropRanges]unix.Iovec
	for len(ranges) > 0 {
		if oneByOne.Load() {
			return dropEach(ranges)
		}
		n := min(len(ranges), len(vec))
		for i, mem := range ranges[:n] {
			vec[i].Base = unsafe.SliceData(mem)
			vec[i].SetLen(len(mem))
		}
		if err := dropVector(vec[:n]); err != nil {
			// What is wrong with a range, Drop says of that range.
			if err := dropEach(ranges); err != nil {
				return err
			}
			oneByOne.Store(true)
			return nil
		}
		ranges = ranges[n:]
	}
	return nil
}

func dropEach(ranges [][]byte) error {
	for _, mem := range ranges {
		if err := Drop(mem); err != nil {
			return err
		}
	}
	return nil
}

// dropVector drops all of vec, which it consumes.
func dropVector(vec []unix.Iovec) error {
	self := selfPIDFD
	for len(vec) > 0 {
		done, _, errno := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(self),
			uintptr(unsafe.Pointer(&vec[0])), uintptr(len(vec)), unix.MADV_DONTNEED, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		vec = advance(vec, done)
	}
	return nil
}

// advance takes the first done bytes off vec: a signal ends a call early.
func advance(vec []unix.Iovec, done uintptr) []unix.Iovec {
	for len(vec) > 0 && done >= uintptr(vec[0].Len) {
		done -= uintptr(vec[0].Len)
		vec = vec[1:]
	}
	if done > 0 {
		vec[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(vec[0].Base), done))
		vec[0].SetLen(int(uintptr(vec[0].Len) - done))
	}
	return vec
}
