package main

import "golang.org/x/sys/unix"

const nativeABI = unix.AUDIT_ARCH_AARCH64

// forbiddenHere is empty: all that amd64 has of its own are calls of old.
var forbiddenHere []uint32
