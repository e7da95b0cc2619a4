package pagemeta

import "sync/atomic"

type metrics struct {
	mkwriteTraps, mkwritePrepared, captured, loads, loadTraps atomic.Uint64
}

// Metrics counts what a Table has done since New.
type Metrics struct {
	MkwriteTraps    uint64 // pages made writable since a store trapped
	MkwritePrepared uint64 // pages made writable by Prepare, without a trap
	Captured        uint64 // mkwrites of a Frozen page, which captured its image
	Loads           uint64 // pages brought into memory, fresh ones included
	LoadTraps       uint64 // loads since a touch trapped
	DirtyPages      int    // pages Dirty now
}

// Metrics returns the counts. They are read one by one.
func (t *Table) Metrics() Metrics {
	return Metrics{
		MkwriteTraps:    t.metrics.mkwriteTraps.Load(),
		MkwritePrepared: t.metrics.mkwritePrepared.Load(),
		Captured:        t.metrics.captured.Load(),
		Loads:           t.metrics.loads.Load(),
		LoadTraps:       t.metrics.loadTraps.Load(),
		DirtyPages:      t.Dirty(),
	}
}
