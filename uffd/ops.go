//go:build linux && (amd64 || arm64)

package uffd

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Every call here is a unix.Syscall, not a RawSyscall. It costs some 60 ns more
// (BenchmarkSyscallKinds) of the 1 to 3 us that the shortest of them takes. In
// exchange the scheduler takes the P away when a call sleeps on mmap_lock or has
// a large range to go through, and a stopping world does not wait for it.

// Register makes touches of the range trap as mode says. The range must be
// mapped, private and anonymous, and registered with no other userfaultfd (else
// EBUSY). Pages that are present stay as they are, and are not protected yet.
//
// Register fails with an error that wraps [errors.ErrUnsupported], and leaves
// the range unregistered, if Copy, Wake or (with ModeWP) Protect would not work
// on it.
func (f *FD) Register(addr, length uintptr, mode Mode) error {
	arg := uffdioRegister{rng: uffdioRange{uint64(addr), uint64(length)}, mode: uint64(mode)}
	if errno := f.ioctl(ioctlRegister, unsafe.Pointer(&arg)); errno != 0 {
		return &OpError{"register", addr, length, errno}
	}
	need := uint64(1<<_UFFDIO_COPY | 1<<_UFFDIO_WAKE)
	if mode&ModeWP != 0 {
		need |= 1 << _UFFDIO_WRITEPROTECT
	}
	if arg.ioctls&need != need {
		return errors.Join(
			&OpError{"register", addr, length, errors.ErrUnsupported},
			f.Unregister(addr, length))
	}
	return nil
}

// Unregister ends the traps of the range. As with Close, its protected pages
// become writable and its missing pages read as zeros.
func (f *FD) Unregister(addr, length uintptr) error {
	arg := uffdioRange{uint64(addr), uint64(length)}
	if errno := f.ioctl(ioctlUnregister, unsafe.Pointer(&arg)); errno != 0 {
		return &OpError{"unregister", addr, length, errno}
	}
	return nil
}

// Copy makes the missing pages at dst present, with the bytes of src. If protect
// is set they are born write-protected, in one step with their birth: no store
// can come in between. Otherwise they are writable, whatever Protect did before
// while they were missing.
//
// len(src) is a multiple of the page size. src is ordinary Go memory; it must
// not lie in a registered range, where the kernel's read would get EFAULT.
//
// It is UFFDIO_COPY. A page that is already present is EEXIST, a range that is
// not registered ENOENT, a cgroup at its limit ENOMEM; the pages before the
// error's Addr have then been copied.
func (f *FD) Copy(dst uintptr, src []byte, protect bool) error {
	arg := uffdioCopy{
		dst: uint64(dst),
		src: unsafe.Pointer(unsafe.SliceData(src)),
		len: uint64(len(src)),
	}
	if protect {
		arg.mode = copyModeWP
	}
	for {
		arg.copy = 0
		errno := f.ioctl(ioctlCopy, unsafe.Pointer(&arg))
		if errno == unix.EAGAIN {
			// The field has the bytes of a short copy, or -EAGAIN for none.
			if done := arg.copy; done > 0 {
				arg.dst += uint64(done)
				arg.src = unsafe.Add(arg.src, done)
				arg.len -= uint64(done)
			}
			continue
		}
		if errno != 0 {
			return &OpError{"copy", uintptr(arg.dst), uintptr(arg.len), errno}
		}
		return nil
	}
}

// Zero makes the missing pages of the range present, writable and zero. What it
// maps is the kernel's shared page of zeros, which costs no memory until the
// first store; that one takes a copy-on-write fault, which is silent but dear,
// and is no trap (TestZero).
//
// Where the store follows soon, Copy from a page of zeros is the better choice:
// one call is dearer than Zero, but a third of Zero and the fault together
// (BenchmarkZero). It also takes the memory here, where a cgroup at its limit is
// ENOMEM, and not in the fault, where it calls the OOM killer.
//
// It is UFFDIO_ZEROPAGE, which cannot protect: a page of zeros that is to trap
// on its first store is made by Copy. Errors are those of Copy.
func (f *FD) Zero(dst, length uintptr) error {
	arg := uffdioZeropage{rng: uffdioRange{uint64(dst), uint64(length)}}
	for {
		arg.zeropage = 0
		errno := f.ioctl(ioctlZeropage, unsafe.Pointer(&arg))
		if errno == unix.EAGAIN {
			if done := arg.zeropage; done > 0 {
				arg.rng.start += uint64(done)
				arg.rng.len -= uint64(done)
			}
			continue
		}
		if errno != 0 {
			return &OpError{"zero", uintptr(arg.rng.start), uintptr(arg.rng.len), errno}
		}
		return nil
	}
}

// Protect makes the next store to each present page of the range trap. When it
// has returned, no CPU can store through a translation from before: the kernel
// has changed the page tables and flushed the TLBs. Until it has returned, any
// page of the range may still change, also one that looks protected already.
//
// On amd64 a range of up to 33 changed pages is flushed page by page and a
// larger one by a whole flush (tlb_single_page_flush_ceiling), so that 34 pages
// can take less time than 16. The whole flush is paid for by the loads that
// follow.
//
// On a missing page Protect does nothing, without an error. With
// FeatureWPUnpopulated it leaves a marker that a page read in by the kernel
// takes over, but that Copy without protect and Zero wipe out.
//
// It is UFFDIO_WRITEPROTECT. A range that is not registered with ModeWP from
// end to end is ENOENT.
func (f *FD) Protect(addr, length uintptr) error {
	return f.writeProtect("write-protect", addr, length, writeprotectModeWP)
}

// Unprotect makes the pages of the range writable, and wakes threads that sleep
// on a trap in it (none do, with FeatureSigbus). A CPU that still has the old
// translation takes one silent fault in the kernel, and no trap.
func (f *FD) Unprotect(addr, length uintptr) error {
	return f.writeProtect("unprotect", addr, length, 0)
}

func (f *FD) writeProtect(op string, addr, length uintptr, mode uint64) error {
	arg := uffdioWriteprotect{rng: uffdioRange{uint64(addr), uint64(length)}, mode: mode}
	for {
		errno := f.ioctl(ioctlWriteprotect, unsafe.Pointer(&arg))
		if errno == 0 {
			return nil
		}
		// EAGAIN stands for an mmap, mremap or madvise of another thread that
		// announces itself by an event. Open refuses events, so this is for
		// kernels to come; to protect twice does no harm.
		if errno != unix.EAGAIN {
			return &OpError{op, addr, length, errno}
		}
	}
}

// Wake lets threads go on that sleep on a trap in the range. With FeatureSigbus
// none do.
func (f *FD) Wake(addr, length uintptr) error {
	arg := uffdioRange{uint64(addr), uint64(length)}
	if errno := f.ioctl(ioctlWake, unsafe.Pointer(&arg)); errno != 0 {
		return &OpError{"wake", addr, length, errno}
	}
	return nil
}

// ioctl keeps arg alive and in place during the call: the conversion stands in
// the argument list of Syscall, rule 4 of unsafe.Pointer. arg does not escape,
// so that the operations allocate nothing (TestNoAllocation).
func (f *FD) ioctl(cmd uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), cmd, uintptr(arg))
	return errno
}
