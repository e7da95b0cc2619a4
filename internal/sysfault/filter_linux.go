//go:build amd64 || arm64

package sysfault

import (
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// Where struct seccomp_data has what a filter looks at (linux/seccomp.h). Of an
// argument it is the low half; both machines are little-endian.
const (
	nrAt   = 0
	archAt = 4
	argsAt = 16
)

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func loadArg(i uint32) unix.SockFilter { return load(argsAt + 8*i) }

// unless skips n instructions if what was loaded is not k.
func unless(k uint32, n uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: n, K: k}
}

// unlessBit skips n instructions if what was loaded has no bit of k.
func unlessBit(k uint32, n uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: n, K: k}
}

func and(k uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: k}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

func nativeArch() uint32 {
	if runtime.GOARCH == "arm64" {
		return unix.AUDIT_ARCH_AARCH64
	}
	return unix.AUDIT_ARCH_X86_64
}

// uffdType is the type of the ioctls of userfaultfd (UFFDIO in
// linux/userfaultfd.h), in bits 8 to 15 of the number.
const uffdType = 0xaa << 8

// newFilter stops the traced calls and lets all others run, but for AIO: its reads
// and writes would not be seen, and a program must do without it on other kernels
// too. Numbers mean these
// calls only in the ABI of the machine: a call by another is let through.
func newFilter() []unix.SockFilter {
	stop, run := ret(unix.SECCOMP_RET_USER_NOTIF), ret(unix.SECCOMP_RET_ALLOW)
	f := []unix.SockFilter{
		load(archAt), unless(nativeArch(), 1), load(nrAt), // else what is loaded stays an arch, and equals no nr
	}
	for _, nr := range slices.Sorted(maps.Keys(traced)) {
		switch nr {
		case unix.SYS_MMAP:
			f = append(f, unless(uint32(nr), 4), loadArg(3), unlessBit(unix.MAP_SHARED, 1), stop, run)
		case unix.SYS_IOCTL:
			f = append(f, unless(uint32(nr), 5), loadArg(1), and(0xff00), unless(uffdType, 1), stop, run)
		default:
			f = append(f, unless(uint32(nr), 1), stop)
		}
	}
	return append(f, unless(unix.SYS_IO_SETUP, 1), ret(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)), run)
}
