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
	Keys   uint64 // of all keyspaces; as KeyspaceMetrics.Keys
	Spaces []KeyspaceMetrics
	Moved  uint64 // pages that Compact has moved

	// Errors of what is done in the background and tried again: leaves that cannot take in
	// what is kept beside them, and expired keys that cannot be deleted. Scrub names damaged
	// pages.
	MergeErrors, ReapErrors uint64

	Pages   pagemeta.Metrics
	Changes tree.Metrics
	Flush   flusher.Metrics
	Log     wal.Metrics
	Memory  Memory
}

// KeyspaceMetrics are of one keyspace. Writes that are kept beside leaves that are not
// in memory are not counted yet: Keyspace.Len waits for them.
type KeyspaceMetrics struct {
	Name     string
	Keys     uint64
	Expiring uint64 // of Keys
}

// Metrics returns the counts.
func (db *DB) Metrics() Metrics {
	m := Metrics{
		Moved: db.moved.Load(),

		MergeErrors: db.merger.errs.Load(),
		ReapErrors:  db.reaper.errs.Load(),

		Pages:   db.flusher.Pages.Metrics(),
		Changes: db.tree.Metrics(),
		Flush:   db.flusher.Metrics(),
		Log:     db.log.Metrics(),
	}
	for _, ks := range db.spaces.all() {
		n := ks.counts()
		m.Spaces = append(m.Spaces, KeyspaceMetrics{Name: ks.name, Keys: n.Keys, Expiring: n.Expiring})
		m.Keys += n.Keys
	}
	m.Memory = db.memory(&m)
	return m
}
