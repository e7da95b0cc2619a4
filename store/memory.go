package store

import (
	rtm "runtime/metrics"

	"faultline/pagemeta"
)

// Memory says what the store's memory is used for, next to the budget
// that bounds it. The Go heap is that of the whole process: a program that has
// more on it than the store sees the sum.
type Memory struct {
	PagesBytes  int64 // pages that are in memory
	TablesBytes int64 // what is kept of every page of the file: our tables, rounds, and the kernel's
	LentBytes   int64 // images of a flush round, and the buffer of a scrub
	LogBytes    int64 // buffers of the log, which are a mapped file
	GoBytes     int64 // what the Go runtime has of the system, of the whole process

	TotalBytes  int64 // the sum
	BudgetBytes int64 // Options.MemoryBudget, or its default
}

// memory puts together what the parts say of themselves.
func (db *DB) memory(m *Metrics) Memory {
	u := Memory{
		PagesBytes:  int64(m.Pages.ResidentPages) * pagemeta.PageBytes,
		TablesBytes: m.Pages.TableBytes,
		LentBytes:   m.Pages.LentBytes,
		LogBytes:    m.Log.BufferBytes,
		GoBytes:     goBytes(),
		BudgetBytes: db.opts.MemoryBudget,
	}
	u.TotalBytes = u.PagesBytes + u.TablesBytes + u.LentBytes + u.LogBytes + u.GoBytes
	return u
}

// goBytes is the memory that the Go runtime has taken and not given back.
func goBytes() int64 {
	s := []rtm.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	rtm.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
