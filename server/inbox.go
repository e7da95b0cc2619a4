package server

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// inboxBytes of keys wait for a connection at most. If there are more it is told that
// all keys are invalid, which is always right and takes no room.
const inboxBytes = 256 << 10

// An inbox is what a connection is to be told between replies. Any goroutine puts into
// it, without waiting; the connection's own takes it out after each command, or when
// kick has woken it:
//
//	any goroutine                 the connection's
//	notify: keys, pending         Fill: waits for the client
//	kick: read deadline in the    Fill fails
//	past                          deliver: takes the keys, writes messages, flush
//
// A key that was read is in the table before the read (see tracking), and deliver runs
// after the command, so a client gets the reply with the old value before it hears that
// this is old.
type inbox struct {
	pending atomic.Bool // something is in mu
	mu      struct {
		sync.Mutex
		all    bool   // all keys, before those in keys
		keys   []byte // of each message their number, and each behind its length
		broken bool   // whom the messages go to has gone
		closed bool   // the connection is about to end: nobody will take anything out
	}
}

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// kick ends the read that the connection waits in, or its next one.
func (c *conn) kick() { c.nc.SetReadDeadline(past) }

// notify tells c in one message that keys are invalid; from is the connection that
// changed them. Nil stands for all. It is false if c has ended, or is about to.
func (c *conn) notify(keys [][]byte, from *conn) (ok bool) {
	in := &c.inbox
	in.mu.Lock()
	if in.mu.closed {
		in.mu.Unlock()
		return false
	}
	b := binary.AppendUvarint(in.mu.keys, uint64(len(keys)))
	for _, key := range keys {
		b = binary.AppendUvarint(b, uint64(len(key)))
		b = append(b, key...)
	}
	if in.mu.keys = b; keys == nil || len(b) > inboxBytes {
		in.mu.all, in.mu.keys = true, nil
	}
	c.unlockInbox(from)
	return true
}

// closeInbox is for a connection that ends, before its client can know that. Who has its
// own messages sent here is told if some were lost.
func (c *conn) closeInbox() {
	in := &c.inbox
	in.mu.Lock()
	lost := !in.mu.closed && in.pending.Load()
	in.mu.closed = true
	in.mu.Unlock()
	if !lost {
		return
	}
	for _, other := range c.srv.connections() {
		if tr := other.tracker.Load(); tr != nil && tr.redirect.Load() == c {
			tr.lose(c)
		}
	}
}

// notifyBroken tells c that its messages no longer go where they went.
func (c *conn) notifyBroken(from *conn) {
	c.inbox.mu.Lock()
	c.inbox.mu.broken = true
	c.unlockInbox(from)
}

func (c *conn) unlockInbox(from *conn) {
	first := !c.inbox.pending.Swap(true)
	c.inbox.mu.Unlock()
	if first && c != from {
		c.kick()
	}
}

// deliver adds to out what is in the inbox.
func (c *conn) deliver() {
	if !c.inbox.pending.Load() {
		return
	}
	in := &c.inbox
	in.mu.Lock()
	all, keys, broken := in.mu.all, in.mu.keys, in.mu.broken
	in.mu.all, in.mu.keys, in.mu.broken = false, nil, false
	in.pending.Store(false)
	in.mu.Unlock()

	if broken && c.out.Protocol() == 3 && c.tracks != nil {
		c.out.Push(2)
		c.out.BulkString("tracking-redir-broken")
		c.out.Int(c.tracks.redirectID)
	}
	if all && c.invalidate() {
		c.out.Null()
	}
	number := func() int {
		n, width := binary.Uvarint(keys)
		keys = keys[width:]
		return int(n)
	}
	for len(keys) > 0 {
		count := number()
		told := c.invalidate()
		if told {
			c.out.Array(count)
		}
		for range count {
			n := number()
			if told {
				c.out.Bulk(keys[:n])
			}
			keys = keys[n:]
		}
		if c.spill(); c.err != nil {
			return
		}
	}
}

// invalidate begins a message; the keys follow. It is false if the client cannot take
// one: RESP2 has nothing that is not a reply, but for who listens to the channel.
func (c *conn) invalidate() bool {
	switch {
	case c.out.Protocol() == 3:
		c.out.Push(2)
		c.out.BulkString("invalidate")
	case c.subscribed:
		c.out.Array(3)
		c.out.BulkString("message")
		c.out.BulkString(invalidations)
	default:
		return false
	}
	return true
}
