package bench

import (
	"sync"
	"sync/atomic"
)

// inserts hands out the numbers of new records, and knows up to which number all are
// there: YCSB's AcknowledgedCounterGenerator.
type inserts struct {
	next  atomic.Uint64
	below atomic.Uint64 // all records below this are there

	mu    sync.Mutex
	early map[uint64]bool // that are there while one before them is not
}

func newInserts(n int) *inserts {
	s := &inserts{early: map[uint64]bool{}}
	s.next.Store(uint64(n))
	s.below.Store(uint64(n))
	return s
}

// begin returns the number of a new record, which end says is there.
func (s *inserts) begin() uint64 { return s.next.Add(1) - 1 }

func (s *inserts) end(record uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.early[record] = true
	below := s.below.Load()
	for s.early[below] {
		delete(s.early, below)
		below++
	}
	s.below.Store(below)
}

// known returns a number below which all records are there.
func (s *inserts) known() uint64 { return s.below.Load() }
