package server

import (
	"sync/atomic"
	"time"
)

// The janitor looks at all connections once a second.
const (
	tickEvery   = time.Second
	shrinkAfter = 5 // ticks without input, until a connection gives its buffers back

	// strangerTicks is how long a connection may go on without the password.
	strangerTicks = 10
)

// An idleness counts for how many ticks a connection has read nothing.
type idleness struct {
	active atomic.Bool // it has, since the last tick
	ticks  atomic.Int64
	shrink atomic.Bool // the connection is to give its buffers back

	strange int // ticks without the password; of the janitor alone
}

// busy notes that the connection has read.
func (i *idleness) busy() {
	if !i.active.Load() {
		i.active.Store(true)
	}
}

// asked tells, once, whether the janitor wants the buffers back.
func (i *idleness) asked() bool { return i.shrink.Swap(false) }

// tick returns for how many ticks nothing was read.
func (i *idleness) tick() int64 {
	if i.active.Swap(false) {
		i.ticks.Store(0)
		return 0
	}
	return i.ticks.Add(1)
}

// janitor calls look until the server has shut down.
func (s *Server) janitor() {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.look()
		case <-s.ctx.Done():
			return
		}
	}
}

// look ends connections that have been idle for too long, or have not given the
// password in time, and takes the buffers of those that are idle for a while. It takes out
// of the table of tracked keys, and of the memory of connections, what a lower bound has
// no room for.
func (s *Server) look() {
	s.tracking.trim()
	if over := s.memory.held.Load() - s.memory.most.Load(); over > 0 {
		s.relieve(nil, over)
	}
	timeout := s.conf.idleSeconds.Load()
	for _, c := range s.connections() {
		ticks := c.idle.tick()
		if clientState(c.shown.state.Load())&stateOpen != 0 {
			c.idle.strange = 0
		} else {
			c.idle.strange++
		}
		switch {
		case c.idle.strange > strangerTicks:
			c.kill()
		case timeout > 0 && ticks > timeout:
			c.kill()
		case ticks == shrinkAfter:
			c.idle.shrink.Store(true)
			c.kick()
		}
	}
}
