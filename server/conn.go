package server

import (
	"context"
	"crypto/tls"
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

// keptBytes is the largest buffer that outlives its pipeline, and keptWritten the most keys
// that a list of them is kept for.
const (
	keptBytes   = 256 << 10
	keptWritten = 4 << 10
)

// A conn is one connection. Only its own goroutine touches it, but for what is
// atomic, the inbox, and the deadlines and Close of nc.
type conn struct {
	srv *Server
	nc  net.Conn
	in  *resp.Reader
	out resp.Writer

	id   int64
	born time.Time

	db    int             // SELECT
	space *store.Keyspace // of db; nil for the default one

	authenticated bool // or there is no password

	// closing ends the connection once the replies are sent; err ends it now.
	closing bool
	err     error

	// Other goroutines ask for these, and kick.
	ending atomic.Bool // end when all that has been read is answered
	killed atomic.Bool // end; nc is closed
	idle   idleness

	// What the replies in out rest on, since the last flush.
	wrote    store.LSN // of the newest write
	hasWrote bool
	hasRead  bool
	tally    tally

	replies replyMode
	muted   bool // the command that runs gets no reply
	mark    int  // where in out the reply of that command begins

	recent recent
	timer  stopwatch
	sends  int // to the socket

	writeBy time.Duration // the deadline of nc for writes, since the start of the server

	shown   shown
	tracks  *tracker                // CLIENT TRACKING; nil: off
	tracker atomic.Pointer[tracker] // the same, for other goroutines
	inbox   inbox

	subscribed bool // SUBSCRIBE

	// What transactions need.
	multi      multi
	tx         *store.Tx    // the one that is being executed
	watching   []watchedKey // see watches
	watchBytes int          // what these take
	touched    atomic.Bool  // by a write to one of them

	written   []written // by the command that is being executed
	lastWrite store.LSN // for WAITAOF

	batch   store.Batch // reused by every write
	scratch []byte      // reused for the keys of SCAN

	held atomic.Int64 // bytes of its buffers that the server has counted
}

// A replyMode is set by CLIENT REPLY.
type replyMode uint8

const (
	repliesOn replyMode = iota
	repliesOff
	skipNext // no reply to the next command
)

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, born: time.Now()}
	c.in = resp.NewReader(nc, s.limits())
	c.in.SetMeter(c)
	c.authenticated = s.secret.Load() == nil
	c.in.SetStranger(!c.authenticated)
	c.show()
	return c
}

// serve runs the connection until it ends.
func (c *conn) serve() {
	defer c.end()
	if err := c.handshake(); err != nil {
		c.srv.opts.Log.Debug("handshake", "from", c.nc.RemoteAddr(), "err", err)
		return
	}
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
			c.closeInbox()
			c.flush()
		}
		if c.closing || c.err != nil {
			return
		}
	}
}

// end gives back what the connection has.
func (c *conn) end() {
	c.closeInbox()
	c.unwatch()
	c.stopTracking()
	c.nc.Close()
	c.login(true) // it is not counted among strangers any more
	c.srv.memory.held.Add(-c.held.Load())
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
	partial := int64(c.in.Partial())
	if partial != c.shown.partial.Load() {
		c.shown.partial.Store(partial)
	}
	err := c.in.Fill()
	if err == nil {
		c.tally.readBytes += int64(c.in.Len()) - partial
		c.idle.busy()
		c.deliver() // what was known before the commands came
		return
	}
	if errors.Is(err, resp.ErrMemory) {
		c.out.Error("OOM " + err.Error())
		c.closing = true
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

// kill ends the connection at once, and does not wait for it. Close of TLS would wait
// for the client to take a last message.
func (c *conn) kill() {
	c.killed.Store(true)
	if t, ok := c.nc.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	c.nc.Close()
}

// spill flushes if the replies fill their buffer, and none of them may be taken back.
// Commands with long replies call it between two elements, and stop when err is set.
func (c *conn) spill() {
	if c.out.Len() >= flushBytes && c.tx == nil && !c.multi.running {
		c.flush()
	}
}

// flush sends the replies, after what they rest on is as durable as promised:
// steps B and C of the package comment.
func (c *conn) flush() {
	if c.muted {
		c.out.Truncate(c.mark)
	}
	c.timer.stop(c)
	if c.err != nil || c.out.Len() == 0 {
		return
	}
	if err := c.repliesFit(); err != nil {
		c.instead(err)
		return
	}
	if err := c.commit(); err != nil { // B
		c.instead(err)
		return
	}
	c.show() // before the client can ask for it
	c.send() // C
	c.mark = 0
	c.release()
}

// instead answers an error in place of all replies that wait, and ends the connection.
func (c *conn) instead(err error) {
	c.out.Reset()
	c.fail(err)
	c.send()
	c.err = err
}

// repliesFit tells whether the replies that wait keep within the limits.
func (c *conn) repliesFit() error {
	if c.out.Len() <= keptBytes {
		return nil
	}
	if hard := c.srv.opts.OutputLimit.HardBytes; hard > 0 && int64(c.out.Len()) > hard {
		return errOutput
	}
	if !c.account() {
		return errMemory
	}
	return nil
}

var errOutput = errors.New("the reply is larger than client-output-buffer-limit")

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

// sendBytes is how much of long replies is sent at a time: the client has WriteTimeout
// for each such piece.
const sendBytes = 256 << 10

// longReplies are shown by CLIENT LIST while they are sent. The kernel takes shorter ones
// at once, and they are all that most clients ask for.
const longReplies = 16 << 10

// send writes out to the socket.
func (c *conn) send() {
	c.sends++
	b := c.out.Bytes()
	c.srv.stats.add(&c.tally, len(b))
	if soft := c.srv.opts.OutputLimit.SoftBytes; len(b) > longReplies || soft > 0 && int64(len(b)) > soft {
		c.sendLong(b)
	} else if c.allow(c.srv.opts.WriteTimeout); c.err == nil {
		_, c.err = c.nc.Write(b)
	}
	c.out.Reset()
}

// sendLong sends what CLIENT LIST shows meanwhile, and what takes its time.
func (c *conn) sendLong(b []byte) {
	c.shown.sending.Store(int64(len(b)))
	defer c.shown.sending.Store(0)
	soft := c.srv.opts.OutputLimit
	limited := soft.SoftBytes > 0 && int64(len(b)) > soft.SoftBytes
	until := time.Now().Add(soft.SoftFor) // for all of it
	for len(b) > 0 && c.err == nil {
		piece := b[:min(len(b), sendBytes)]
		within := c.srv.opts.WriteTimeout
		if limited {
			within = min(within, time.Until(until))
		}
		if c.allow(within); c.err == nil {
			_, c.err = c.nc.Write(piece)
		}
		b = b[len(piece):]
	}
}

// allow lets the next write take so long, or a quarter longer: most find a deadline that
// an earlier one has set, since to set it costs as much as a GET.
func (c *conn) allow(within time.Duration) {
	now := time.Since(c.srv.started)
	if left := c.writeBy - now; within <= left && left <= within+within/4 {
		return
	}
	within += within / 4
	c.writeBy = now + within
	c.err = c.nc.SetWriteDeadline(time.Now().Add(within))
}

// release gives back what a large command has left behind.
func (c *conn) release() {
	if c.batch.Bytes() > keptBytes {
		c.batch = store.Batch{}
	}
	if cap(c.scratch) > keptBytes {
		c.scratch = nil
	}
	if cap(c.written) > keptWritten {
		c.written = nil
	}
	if !c.account() && c.err == nil {
		c.err = errMemory
	}
}

// shrink gives back the buffers of a connection that nobody uses.
func (c *conn) shrink() {
	c.batch, c.scratch = store.Batch{}, nil
	c.out.Release()
	c.in.Release()
	c.account()
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
	case errors.Is(err, store.ErrFull), errors.Is(err, errMemory):
		return "OOM " + err.Error()
	case errors.Is(err, context.Canceled):
		return "ERR the server is shutting down"
	}
	return "ERR " + err.Error()
}
