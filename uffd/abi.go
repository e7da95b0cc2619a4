//go:build linux && (amd64 || arm64)

package uffd

import "unsafe"

// What follows restates the kernel's user-space interface, with the kernel's
// names. The sources are include/uapi/linux/userfaultfd.h and, for
// PAGEMAP_SCAN, include/uapi/linux/fs.h, both of Linux 6.18. All structures
// consist of 64-bit words, so they have no padding and are the same on amd64
// and arm64.

// include/uapi/asm-generic/ioctl.h: number in bits 0-7, type in 8-15, size of
// the argument in 16-29, direction in 30-31.
const (
	iocWrite = 1
	iocRead  = 2
)

const (
	_UFFDIO  = 0xAA
	_UFFDAPI = 0xAA

	_UFFDIO_REGISTER     = 0x00
	_UFFDIO_UNREGISTER   = 0x01
	_UFFDIO_WAKE         = 0x02
	_UFFDIO_COPY         = 0x03
	_UFFDIO_ZEROPAGE     = 0x04
	_UFFDIO_WRITEPROTECT = 0x06
	_UFFDIO_API          = 0x3F
)

const (
	// UNREGISTER and WAKE are _IOR though the kernel reads their argument: a
	// slip in the kernel's header that its comment owns up to.
	ioctlAPI          = (iocRead|iocWrite)<<30 | unsafe.Sizeof(uffdioAPI{})<<16 | _UFFDIO<<8 | _UFFDIO_API
	ioctlRegister     = (iocRead|iocWrite)<<30 | unsafe.Sizeof(uffdioRegister{})<<16 | _UFFDIO<<8 | _UFFDIO_REGISTER
	ioctlUnregister   = iocRead<<30 | unsafe.Sizeof(uffdioRange{})<<16 | _UFFDIO<<8 | _UFFDIO_UNREGISTER
	ioctlWake         = iocRead<<30 | unsafe.Sizeof(uffdioRange{})<<16 | _UFFDIO<<8 | _UFFDIO_WAKE
	ioctlCopy         = (iocRead|iocWrite)<<30 | unsafe.Sizeof(uffdioCopy{})<<16 | _UFFDIO<<8 | _UFFDIO_COPY
	ioctlZeropage     = (iocRead|iocWrite)<<30 | unsafe.Sizeof(uffdioZeropage{})<<16 | _UFFDIO<<8 | _UFFDIO_ZEROPAGE
	ioctlWriteprotect = (iocRead|iocWrite)<<30 | unsafe.Sizeof(uffdioWriteprotect{})<<16 | _UFFDIO<<8 | _UFFDIO_WRITEPROTECT

	// ioctlNew is USERFAULTFD_IOC_NEW, the only command of /dev/userfaultfd. Its
	// argument is the flags of userfaultfd(2), its result the new descriptor.
	ioctlNew = _UFFDIO<<8 | 0x00

	ioctlPagemapScan = (iocRead|iocWrite)<<30 | unsafe.Sizeof(pmScanArg{})<<16 | 'f'<<8 | 16
)

// Flags of userfaultfd(2) and modes of the commands.
const (
	flagUserModeOnly = 1 // UFFD_USER_MODE_ONLY

	copyModeWP         = 1 << 1 // UFFDIO_COPY_MODE_WP
	writeprotectModeWP = 1 << 0 // UFFDIO_WRITEPROTECT_MODE_WP
)

// Categories of PAGEMAP_SCAN (PAGE_IS_*).
const (
	pageIsWritten = 1 << 1
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

// uffdioAPI is struct uffdio_api: the handshake.
type uffdioAPI struct {
	api      uint64
	features uint64 // in: wanted; out: offered
	ioctls   uint64
}

// uffdioRange is struct uffdio_range.
type uffdioRange struct {
	start uint64
	len   uint64
}

// uffdioRegister is struct uffdio_register.
type uffdioRegister struct {
	rng    uffdioRange
	mode   uint64
	ioctls uint64 // out: the commands that work on the range, one bit each
}

// uffdioCopy is struct uffdio_copy.
type uffdioCopy struct {
	dst  uint64
	src  unsafe.Pointer // not a number: it may be on a stack that moves on the way to the kernel
	len  uint64
	mode uint64
	copy int64 // out: bytes copied, or a negative errno
}

// uffdioZeropage is struct uffdio_zeropage.
type uffdioZeropage struct {
	rng      uffdioRange
	mode     uint64
	zeropage int64 // out: bytes mapped, or a negative errno
}

// uffdioWriteprotect is struct uffdio_writeprotect.
type uffdioWriteprotect struct {
	rng  uffdioRange
	mode uint64
}

// pageRegion is struct page_region: one run of pages of equal categories.
type pageRegion struct {
	start      uint64
	end        uint64
	categories uint64
}

// pmScanArg is struct pm_scan_arg.
type pmScanArg struct {
	size              uint64 // of this structure
	flags             uint64
	start             uint64
	end               uint64
	walkEnd           uint64 // out: where the walk stopped
	vec               uint64 // *pageRegion
	vecLen            uint64 // in regions
	maxPages          uint64 // 0: no limit
	categoryInverted  uint64
	categoryMask      uint64 // a page matches if it has all of these
	categoryAnyofMask uint64 // and, if not 0, any of these
	returnMask        uint64 // categories to tell apart in the result
}

// A size, an offset or a command number that differs from the kernel's does not
// build: the index is then out of range or negative.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(uffdioAPI{})-24]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioAPI{}.features)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioAPI{}.ioctls)-16]

	_ = [1]struct{}{}[unsafe.Sizeof(uffdioRange{})-16]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioRange{}.len)-8]

	_ = [1]struct{}{}[unsafe.Sizeof(uffdioRegister{})-32]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioRegister{}.mode)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioRegister{}.ioctls)-24]

	_ = [1]struct{}{}[unsafe.Sizeof(uffdioCopy{})-40]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioCopy{}.src)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioCopy{}.len)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioCopy{}.mode)-24]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioCopy{}.copy)-32]

	_ = [1]struct{}{}[unsafe.Sizeof(uffdioZeropage{})-32]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioZeropage{}.mode)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioZeropage{}.zeropage)-24]

	_ = [1]struct{}{}[unsafe.Sizeof(uffdioWriteprotect{})-24]
	_ = [1]struct{}{}[unsafe.Offsetof(uffdioWriteprotect{}.mode)-16]

	_ = [1]struct{}{}[unsafe.Sizeof(pageRegion{})-24]
	_ = [1]struct{}{}[unsafe.Offsetof(pageRegion{}.end)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(pageRegion{}.categories)-16]

	_ = [1]struct{}{}[unsafe.Sizeof(pmScanArg{})-96]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.flags)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.start)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.end)-24]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.walkEnd)-32]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.vec)-40]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.vecLen)-48]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.maxPages)-56]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.categoryInverted)-64]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.categoryMask)-72]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.categoryAnyofMask)-80]
	_ = [1]struct{}{}[unsafe.Offsetof(pmScanArg{}.returnMask)-88]

	_ = [1]struct{}{}[ioctlAPI-0xc018aa3f]
	_ = [1]struct{}{}[ioctlRegister-0xc020aa00]
	_ = [1]struct{}{}[ioctlUnregister-0x8010aa01]
	_ = [1]struct{}{}[ioctlWake-0x8010aa02]
	_ = [1]struct{}{}[ioctlCopy-0xc028aa03]
	_ = [1]struct{}{}[ioctlZeropage-0xc020aa04]
	_ = [1]struct{}{}[ioctlWriteprotect-0xc018aa06]
	_ = [1]struct{}{}[ioctlPagemapScan-0xc0606610]
)
