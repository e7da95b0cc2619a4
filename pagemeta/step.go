package pagemeta

// A step is a place in the protocol at which a test can hold a goroutine before
// it goes on. The letters are those of mkwrite; the page lock is taken and given
// back in Capture and Written by the same A and E.
type step string

const (
	stepLock      step = "A lock"
	stepOwner     step = "B owner"
	stepUnprotect step = "C unprotect"
	stepDirty     step = "D dirty"
	stepUnlock    step = "E unlock"

	stepWait step = "wait" // not held: the goroutine is about to park on the page lock

	stepProtect step = "protect" // Freeze
	stepMark    step = "mark"
	stepClear   step = "clear" // of no page
	stepCopy    step = "copy"  // Capture
	stepFlight  step = "flight"
	stepWritten step = "written" // Written

	stepEvict step = "evict" // evict
	stepDrop  step = "drop"
)
