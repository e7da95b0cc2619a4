package server

import (
	"fmt"
	"time"

	"faultline/store"
)

// A Fsync says how durable a write is when it is answered, in Redis's words.
type Fsync int32

const (
	FsyncAlways   Fsync = iota // on disk: it survives a power cut
	FsyncEverysec              // the kernel has it; on disk a second later
	FsyncNo                    // the kernel has it, and writes it when it likes
)

var fsyncNames = []string{FsyncAlways: "always", FsyncEverysec: "everysec", FsyncNo: "no"}

func (f Fsync) String() string { return fsyncNames[f] }

// ParseFsync returns the Fsync of a name: always, everysec or no.
func ParseFsync(name string) (Fsync, error) {
	for f, n := range fsyncNames {
		if n == name {
			return Fsync(f), nil
		}
	}
	return 0, fmt.Errorf("appendfsync %q: want always, everysec or no", name)
}

func (s *Server) fsync() Fsync { return Fsync(s.conf.fsync.Load()) }

// await returns when every write below lsn is as durable as promised.
func (c *conn) await(lsn store.LSN) error {
	if c.srv.fsync() == FsyncAlways {
		return c.srv.db.WaitDurable(c.srv.ctx, lsn)
	}
	return c.srv.db.WaitWritten(lsn)
}

// tick calls second once a second, until Shutdown.
func (s *Server) tick() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
			s.second()
		}
	}
}

// second does what is due once a second: it syncs the log if appendfsync is everysec, and
// counts for INFO.
func (s *Server) second() {
	s.stats.sample()
	if s.Ready() {
		s.stats.used(s.db.Metrics().Memory.TotalBytes)
	}
	if s.fsync() == FsyncEverysec && s.Ready() {
		s.syncNow()
	}
}

// syncNow makes what is written durable. A store that has stopped says so in its log
// once, as for a command.
func (s *Server) syncNow() {
	if err := s.db.WaitDurable(s.ctx, s.db.LSN()); err != nil {
		s.noteStopped(err)
	}
}
