// Package pagemeta keeps the pages of a store in memory, and a state for each:
// where its newest bytes are, and so whether a store to it may happen. The MMU
// keeps it true: a page that is not in memory cannot be touched, a page that is
// not Dirty cannot be stored to. Who tries is stopped by a trap, makes the page
// what it must be, and tries again.
//
// # States
//
//	        Load            Mkwrite
//	Absent ------> Clean ------------> Dirty <-----------+
//	   ^           |  ^                  |               |
//	   +-----------+  | Written          | Freeze        | Mkwrite captures
//	       Evict      |                  v               | the old image first
//	               Flight <----------- Frozen -----------+
//	                  |     Capture                      |
//	                  +----------------------------------+
//
//	state   newest bytes are in              page table entry   who moves it on
//	Absent  the data file                    missing            who touches it (Load)
//	Clean   memory and the data file         protected          who stores to it (Mkwrite),
//	                                                            or the clock hand (Evict)
//	Dirty   memory; it has a head            writable           the flusher (Freeze)
//	Frozen  memory; belongs to the cut,      protected          the flusher (Capture), or a store
//	        or will to the next one
//	Flight  memory; image on its way         protected          the flusher (Written), or a store
//
// A page is frozen when the cut is made, or some time ahead of it, so that the gate is
// closed for a short time only (freeze.go). Between that and the cut a store makes it
// Dirty again with the head that it has; after the cut its image is captured first.
//
// Memory is bounded, see evict.go: a Clean page may be evicted at any moment. A
// reader is not told. What it has read is right, or it traps and reads again. Pages that
// others write, and that are here to be read alone, are guests: see guest.go.
//
// # Invariants
//
//  1. A writable page is Dirty. Audit asks the kernel.
//  2. A Dirty page has a head: its owner made it before the first store.
//  3. A page becomes Clean only after the image that was captured under its lock
//     is in the data file, and only if it was not stored to since.
//  4. While an operation is inside the owner's gate, a Dirty page stays Dirty.
//
// # Traps
//
// The kernel is asked for SIGBUS instead of messages (UFFD_FEATURE_SIGBUS): the
// goroutine that touches the page is stopped, and no other is needed to go on. A
// handler that reads messages in another goroutine deadlocks with a stopped
// world: the world waits for the faulting goroutine, that for the handler, and
// the handler for the world.
//
// An operation touches the arena only inside a boundary (see Trap), and in two
// phases:
//
//	phase 1   find the pages, make those writable that will be changed
//	          (Prepare, then Touch). May trap, may fail, may be begun again.
//	phase 2   latch, Commit, change. A trap here is a bug and panics.
//
// Rules for code inside a boundary, each the price of a trap in any of its
// instructions:
//
//   - no map operation with a key in the arena, no channel operand, no append
//     into the arena: the runtime does not survive the panic, or repeats what it
//     has done;
//   - no atomic operation on arena memory (under the race detector it is C code,
//     where a trap is fatal), and no lock, counter or version in it at all: a
//     failed compare-and-swap is a store too;
//   - no deferred call that touches the arena;
//   - no system call with an arena address unless the page is resident: it would
//     return EFAULT, or a short count;
//   - after a trap every local variable is garbage: begin from the inputs.
//
// # Lock order
//
// Outermost first; a goroutine takes locks only downwards.
//
//	gate (flusher; operations shared, a freeze alone)
//	    key stripes (store)
//	        structure mutex (store/tree)
//	            node latches, all at once and without waiting
//	            page lock, one at a time
//	            clock hand; page locks by trying only
//	                wait queue of the page lock
//
// Mkwrite is entered with no latch and no page lock. It may wait for the page
// lock, which others hold for microseconds or for one read of the data file.
package pagemeta
