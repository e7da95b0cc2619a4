//go:build linux && (amd64 || arm64)

package uffd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An FD is an open userfaultfd. All methods but Close may be called from many
// goroutines at once.
//
// Its descriptor is a plain int that nothing closes but Close: an os.File would
// have a finalizer, and to close the descriptor is to drop all traps and all
// protection in silence.
type FD struct {
	fd int
}

// Open returns a userfaultfd with the features want, made for this process and
// for faults in user mode only, which needs no privilege. It asks
// userfaultfd(2) first and /dev/userfaultfd second.
//
// Open refuses the EVENT features: they make madvise, mremap, munmap and fork
// wait for somebody to read the descriptor, and in a Go process that deadlocks.
//
// If there is no userfaultfd or it lacks a feature, the error is an
// [*UnavailableError].
func Open(want Features) (*FD, error) {
	if events := want & featureEvents; events != 0 {
		return nil, &OpError{Op: "open with " + events.String(), Err: unix.EINVAL}
	}
	fd, _, err := create()
	if err != nil {
		return nil, err
	}
	_, errno := handshake(fd, want)
	if errno == 0 {
		return &FD{fd: fd}, nil
	}
	unix.Close(fd)
	if errno == unix.EINVAL {
		return nil, missing(want)
	}
	return nil, &OpError{Op: "handshake", Err: errno}
}

// missing finds out which of the features want made the kernel refuse the
// handshake. It does not tell, so another descriptor asks what it has.
func missing(want Features) error {
	info, err := Probe()
	if err != nil {
		return err
	}
	lacks := want &^ info.Features
	if lacks == 0 {
		return &OpError{Op: "handshake for " + want.String(), Err: unix.EINVAL}
	}
	return &UnavailableError{
		Reason:  "the kernel lacks " + lacks.withKernels() + ": run a newer kernel, or one built with these features",
		Kernel:  info.Kernel,
		Missing: lacks,
	}
}

// Probe opens a userfaultfd, asks what the kernel offers, and closes it again.
// Nothing has an effect on the process. The error is an [*UnavailableError],
// unless the process has run out of descriptors or memory.
func Probe() (Info, error) {
	fd, via, err := create()
	if err != nil {
		return Info{}, err
	}
	defer unix.Close(fd)

	// With features in the first handshake the kernel would refuse what it does
	// not have instead of telling what it has.
	features, errno := handshake(fd, 0)
	if errno != 0 {
		return Info{}, &OpError{Op: "handshake", Err: errno}
	}
	return Info{
		Features:    features,
		Via:         via,
		Kernel:      observe().release,
		PagemapScan: hasPagemapScan(),
	}, nil
}

// Ways tries each way to a userfaultfd by itself, and gives back what it gets. Open
// takes the first of those that it uses; the others are for whoever asks what the
// machine allows.
func Ways() []Way {
	const flags = unix.O_CLOEXEC | unix.O_NONBLOCK
	bySyscall := func(flags uintptr) (int, unix.Errno) {
		fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, flags, 0, 0)
		return int(fd), errno
	}
	var ways []Way
	for _, w := range []struct {
		name  string
		used  bool
		flags uintptr
		make  func(flags uintptr) (int, unix.Errno)
	}{
		{"userfaultfd(2), user mode only", true, flags | flagUserModeOnly, bySyscall},
		{devicePath + ", user mode only", true, flags | flagUserModeOnly, createByDevice},
		{"userfaultfd(2), in full", false, flags, bySyscall},
	} {
		fd, errno := w.make(w.flags)
		way := Way{Name: w.name, Used: w.used}
		if errno == 0 {
			unix.Close(fd)
		} else {
			way.Err = errno
		}
		ways = append(ways, way)
	}
	return ways
}

// Close closes the descriptor. Every range that is still registered loses its
// traps at once and without an error anywhere: protected pages become writable,
// missing pages read as zeros. No other method may run during Close or after
// it, since the number may already belong to another file.
func (f *FD) Close() error {
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil {
		return &OpError{Op: "close", Err: err}
	}
	return nil
}

// Fd returns the descriptor, which stays f's.
func (f *FD) Fd() int { return f.fd }

// create makes a userfaultfd, before its handshake, and says which way worked.
func create() (fd int, via string, err error) {
	const flags = unix.O_CLOEXEC | unix.O_NONBLOCK | flagUserModeOnly

	r, _, bySyscall := unix.Syscall(unix.SYS_USERFAULTFD, flags, 0, 0)
	if bySyscall == 0 {
		return int(r), "userfaultfd(2)", nil
	}
	if exhausted(bySyscall) {
		return -1, "", &OpError{Op: "userfaultfd(2)", Err: bySyscall}
	}

	fd, byDevice := createByDevice(flags)
	if byDevice == 0 {
		return fd, devicePath, nil
	}
	if exhausted(byDevice) {
		return -1, "", &OpError{Op: devicePath, Err: byDevice}
	}
	seen := observe()
	return -1, "", &UnavailableError{
		Reason:  explain(bySyscall, byDevice, seen),
		Kernel:  seen.release,
		Syscall: bySyscall,
		Device:  byDevice,
	}
}

func createByDevice(flags uintptr) (int, unix.Errno) {
	dev, err := open(&held.device, devicePath, unix.O_RDWR)
	if err != nil {
		var errno unix.Errno
		errors.As(err, &errno)
		return -1, errno
	}
	defer unix.Close(dev)

	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dev), ioctlNew, flags)
	if errno != 0 {
		return -1, errno
	}
	return int(r), 0
}

// exhausted reports whether errno is about this moment and not about what the
// kernel can do.
func exhausted(errno unix.Errno) bool {
	return errno == unix.EMFILE || errno == unix.ENFILE || errno == unix.ENOMEM
}

// handshake enables the features want on fd and returns all that the kernel has.
// A descriptor can do it once.
func handshake(fd int, want Features) (Features, unix.Errno) {
	api := uffdioAPI{api: _UFFDAPI, features: uint64(want)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlAPI, uintptr(unsafe.Pointer(&api)))
	return Features(api.features), errno
}

// surroundings is what can be seen of the machine, for the text of an error.
type surroundings struct {
	release string // uname -r
	gvisor  bool   // the kernel is gVisor's
	seccomp bool   // the process runs under a seccomp filter
}

// gvisorVersion is uname -v under gVisor, a constant there
// (pkg/sentry/syscalls/linux/linux64.go). Its release has changed over time:
// 4.4.0, then 4.19.0-gvisor.
const gvisorVersion = "#1 SMP Sun Jan 10 15:06:54 PST 2016"

func observe() surroundings {
	var s surroundings
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		s.release = unix.ByteSliceToString(uts.Release[:])
		s.gvisor = unix.ByteSliceToString(uts.Version[:]) == gvisorVersion
	}
	// A container's filter is in force before the first thread, so that the main
	// thread, which this is, speaks for all.
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		s.seccomp = bytes.Contains(status, []byte("\nSeccomp:\t2\n"))
	}
	return s
}

// explain turns the two refusals into a cause and a remedy. It is a function of
// its arguments alone, so that a table can test it.
func explain(bySyscall, byDevice unix.Errno, s surroundings) string {
	const (
		newer = "run Linux 6.1 or newer (6.10 on arm64)"
		allow = "start the container with --device /dev/userfaultfd, or with a seccomp profile that allows the system call userfaultfd (Kubernetes: a device plugin, or securityContext.seccompProfile)"
	)
	if s.gvisor {
		return "this is gVisor, which has no userfaultfd: run the container with another runtime, such as runc"
	}
	// Before 5.11 the answer depends on the age, the configuration and the
	// sysctl vm.unprivileged_userfaultfd, and on none of them the remedy.
	if s.release != "" && !releaseAtLeast(s.release, "5.11") || bySyscall == unix.EINVAL {
		return "the kernel is older than 5.11 and has no userfaultfd for user mode only: " + newer
	}
	switch bySyscall {
	case unix.ENOSYS:
		switch {
		case s.seccomp && byDevice != unix.ENOENT:
			return "a seccomp filter hides userfaultfd(2), and " + deviceRefusal(byDevice)
		case s.seccomp:
			return "either a seccomp filter hides userfaultfd(2) or the kernel is built without CONFIG_USERFAULTFD: " + allow + ", on a kernel that has CONFIG_USERFAULTFD=y"
		}
		return "the kernel is built without CONFIG_USERFAULTFD: run one that has CONFIG_USERFAULTFD=y"

	case unix.EPERM:
		switch {
		case byDevice != unix.ENOENT:
			return "userfaultfd(2) is forbidden, most likely by a container's seccomp profile, and " + deviceRefusal(byDevice)
		case s.seccomp:
			return "a seccomp filter, most likely a container's profile, forbids userfaultfd(2): " + allow
		}
		return "userfaultfd(2) is forbidden though no seccomp filter is in force: ask whoever set the machine's security policy, or create /dev/userfaultfd (Linux 6.1) and give this user access"

	case unix.EACCES:
		return "a security module such as SELinux forbids userfaultfd (class anon_inode): allow it in the policy"
	}
	return fmt.Sprintf("userfaultfd(2) answered %q, which no known cause explains", bySyscall.Error())
}

// deviceRefusal says what is wrong with a /dev/userfaultfd that exists.
func deviceRefusal(errno unix.Errno) string {
	switch errno {
	case unix.EACCES:
		return "/dev/userfaultfd is not open to this user: give it a group and mode 0660 (a udev rule: KERNEL==\"userfaultfd\", GROUP=\"...\", MODE=\"0660\") and run in that group"
	case unix.EPERM:
		return "the device cgroup or a security module forbids /dev/userfaultfd: start the container with --device /dev/userfaultfd instead of mounting or making the node"
	case unix.ENXIO, unix.ENODEV:
		return "/dev/userfaultfd is a node without a driver: run Linux 6.1 or newer with CONFIG_USERFAULTFD=y"
	case unix.ENOTTY, unix.EINVAL:
		return "/dev/userfaultfd is not the userfaultfd device: remove what lies there, and start the container with --device /dev/userfaultfd"
	}
	return fmt.Sprintf("/dev/userfaultfd cannot be used (%v)", errno)
}
