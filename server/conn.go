package server

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"faultline/server/resp"
	"faultline/store"
)

// flushBytes of replies are sent before the pipeline goes on, so that a client
// that asks for much costs no more memory than this and one reply.
const flushBytes = 64 << 10

// keptBytes is the largest buffer that outlives its pipeline.
const keptBytes = 256 << 10

// A conn is one connection. Only its own goroutine touches it, but for wake and
// for nc.Close.
type conn struct {
	srv *Server
	nc  net.Conn
	in  *resp.Reader
	out resp.Writer

	id   int64
	name string // CLIENT SETNAME

	db    int             // SELECT
	space *store.Keyspace // of db; nil for the default one

	authenticated bool // or there is no password

	// closing ends the connection once the replies are sent; err ends it now.
	closing bool
	err     error

	// What the replies in out rest on, since the last flush.
	wrote    store.LSN // of the newest write
	hasWrote bool
	hasRead  bool
	tally    tally

	// For the time that commands take: clock is when the last one ended, since the
	// start of the server; idle says that the connection has waited since then.
	clock time.Duration
	idle  bool
	sends int // to the socket

	// What transactions need.
	multi    multi
	tx       *store.Tx    // the one that is being executed
	watching []watchedKey // see watches
	touched  atomic.Bool  // by a write to one of them

	written   []written // by the command that is being executed
	lastWrite store.LSN // for WAITAOF

	batch   store.Batch // reused by every write
	scratch []byte      // reused for values, and for the keys of SCAN
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{
		srv:           s,
		nc:            nc,
		in:            resp.NewReader(nc, s.limits()),
		authenticated: s.secret.Load() == nil,
	}
}

// serve runs the connection until it ends.
func (c *conn) serve() {
	defer c.srv.forget(c)
	defer c.nc.Close()
	defer c.unwatch()
	for {
		args, err := c.in.Next()
		switch {
		case err != nil:
			c.out.Error("ERR " + err.Error())
			c.closing = true
		case args != nil:
			c.execute(args)
			c.spill()
		default:
			if c.flush(); c.err != nil {
				return
			}
			if err := c.in.Fill(); err != nil {
				return // the client has gone, or wake
			}
			c.idle = true
		}
		if c.closing {
			c.flush()
		}
		if c.closing || c.err != nil {
			return
		}
	}
}

// wake ends the connection at its next Fill. What it has read by then is
// executed and answered.
func (c *conn) wake() { c.nc.SetReadDeadline(time.Unix(1, 0)) }

// spill flushes if the replies fill their buffer, and none of them may be taken back. Commands with long replies
// call it between two elements, and stop when err is set.
func (c *conn) spill() {
	if c.out.Len() >= flushBytes && c.tx == nil && !c.multi.running {
		c.flush()
	}
}

// flush sends the replies, after what they rest on is as durable as promised:
// steps B and C of the package comment.
func (c *conn) flush() {
	if c.err != nil || c.out.Len() == 0 {
		return
	}
	if err := c.commit(); err != nil { // B
		c.out.Reset()
		c.fail(err)
		c.send()
		c.err = err
		return
	}
	c.send() // C
	c.release()
}

// commit waits for the log.
func (c *conn) commit() error {
	wrote, read := c.hasWrote, c.hasRead
	c.hasWrote, c.hasRead = false, false
	if read {
		err := c.await(c.srv.db.SeenLSN())
		if !errors.Is(err, store.ErrStopped) {
			return err
		}
	}
	if wrote {
		return c.await(c.wrote)
	}
	return nil
}

// send writes out to the socket.
func (c *conn) send() {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.srv.opts.WriteTimeout)); err != nil {
		c.err = err
		return
	}
	c.sends, c.idle = c.sends+1, true
	n, err := c.nc.Write(c.out.Bytes())
	c.srv.stats.add(&c.tally, n)
	c.out.Reset()
	if err != nil {
		c.err = err
	}
}

// release gives back what a large command has left behind.
func (c *conn) release() {
	if c.batch.Bytes() > keptBytes {
		c.batch = store.Batch{}
	}
	if cap(c.scratch) > keptBytes {
		c.scratch = nil
	}
}

// fail answers with an error of the store. It has the limits in its text.
func (c *conn) fail(err error) { c.out.Error(c.storeError(err)) }

// storeError returns the text for an error of the store.
func (c *conn) storeError(err error) string {
	c.srv.noteStopped(err)
	return errorText(err)
}

// noteStopped logs once that the store has stopped, if err says so.
func (s *Server) noteStopped(err error) {
	if errors.Is(err, store.ErrStopped) && s.stopped.CompareAndSwap(false, true) {
		s.opts.Log.Error("the store has stopped, it takes no writes until a restart", "err", err)
	}
}

// errorText puts before an error the code by which clients know its kind.
func errorText(err error) string {
	switch {
	case errors.Is(err, store.ErrStopped), errors.Is(err, store.ErrNoSpace):
		return "MISCONF " + err.Error()
	case errors.Is(err, store.ErrFull):
		return "OOM " + err.Error()
	case errors.Is(err, context.Canceled):
		return "ERR the server is shutting down"
	}
	return "ERR " + err.Error()
}
