package server

import (
	"strconv"
	"sync/atomic"
	"time"
)

// A loading says how far the store is with its recovery. Until ready is set, db of
// the Server is nobody's to touch: commands without flagLoading are refused.
type loading struct {
	ready       atomic.Bool
	began       time.Time
	done, total atomic.Uint64 // bytes of the log
}

// errLoading is Redis's text.
const errLoading = "LOADING Redis is loading the dataset in memory"

// Open gives the store to a Server that was made without one. Called once; db stays
// the caller's to close.
func (s *Server) Open(db Store) {
	s.db = db
	s.loading.ready.Store(true)
}

// Loading tells the Server how far the recovery of its store is: so many bytes of the
// log, of so many. It is store.Options.Progress.
func (s *Server) Loading(done, total uint64) {
	s.loading.done.Store(done)
	s.loading.total.Store(total)
}

// Ready tells whether there is a store. While it is false clients are answered
// -LOADING.
func (s *Server) Ready() bool { return s.loading.ready.Load() }

// infoLoading has what Redis adds to section Persistence while it loads. A client
// library reads the estimate to know when to come again.
func (s *Server) infoLoading(add func(string, any)) {
	done, total := s.loading.done.Load(), s.loading.total.Load()
	elapsed := time.Since(s.loading.began)
	percent, eta := 0.0, int64(1) // as Redis has it before it knows better
	if total > 0 {
		percent = 100 * float64(done) / float64(total)
	}
	if done > 0 && done <= total {
		eta = int64(elapsed.Seconds() * float64(total-done) / float64(done))
	}
	add("loading_start_time", s.loading.began.Unix())
	add("loading_total_bytes", total)
	add("loading_loaded_bytes", done)
	add("loading_loaded_perc", strconv.FormatFloat(percent, 'f', 2, 64))
	add("loading_eta_seconds", eta)
}
