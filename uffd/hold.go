//go:build linux && (amd64 || arm64)

package uffd

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// held has the descriptors of Hold, each plus one: 0 is none.
var held struct{ device, pagemap atomic.Int32 }

// Hold opens /dev/userfaultfd and /proc/self/pagemap and keeps them, for [Open] to use
// until [Release], and for [OpenPagemap] for the life of the process. A process that is
// about to give up the right to open them calls it before: one that becomes another user,
// that can no longer be dumped (then /proc/self/pagemap is root's), or that confines
// itself. What cannot be opened now is tried again when it is needed.
func Hold() {
	hold(&held.device, devicePath, unix.O_RDWR)
	hold(&held.pagemap, pagemapPath, unix.O_RDONLY)
}

// Release closes what Hold has of /dev/userfaultfd, when no userfaultfd will be opened
// any more. No call of Open may run meanwhile.
func Release() {
	if fd := held.device.Swap(0) - 1; fd >= 0 {
		unix.Close(int(fd))
	}
}

func hold(at *atomic.Int32, path string, flags int) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err == nil && !at.CompareAndSwap(0, int32(fd)+1) {
		unix.Close(fd) // Hold has been called before
	}
}

// open returns a descriptor of path: a copy of the one that is held, if there is one.
func open(at *atomic.Int32, path string, flags int) (int, error) {
	if fd := at.Load() - 1; fd >= 0 {
		return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	return unix.Open(path, flags|unix.O_CLOEXEC, 0)
}
