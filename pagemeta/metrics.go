package pagemeta

import "sync/atomic"

type metrics struct {
	mkwriteTraps, mkwritePrepared, captured, loads, loadTraps atomic.Uint64
	evicted, reclaims                                         atomic.Uint64
}

// Metrics counts what a Table has done since New.
type Metrics struct {
	MkwriteTraps    uint64 // pages made writable since a store trapped
	MkwritePrepared uint64 // pages made writable by Prepare, without a trap
	Captured        uint64 // mkwrites of a Frozen page, which captured its image
	Loads           uint64 // pages brought into memory, fresh ones included
	LoadTraps       uint64 // loads since a touch trapped
	Evicted         uint64 // pages taken out of memory
	Reclaims        uint64 // times that who loads a page had to evict others himself
	DirtyPages      int    // pages Dirty now
	ResidentPages   int    // pages in memory now
	GuestPages      int    // of these, guests
	TableBytes      int64  // of the tables about pages, the kernel's among them
	LentBytes       int64  // that the owner has: see Lend
}

// Metrics returns the counts. They are read one by one.
func (t *Table) Metrics() Metrics {
	return Metrics{
		MkwriteTraps:    t.metrics.mkwriteTraps.Load(),
		MkwritePrepared: t.metrics.mkwritePrepared.Load(),
		Captured:        t.metrics.captured.Load(),
		Loads:           t.metrics.loads.Load(),
		LoadTraps:       t.metrics.loadTraps.Load(),
		Evicted:         t.metrics.evicted.Load(),
		Reclaims:        t.metrics.reclaims.Load(),
		DirtyPages:      t.Dirty(),
		ResidentPages:   int(t.room.resident.Load()),
		GuestPages:      int(t.room.guests.Load()),
		TableBytes:      t.room.tables(),
		LentBytes:       t.room.lent.Load(),
	}
}
