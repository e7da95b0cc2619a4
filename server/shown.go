package server

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// shown is what CLIENT LIST says of a connection. Its goroutine writes it, others read.
type shown struct {
	name, lib, libVersion atomic.Pointer[string]
	state                 atomic.Uint64 // see clientState
	cmd                   atomic.Pointer[command]
	noEvict, noTouch      atomic.Bool

	// Of its buffers, in bytes. What of held is none of these is the reader's.
	counted atomic.Int64 // all but the reader's
	replies atomic.Int64 // for replies
	queue   atomic.Int64 // of MULTI
	partial atomic.Int64 // of a command that has not come whole
	sending atomic.Int64 // long replies that wait for the client to take them

	last *command // that ran; of the goroutine alone
}

// A clientState is db, the commands that are queued by MULTI, RESP3, and the flags that
// change with commands, in one word, so that it is published with one store, and only
// when it has changed.
//
//	63       32 31       16 15     0
//	+----------+-----------+-------+
//	|    db    | queue + 1 | flags |
//	+----------+-----------+-------+
type clientState uint64

const (
	stateThree clientState = 1 << iota
	stateOpen              // it may run commands: the password was given
	stateTracking
	stateBroken
	stateBcast
	stateClosing
	stateDirty
	stateSubscribed

	// Shifts.
	stateQueue = 16 // what is queued, plus 1; 0 without MULTI
	stateDB    = 32
)

// multi is the number of queued commands, -1 without MULTI.
func (s clientState) multi() int { return int(uint16(s>>stateQueue)) - 1 }

func (s clientState) subscriptions() int {
	if s&stateSubscribed != 0 {
		return 1
	}
	return 0
}

func (s clientState) db() int { return int(s >> stateDB) }

func (s clientState) resp() int {
	if s&stateThree != 0 {
		return 3
	}
	return 2
}

// state returns the state of now.
func (c *conn) state() clientState {
	s := clientState(c.db) << stateDB
	set := func(is bool, flag clientState) {
		if is {
			s |= flag
		}
	}
	if c.multi.open {
		s |= clientState(min(len(c.multi.queue), 1<<15)+1) << stateQueue
	}
	set(c.out.Protocol() == 3, stateThree)
	set(c.authenticated, stateOpen)
	set(c.closing, stateClosing)
	set(c.subscribed, stateSubscribed)
	set(c.touched.Load(), stateDirty)
	if t := c.tracks; t != nil {
		s |= stateTracking
		set(t.broken.Load(), stateBroken)
		set(t.bcast, stateBcast)
	}
	return s
}

// show publishes what has changed.
func (c *conn) show() {
	if s := uint64(c.state()); s != c.shown.state.Load() {
		c.shown.state.Store(s)
	}
	if c.shown.last != c.shown.cmd.Load() {
		c.shown.cmd.Store(c.shown.last)
	}
}

func word(p *atomic.Pointer[string]) string {
	if s := p.Load(); s != nil {
		return *s
	}
	return ""
}

// flags are the letters of CLIENT LIST.
func (c *conn) flags(s clientState) string {
	var b strings.Builder
	for _, f := range []struct {
		is     bool
		letter byte
	}{
		{s&stateSubscribed != 0, 'P'},
		{s.multi() >= 0, 'x'},
		{s&stateTracking != 0, 't'},
		{s&stateBroken != 0, 'R'},
		{s&stateBcast != 0, 'B'},
		{s&stateDirty != 0, 'd'},
		{s&stateClosing != 0, 'c'},
		{c.killed.Load(), 'A'},
		{c.isUnix(), 'U'},
		{c.shown.noEvict.Load(), 'e'},
		{c.shown.noTouch.Load(), 'T'},
	} {
		if f.is {
			b.WriteByte(f.letter)
		}
	}
	if b.Len() == 0 {
		return "N"
	}
	return b.String()
}

func (c *conn) isUnix() bool { return c.nc.LocalAddr().Network() == "unix" }

// addresses are those of the client and of the server's end, as Redis shows them.
func (c *conn) addresses() (addr, laddr string) {
	laddr = c.nc.LocalAddr().String()
	if c.isUnix() {
		return laddr + ":0", laddr + ":0"
	}
	return c.nc.RemoteAddr().String(), laddr
}

// fd is the number of the socket, -1 if there is none.
func (c *conn) fd() (fd int) {
	fd = -1
	if sc, ok := c.nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(func(n uintptr) { fd = int(n) })
		}
	}
	return fd
}

// describe returns the line of CLIENT LIST. What Redis says of buffers that are not
// apart here is 0: there is one for replies, long or not.
func (c *conn) describe(query int64) string {
	s := clientState(c.shown.state.Load())
	addr, laddr := c.addresses()
	cmd, redirect := "NULL", int64(-1)
	if last := c.shown.cmd.Load(); last != nil {
		cmd = last.full
	}
	if t := c.tracker.Load(); t != nil {
		redirect = t.shownRedirect.Load()
	}
	b := &c.shown
	held, sending := c.held.Load(), b.sending.Load()
	free := max(held-b.counted.Load()-query, 0) // each of another moment, if c is not the one that asks
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=0 ssub=0 "+
		"multi=%d qbuf=%d qbuf-free=%d argv-mem=0 multi-mem=%d rbs=%d rbp=%d obl=0 oll=%d omem=%d tot-mem=%d events=r "+
		"cmd=%s user=default redir=%d resp=%d lib-name=%s lib-ver=%s\n",
		c.id, addr, laddr, c.fd(), word(&c.shown.name), int64(time.Since(c.born).Seconds()), c.idle.ticks.Load(),
		c.flags(s), s.db(), s.subscriptions(), s.multi(), query, free, b.queue.Load(), b.replies.Load(), b.replies.Load(), zeroOne(sending > 0), sending, held, cmd, redirect, s.resp(), word(&c.shown.lib), word(&c.shown.libVersion))
}
