//go:build amd64 || arm64

package main

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter is a list of what is denied, not of what is allowed: what the Go runtime
// calls changes with its versions, and a call that it makes once a month must not fail.
// Who has taken the process over can still use what kvd uses, its memory and its files,
// but starts no program and looks into no other process, and the parts of the kernel in
// which most holes were found are out of reach.

// A filter is a program of the kernel's packet filter, which decides on each system call.
type filter []unix.SockFilter

// forbidden is what serve never calls. It is answered EPERM.
var forbidden = append([]uint32{
	// To start a program.
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	// Other processes.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	// Programs and queues within the kernel, its counters and its keys.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER,
	unix.SYS_IO_URING_REGISTER, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	// Namespaces and mounts.
	unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR,
	// Files by handle, past all directories, and what is done to files of others.
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_FANOTIFY_INIT, unix.SYS_FANOTIFY_MARK,
	// The kernel and the machine.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_SYSLOG, unix.SYS_QUOTACTL,
	unix.SYS_QUOTACTL_FD, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME,
	unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_PERSONALITY, unix.SYS_VHANGUP, unix.SYS_MKNODAT,
}, forbiddenHere...)

// newestCall is the newest system call that passes: kvd has no use for one that came
// after Linux 6.10, and what they do nobody knew when this was written. They are
// answered as by a kernel that has none.
const newestCall = unix.SYS_MSEAL

// namespaces are the flags of clone for new ones.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Where struct seccomp_data of linux/seccomp.h has what a filter looks at. Of an
// argument it is the low half: both machines are little-endian.
const (
	callAt     = 0
	abiAt      = 4
	firstArgAt = 16
)

var (
	pass   = answer(unix.SECCOMP_RET_ALLOW)
	denied = answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	absent = answer(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	killed = answer(unix.SECCOMP_RET_KILL_PROCESS)
)

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// unless skips n instructions if what was loaded is not k.
func unless(k uint32, n uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: n, K: k}
}

// unlessAbove skips n instructions if what was loaded is not more than k.
func unlessAbove(k uint32, n uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, Jf: n, K: k}
}

// unlessAny skips n instructions if what was loaded has no bit of k.
func unlessAny(k uint32, n uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: n, K: k}
}

// newFilter returns what is in force from before the store is opened. notifies says
// that systemd is told of states, by a Unix socket that is made each time: else there
// are no new sockets, of whatever protocol.
//
// A call by the numbers of another kind of processor, of 32 bits, ends the process: kvd
// makes none. Of clone only what makes a thread passes; clone3, whose flags a filter
// does not see, is answered as by an old kernel.
func newFilter(notifies bool) filter {
	f := begin()
	f = append(f, unlessAbove(newestCall, 1), absent)
	f = append(f, unless(unix.SYS_CLONE3, 1), absent)
	f = append(f, unless(unix.SYS_CLONE, 6), load(firstArgAt),
		unlessAny(namespaces, 1), denied,
		unlessAny(unix.CLONE_THREAD, 1), pass,
		denied)
	if notifies {
		f = append(f, unless(unix.SYS_SOCKET, 4), load(firstArgAt), unless(unix.AF_UNIX, 1), pass, denied)
	} else {
		f = f.forbid(unix.SYS_SOCKET, unix.SYS_CONNECT)
	}
	return append(f.forbid(forbidden...), pass)
}

// newOpenFilter returns what is in force as well once the store is open: it has the
// userfaultfd that it needs.
func newOpenFilter() filter { return append(begin().forbid(unix.SYS_USERFAULTFD), pass) }

// begin returns a filter that has loaded the number of the call.
func begin() filter {
	native := unless(nativeABI, 0)
	native.Jt = 1
	return filter{load(abiAt), native, killed, load(callAt)}
}

func (f filter) forbid(calls ...uint32) filter {
	for _, call := range calls {
		f = append(f, unless(call, 1), denied)
	}
	return f
}

// apply puts every thread under the filter, for good, beside those that are in force. It
// also sees that none gets new privileges, in a binary with cgo too. The error wraps
// errors.ErrUnsupported where the kernel does not take it; no thread is under it then.
func (f filter) apply() error {
	runtime.LockOSThread() // the second call is allowed to the thread of the first
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(&prog)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w (%w)", errno, errors.ErrUnsupported)
	}
	if thread != 0 {
		return fmt.Errorf("seccomp: thread %d has a filter of its own (%w)", thread, errors.ErrUnsupported)
	}
	return nil
}
