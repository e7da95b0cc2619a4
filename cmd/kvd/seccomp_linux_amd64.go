package main

import "golang.org/x/sys/unix"

const nativeABI = unix.AUDIT_ARCH_X86_64

// forbiddenHere are calls that newer machines have no more.
var forbiddenHere = []uint32{
	unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB,
	unix.SYS_CREATE_MODULE, unix.SYS_MKNOD,
}
