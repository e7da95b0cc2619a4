// Package uffd is Linux userfaultfd for Go programs that take their own page
// faults: it makes touches of a range of memory trap, and says which pages are
// missing, protected or writable. It is the kernel interface and nothing else,
// with no policy, no goroutine and no state but two descriptors.
//
// # SIGBUS mode
//
// With [FeatureSigbus] nobody reads the descriptor. A touch that may not happen
// raises SIGBUS in the thread that made it, and in a goroutine that has called
// debug.SetPanicOnFault(true) this is a panic whose value has a method Addr. So
// a trap is served by the goroutine that took it:
//
//	goroutine                        kernel
//	    |-- store to the page ---------->| missing, or write-protected:
//	    |<------------------- SIGBUS ----|
//	 panic; the operation unwinds and lets go of its locks
//	 recover; Addr() says which page
//	    |-- Copy, or Unprotect --------->| present, or writable
//	    |<-------------------------------|
//	 the operation starts again
//
// The signal does not say whether the page was missing or protected, nor whether
// it was a load or a store. Who serves traps keeps the state of each page.
//
// # What each call makes true
//
//	state of a page      load    store   how to get there
//	missing              traps   traps   Register, then MADV_DONTNEED
//	present, protected   works   traps   Copy with protect; Protect
//	present, writable    works   works   Copy, Zero; Unprotect
//
// Copy brings a page into being with its bytes and its protection at one stroke.
// Nobody sees it half filled, and no store slips in between.
//
// When Protect has returned, no CPU stores through a translation from before:
// the kernel has changed the page tables and flushed the TLBs. Before it has
// returned, nothing holds for any page of the range. A page may therefore count
// as clean only after the return, and one that becomes writable must count as
// dirty before Unprotect is called.
//
// # Hazards
//
// They are marked with the test that shows them, or with where they were read.
//
//  1. Reading faults from the descriptor deadlocks inside a Go process. The
//     faulting thread sleeps with its P, a stopping world waits for it, and the
//     goroutine that reads the descriptor waits for the world. Open refuses the
//     EVENT features for the same reason. Use FeatureSigbus.
//  2. Closing the descriptor drops all protection and all traps, without an error
//     anywhere (TestCloseDropsProtection). An os.File would do it from its
//     finalizer, so [FD] holds an int.
//  3. Copy without protect makes a page writable, whatever Protect did while it
//     was missing (TestProtectMissing).
//  4. Protect does nothing to a missing page, or leaves a marker if there is
//     [FeatureWPUnpopulated], which does not survive a Copy (TestProtectMissing).
//  5. MADV_DONTNEED takes the page and the protection (TestDontneed). MADV_FREE
//     lets the kernel take a page at any later moment: do not use it.
//  6. A system call that is handed a trapping address gets EFAULT, or stops short:
//     there is no signal and no panic (TestSystemCalls).
//  7. KSM replaces a protected page by an unprotected one (mm/ksm.c,
//     replace_page). See that nothing made the range mergeable: MADV_UNMERGEABLE,
//     and prctl(PR_GET_MEMORY_MERGE) is 0.
//  8. A forked child has the memory without traps and protection, and the parent
//     pays copy-on-write faults: use MADV_DONTFORK. After mremap the range has no
//     traps either: do not move it.
//  9. A second mapping of the same memory, or an io_uring buffer or other pin made
//     while the page was writable, stores without a trap.
//  10. A failed compare-and-swap is a store and traps. Under the race detector an
//     atomic store or compare-and-swap that traps on a protected page kills the
//     process, since the detector runs it in C (TestTrapAtomic). Keep locks,
//     versions and counters out of the range.
//  11. A trap where the runtime holds a lock is fatal: the range must not hold a
//     map key, the operand of a channel operation, or the destination of an
//     append; see the package that serves traps.
//  12. A panic leaves the direction flag of amd64 as it was, and a copy within
//     overlapping memory sets it on CPUs without AVX. Clear it (CLD) after
//     recover.
//  13. munmap hands the addresses to the next mmap, Go's heap included, while a
//     slice of the range may still exist: keep the range, PROT_NONE.
//
// # Platforms
//
// Linux on amd64 (5.11 or newer) and arm64 (6.10 or newer, for write
// protection). Elsewhere the package compiles, and each constructor returns an
// error that wraps [errors.ErrUnsupported].
package uffd
