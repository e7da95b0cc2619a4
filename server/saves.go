package server

import (
	"sync/atomic"
	"time"
)

// saves is what SAVE and BGSAVE, which are checkpoints of the store, have done.
type saves struct {
	running atomic.Bool  // a BGSAVE
	failed  atomic.Bool  // the last one
	last    atomic.Int64 // when the last one ended well, or the server began; Unix time
	took    atomic.Int64 // nanoseconds, the last one
}

// save checkpoints the store.
func (s *Server) save() error {
	began := time.Now()
	err := s.db.Checkpoint(s.ctx)
	s.saves.failed.Store(err != nil)
	if err == nil {
		s.saves.last.Store(time.Now().Unix())
		s.saves.took.Store(int64(time.Since(began)))
	}
	return err
}

// saveSoon begins a checkpoint that nobody waits for, unless there is one.
func (s *Server) saveSoon() (began bool) {
	if !s.saves.running.CompareAndSwap(false, true) {
		return false
	}
	s.conns.Add(1) // Shutdown waits for it: the store may be closed after
	go func() {
		defer s.conns.Done()
		defer s.saves.running.Store(false)
		if err := s.save(); err != nil {
			s.opts.Log.Error("background save", "err", err)
		}
	}()
	return true
}

const errSaving = "ERR Background save already in progress"

func cmdSave(c *conn, _ [][]byte) {
	if c.srv.saves.running.Load() {
		c.out.Error(errSaving)
		return
	}
	if err := c.srv.save(); err != nil {
		c.fail(err)
		return
	}
	c.out.Status("OK")
}

func cmdBgsave(c *conn, args [][]byte) {
	switch {
	case len(args) > 2 || len(args) == 2 && !isWord(args[1], "schedule"):
		c.out.Error(errSyntax)
	case c.srv.saveSoon():
		c.out.Status("Background saving started")
	default:
		c.out.Error(errSaving)
	}
}

func cmdBgrewriteaof(c *conn, _ [][]byte) {
	if c.srv.saveSoon() {
		c.out.Status("Background append only file rewriting started")
		return
	}
	c.out.Error("ERR Background append only file rewriting already in progress")
}

func cmdLastsave(c *conn, _ [][]byte) { c.out.Int(c.srv.saves.last.Load()) }
