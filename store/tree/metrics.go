package tree

import "sync/atomic"

type metrics struct{ kept, takenIn atomic.Uint64 }

// Metrics counts what a Tree has done since New or Open.
type Metrics struct {
	Kept    uint64 // writes kept beside leaves that were not in memory
	TakenIn uint64 // times that a leaf has taken in all writes beside it
}

// Metrics returns the counts.
func (t *Tree) Metrics() Metrics {
	return Metrics{Kept: t.metrics.kept.Load(), TakenIn: t.metrics.takenIn.Load()}
}
