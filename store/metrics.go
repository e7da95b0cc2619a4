package store

import (
	"faultline/flusher"
	"faultline/pagemeta"
	"faultline/store/tree"
	"faultline/store/wal"
)

// Metrics is what a store has done since Open, and what it has now. Fields are
// read one after the other, not at one moment.
type Metrics struct {
	Keys    uint64
	Moved   uint64 // pages that Compact has moved
	Pages   pagemeta.Metrics
	Changes tree.Metrics
	Flush   flusher.Metrics
	Log     wal.Metrics
	Memory  Memory
}

// Metrics returns the counts.
func (db *DB) Metrics() Metrics {
	m := Metrics{
		Keys:    db.tree.Len(),
		Moved:   db.moved.Load(),
		Pages:   db.flusher.Pages.Metrics(),
		Changes: db.tree.Metrics(),
		Flush:   db.flusher.Metrics(),
		Log:     db.log.Metrics(),
	}
	m.Memory = db.memory(&m)
	return m
}
