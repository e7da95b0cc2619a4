package kv

// Durability says what a write waits for.
type Durability int

const (
	// Sync returns when the write is on disk: it survives a power cut.
	Sync Durability = iota
	// Async returns when the kernel has the write: it survives the process, not
	// the power. A later Sync write makes it durable too.
	Async
	// Deferred returns at once: the write is visible, and nothing is promised yet.
	// It is for who has several writes to answer for together.
	Deferred
)
