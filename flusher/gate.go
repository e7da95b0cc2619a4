package flusher

import (
	"sync"
	"sync/atomic"
)

// A gate lets operations through, many at once, and is closed for the moment of
// a cut. Operations only count themselves, in a counter that few others use; who
// closes the gate adds the counters up.
type gate struct {
	shut  atomic.Bool
	slots [Shards]gateSlot
	mu    struct {
		sync.Mutex
		changed sync.Cond // an operation has left a closed gate, or it was opened
	}
}

// A gateSlot has a cache line of its own.
type gateSlot struct {
	inside atomic.Int64
	_      [56]byte
}

func (g *gate) init() { g.mu.changed.L = &g.mu.Mutex }

func (g *gate) slot(shard uint64) *gateSlot { return &g.slots[shard%uint64(len(g.slots))] }

// enter returns inside the gate; it waits while the gate is closed.
func (g *gate) enter(shard uint64) {
	for {
		g.slot(shard).inside.Add(1)
		if !g.shut.Load() {
			return
		}
		g.leave(shard)
		g.mu.Lock()
		for g.shut.Load() {
			g.mu.changed.Wait()
		}
		g.mu.Unlock()
	}
}

func (g *gate) leave(shard uint64) {
	g.slot(shard).inside.Add(-1)
	if g.shut.Load() {
		g.mu.Lock()
		g.mu.changed.Broadcast()
		g.mu.Unlock()
	}
}

// close returns when nobody is inside, and keeps it so until open. Closers wait
// for each other.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut.Load() {
		g.mu.changed.Wait()
	}
	g.shut.Store(true)
	for g.inside() != 0 {
		g.mu.changed.Wait()
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut.Store(false)
	g.mu.changed.Broadcast()
}

func (g *gate) inside() (n int64) {
	for i := range g.slots {
		n += g.slots[i].inside.Load()
	}
	return n
}
