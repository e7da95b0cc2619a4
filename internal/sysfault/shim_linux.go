//go:build amd64 || arm64

package sysfault

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The environment of the process that Start starts: the number of the socket
// for the listener, and the program to become.
const (
	socketEnv  = "SYSFAULT_SOCKET"
	programEnv = "SYSFAULT_PROGRAM"
)

// Shim is called first in a program that calls Start, before it looks at its
// arguments: in an init function, or in TestMain. In the process that Start
// starts it installs the filter, becomes the program, and does not return; else
// it does nothing. Go cannot run code of ours between fork and exec.
func Shim() {
	socket := os.Getenv(socketEnv)
	if socket == "" {
		return
	}
	fmt.Fprintf(os.Stderr, "sysfault: %v\n", become(os.Getenv(programEnv), socket))
	os.Exit(127)
}

// become returns only if it fails.
func become(program, socket string) error {
	fd, err := strconv.Atoi(socket)
	if err != nil {
		return fmt.Errorf("%s: %w", socketEnv, err)
	}
	runtime.LockOSThread() // the filter is this thread's until the exec
	listener, err := install(newFilter())
	if err != nil {
		return fmt.Errorf("install a seccomp filter: %w", err)
	}
	if err := unix.Sendmsg(fd, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return fmt.Errorf("send the listener: %w", err)
	}
	unix.CloseOnExec(fd)
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, socketEnv+"=") || strings.HasPrefix(s, programEnv+"=")
	})
	return syscall.Exec(program, os.Args, env)
}

// install puts the filter on this thread, and returns its listener, which is
// closed by the exec. A stopped thread does not react to signals, for one that
// came would make the call a second time, and the Go runtime sends many.
func install(filter []unix.SockFilter) (listener int, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}
