package server

import (
	"errors"
	"sync/atomic"
)

var errMemory = errors.New("no memory for the buffers of the connection")

// memory bounds the buffers of all connections together: maxmemory-clients. When a
// connection wants more than there is, the one that has most is ended, as in Redis; if
// that is the one that wants more, it is refused.
//
//	in.Fill: the buffer is full     ---> Take
//	flush: out, scratch, batch      ---> Take, once they are large
//
// What is not seen here is one reply that is being written, and what the kernel buffers.
type memory struct {
	most    int64
	held    atomic.Int64
	evicted atomic.Int64 // connections
}

// Take asks for memory of the buffers of c, for package resp.
func (c *conn) Take(bytes int) (ok bool) {
	m := &c.srv.memory
	c.held.Add(int64(bytes))
	over := m.held.Add(int64(bytes)) - m.most
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
	now := c.out.Cap() + cap(c.scratch)
	if b := c.batch.Bytes(); b > keptBytes {
		now += b
	}
	if now == c.counted {
		return true
	}
	if !c.Take(now - c.counted) {
		return false
	}
	c.counted = now
	return true
}

// relieve ends the connections that hold most until over bytes will come free. It is
// false if c is among them. They give the memory back when they have noticed.
func (s *Server) relieve(c *conn, over int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.mu.open {
		if other.killed.Load() {
			over -= other.held.Load() // on its way
		}
	}
	for over > 0 {
		largest := s.largest()
		if largest == c || largest == nil {
			return false
		}
		over -= largest.held.Load()
		s.memory.evicted.Add(1)
		largest.kill()
		s.opts.Log.Warn("ended the connection with the largest buffers: memory for connections is short",
			"from", largest.nc.RemoteAddr(), "bytes", largest.held.Load())
	}
	return true
}

// largest returns the connection with the largest buffers, of those that may be ended.
// s.mu is held.
func (s *Server) largest() (largest *conn) {
	for c := range s.mu.open {
		if c.killed.Load() || c.shown.noEvict.Load() {
			continue
		}
		if largest == nil || c.held.Load() > largest.held.Load() {
			largest = c
		}
	}
	return largest
}
