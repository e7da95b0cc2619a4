package server

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"
)

var errMemory = errors.New("no memory for the buffers of the connection")

// memory bounds the buffers of all connections together: maxmemory-clients. When a
// connection wants more than there is, the one that has most is ended, as in Redis; if
// that is the one that wants more, it is refused.
//
//	in.Fill: the buffer is full     ---> Take
//	flush: out, scratch, batch,
//	       what MULTI has queued,
//	       what WATCH has noted     ---> Take, once they are large
//
// What is not seen here is one reply that is being written, and what the kernel buffers.
type memory struct {
	most    atomic.Int64
	held    atomic.Int64
	evicted atomic.Int64 // connections
}

// Take asks for memory of the buffers of c, for package resp.
func (c *conn) Take(bytes int) (ok bool) {
	m := &c.srv.memory
	c.held.Add(int64(bytes))
	over := m.held.Add(int64(bytes)) - m.most.Load()
	if bytes <= 0 || over <= 0 || c.srv.relieve(c, over) {
		return true
	}
	c.held.Add(-int64(bytes))
	m.held.Add(-int64(bytes))
	return false
}

// account counts the buffers that are not the reader's. It is false if there is no
// memory for them.
func (c *conn) account() (ok bool) {
	now := c.out.Cap() + cap(c.scratch) + c.multi.bytes + c.watchBytes
	if b := c.batch.Bytes(); b > keptBytes {
		now += b
	}
	counted := int(c.shown.counted.Load())
	if now == counted {
		return true
	}
	if !c.Take(now - counted) {
		return false
	}
	c.shown.counted.Store(int64(now))
	c.shown.replies.Store(int64(c.out.Cap()))
	c.shown.queue.Store(int64(c.multi.bytes + c.watchBytes))
	return true
}

// relieve ends the connections that hold most until over bytes will come free. It is
// false if c, which may be nil, is among them. They give the memory back when they have noticed.
func (s *Server) relieve(c *conn, over int64) bool {
	for _, victim := range s.victims(over) {
		if victim == c {
			return false
		}
		s.memory.evicted.Add(1)
		victim.kill()
		s.opts.Log.Warn("ended the connection with the largest buffers: memory for connections is short",
			"from", victim.nc.RemoteAddr(), "bytes", victim.held.Load())
	}
	return true
}

// victims returns the connections whose ends free over bytes, the largest first. What
// those hold that are ending counts already.
func (s *Server) victims(over int64) (list []*conn) {
	s.mu.Lock()
	all := make([]*conn, 0, len(s.mu.open))
	for c := range s.mu.open {
		switch {
		case c.killed.Load():
			over -= c.held.Load()
		case !c.shown.noEvict.Load():
			all = append(all, c)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *conn) int { return cmp.Compare(b.held.Load(), a.held.Load()) })
	for i := 0; i < len(all) && over > 0; i++ {
		list = append(list, all[i])
		over -= all[i].held.Load()
	}
	return list
}
