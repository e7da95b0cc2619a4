package server

import (
	"context"
	"errors"
	"net"
	"os"
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

// A conn is one connection. Only its own goroutine touches it, but for what is
// atomic, the inbox, and the deadlines and Close of nc.
type conn struct {
	srv *Server
	nc  net.Conn
	in  *resp.Reader
	out resp.Writer

	id   int64
	born time.Time
	db   int // SELECT

	authenticated bool // or there is no password

	// closing ends the connection once the replies are sent; err ends it now.
	closing bool
	err     error

	// Other goroutines ask for these, and kick.
	ending atomic.Bool // end when all that has been read is answered
	killed atomic.Bool // end; nc is closed
	idle   idleness
	gone   atomic.Bool // it has ended

	// What the replies in out rest on, since the last flush.
	wrote    store.LSN // of the newest write
	hasWrote bool
	hasRead  bool
	commands int64

	replies replyMode
	muted   bool // the command that runs gets no reply
	mark    int  // where in out the reply of that command begins

	// For the time that commands take: clock is when the last one ended, since the
	// start of the server; waited says that the connection has waited since then.
	clock  time.Duration
	waited bool
	sends  int // to the socket

	shown   shown
	tracks  *tracker                // CLIENT TRACKING; nil: off
	tracker atomic.Pointer[tracker] // the same, for other goroutines
	inbox   inbox
	watched []watchedKey // WATCH
	dirty   atomic.Bool  // one of them was written

	batch   store.Batch // reused by every write
	scratch []byte      // reused for the keys of SCAN

	held atomic.Int64 // bytes of all its buffers, as of its last flush
}

// A replyMode is set by CLIENT REPLY.
type replyMode uint8

const (
	repliesOn replyMode = iota
	repliesOff
	skipNext // no reply to the next command
)

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{
		srv:           s,
		nc:            nc,
		in:            resp.NewReader(nc, s.opts.Limits),
		born:          time.Now(),
		authenticated: s.secret.Load() == nil,
	}
}

// serve runs the connection until it ends.
func (c *conn) serve() {
	defer c.end()
	for {
		args, err := c.in.Next()
		switch {
		case err != nil:
			c.out.Error("ERR " + err.Error())
			c.closing = true
		case args != nil:
			c.step(args)
			c.deliver()
			c.spill()
		default:
			c.flush()
			if c.err == nil {
				c.fill()
			}
		}
		if c.closing {
			c.flush()
		}
		if c.closing || c.err != nil {
			return
		}
	}
}

// end gives back what the connection has.
func (c *conn) end() {
	c.gone.Store(true)
	c.unwatch()
	c.stopTracking()
	c.nc.Close()
	c.srv.forget(c)
}

// step executes a command, and drops its reply if the client does not want it.
func (c *conn) step(args [][]byte) {
	c.mark = c.out.Len()
	c.muted = c.replies != repliesOn
	if c.replies == skipNext {
		c.replies = repliesOn
	}
	c.execute(args)
	if c.muted {
		c.out.Truncate(c.mark)
		c.muted = false
	}
}

// fill waits for the client, or for a kick.
func (c *conn) fill() {
	c.idle.busy()
	err := c.in.Fill()
	c.waited = true
	if err == nil {
		return
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.killed.Load() {
		c.err = err // the client has gone, or was cut off
		return
	}
	// The deadline is taken back before the reasons for it are looked at: who has
	// another sets it again.
	c.nc.SetReadDeadline(time.Time{})
	if c.ending.Load() {
		c.err = err
		return
	}
	if c.idle.asked() {
		c.shrink()
	}
	c.deliver()
}

// wake ends the connection at its next Fill. What it has read by then is
// executed and answered.
func (c *conn) wake() {
	c.ending.Store(true)
	c.kick()
}

// kill ends the connection at once.
func (c *conn) kill() {
	c.killed.Store(true)
	c.nc.Close()
}

// spill flushes if the replies fill their buffer. Commands with long replies
// call it between two elements, and stop when err is set.
func (c *conn) spill() {
	if c.out.Len() >= flushBytes {
		c.flush()
	}
}

// flush sends the replies, after what they rest on is as durable as promised:
// steps B and C of the package comment.
func (c *conn) flush() {
	if c.muted {
		c.out.Truncate(c.mark)
	}
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
	c.mark = 0
	c.release()
	c.show()
	c.srv.stats.commands.Add(c.commands)
	c.commands = 0
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

// await returns when every write below lsn is as durable as promised.
func (c *conn) await(lsn store.LSN) error {
	if c.srv.opts.Durability == store.Async {
		return c.srv.db.WaitWritten(lsn)
	}
	return c.srv.db.WaitDurable(c.srv.ctx, lsn)
}

// send writes out to the socket.
func (c *conn) send() {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.srv.opts.WriteTimeout)); err != nil {
		c.err = err
		return
	}
	c.sends, c.waited = c.sends+1, true
	_, err := c.nc.Write(c.out.Bytes())
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

// shrink gives back the buffers of a connection that nobody uses.
func (c *conn) shrink() {
	c.batch, c.scratch = store.Batch{}, nil
	c.out.Release()
	c.in.Release()
}

// fail answers with an error of the store. It has the limits in its text.
func (c *conn) fail(err error) {
	if errors.Is(err, store.ErrStopped) && c.srv.stopped.CompareAndSwap(false, true) {
		c.srv.opts.Log.Error("the store has stopped, it takes no writes until a restart", "err", err)
	}
	c.out.Error(errorText(err))
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
