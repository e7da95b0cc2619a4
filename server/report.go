package server

import (
	"errors"
	"time"

	"faultline/store"
)

// Stats are what the server has done since New or CONFIG RESETSTAT, and what it has
// now, for metrics. Fields are read one after the other, not at one moment.
type Stats struct {
	Clients    int // connected
	MaxClients int
	Accepted   int64 // connections, the refused ones too
	Refused    int64 // connections that were too many
	Commands   int64
	ByCommand  []CommandStats // those that were sent at least once

	LoadedBytes, LoadingBytes uint64 // of the log, by the recovery; all it has to read
}

// CommandStats are those of one command, or subcommand.
type CommandStats struct {
	Name     string // in lower case, "config|get"
	Calls    int64
	Failed   int64 // of them, answered with an error
	Rejected int64 // not run: wrong number of arguments, no password, loading
	Time     time.Duration
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	t := Stats{
		Clients:      s.openCount(),
		MaxClients:   int(s.conf.maxClients.Load()),
		Accepted:     s.stats.accepted.Load(),
		Refused:      s.stats.refused.Load(),
		Commands:     s.stats.commands.Load(),
		LoadedBytes:  s.loading.done.Load(),
		LoadingBytes: s.loading.total.Load(),
	}
	for _, cmd := range s.commands.all {
		c := CommandStats{
			Name:     cmd.full,
			Calls:    cmd.stats.calls.Load(),
			Failed:   cmd.stats.failed.Load(),
			Rejected: cmd.stats.rejected.Load(),
			Time:     time.Duration(cmd.stats.nanos.Load()),
		}
		if c.Calls+c.Rejected > 0 {
			t.ByCommand = append(t.ByCommand, c)
		}
	}
	return t
}

// StoreMetrics returns those of the store, and false while there is none.
func (s *Server) StoreMetrics() (m store.Metrics, ok bool) {
	if !s.Ready() {
		return m, false
	}
	return s.db.Metrics(), true
}

// ErrLoading is why a server does not serve while its store recovers.
var ErrLoading = errors.New("the store is recovering")

// Err returns nil if clients can read and write: else ErrLoading, or the error that
// wraps store.ErrStopped or store.ErrClosed.
func (s *Server) Err() error {
	if !s.Ready() {
		return ErrLoading
	}
	return s.db.Err()
}
