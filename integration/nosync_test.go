//go:build linux

package integration

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syncCalls are the system calls that make bytes durable.
var syncCalls = []uint32{unix.SYS_FDATASYNC, unix.SYS_FSYNC, unix.SYS_MSYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE}

// anyFile stands for every file descriptor.
const anyFile = -1

// forgetSyncs makes the syncs of this process return success and do nothing, for
// good: all of them, or those of one file descriptor, whatever file it is.
func forgetSyncs(fd int) error {
	const callAt, fdAt = 0, 16 // in struct seccomp_data; 16 is the low half of the first argument
	jump := func(k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(yes), Jf: uint8(no), K: k}
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	end := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

	program := []unix.SockFilter{load(callAt)}
	for i, call := range syncCalls {
		program = append(program, jump(call, len(syncCalls)-i, 0))
	}
	program = append(program, end(unix.SECCOMP_RET_ALLOW))
	if fd != anyFile {
		program = append(program, load(fdAt), jump(uint32(fd), 1, 0), end(unix.SECCOMP_RET_ALLOW))
	}
	program = append(program, end(unix.SECCOMP_RET_ERRNO|0)) // error 0: success

	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("seccomp: thread %d has another filter", thread)
	}
	return nil
}
