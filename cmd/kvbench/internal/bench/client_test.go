package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"faultline/cmd/kvbench/internal/engine"
)

// A nothing is a DB that keeps nothing and calls back for each Put.
type nothing struct {
	engine.DB
	put func() error
}

func (n nothing) NewReader() engine.Reader { return nil }

func (n nothing) Put(_, _ []byte) error { return n.put() }

var fillRandomly = Workload{Name: "fillrandom", Threads: 1}

func newTestClients(db engine.DB, n int, threads int) []*client {
	c := Config{N: n, KeyBytes: 16, ValueBytes: 100}
	r := &run{Config: c, values: newValueBuffer(c.ValueBytes, 1)}
	return r.newClients(db, job{Workload: Workload{Name: "fillrandom", Threads: threads}, engine: "nothing"})
}

// TestClientAllocatesNothing runs the timed loop on a store that does nothing:
// what it allocates would be measured as the store's.
func TestClientAllocatesNothing(t *testing.T) {
	clients := newTestClients(nothing{put: func() error { return nil }}, 2000, 1)
	clients[0].deadline = deadlineAfter(0)
	got := testing.AllocsPerRun(5, func() {
		if err := fillRandom(clients[0]); err != nil {
			t.Error(err)
		}
	})
	if got != 0 {
		t.Errorf("2000 operations made %v allocations", got)
	}
}

// TestClientsShareOperations checks that all are done, also where they do not
// divide, and that an error of one ends all.
func TestClientsShareOperations(t *testing.T) {
	var puts atomic.Int64
	clients := newTestClients(nothing{put: func() error { puts.Add(1); return nil }}, 1000, 7)
	if _, err := runClients(t.Context(), clients, 0, kindOf(fillRandomly)); err != nil || puts.Load() != 1000 {
		t.Errorf("%d puts, %v, want 1000", puts.Load(), err)
	}

	broken := errors.New("broken")
	clients = newTestClients(nothing{put: func() error {
		if puts.Add(1) == 5000 {
			return broken
		}
		return nil
	}}, 1<<40, 4)
	if _, err := runClients(t.Context(), clients, 0, kindOf(fillRandomly)); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

// TestClientsEndEarly checks that clients end at their time limit, and with the
// context. It hangs otherwise.
func TestClientsEndEarly(t *testing.T) {
	idle := nothing{put: func() error { return nil }}
	if _, err := runClients(t.Context(), newTestClients(idle, 1<<40, 2), time.Millisecond, kindOf(fillRandomly)); err != nil {
		t.Errorf("time limit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runClients(ctx, newTestClients(idle, 1<<40, 2), 0, kindOf(fillRandomly)); !errors.Is(err, context.Canceled) {
		t.Errorf("context: error %v", err)
	}
}
