package flusher

import (
	"context"
	"errors"
	"testing"
)

// TestWaiters asks who waits, without the patience to wait, after each begin and end of a
// round: who came while a round was running, or before any, must not be content with
// that one but with the next that begins, and who came before it with it.
func TestWaiters(t *testing.T) {
	var w waiters
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	running := func() error { return nil }
	served := func(round uint64) bool {
		err := w.wait(ctx, round, running)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		return err == nil
	}
	for round := range 3 {
		idle := w.next()
		w.begin()
		during := w.next()
		if served(idle) || served(during) {
			t.Errorf("round %d: somebody is served before its end", round)
		}
		w.end()
		if !served(idle) || served(during) {
			t.Errorf("round %d has ended: who came before it is served %t, who came while it was running %t",
				round, served(idle), served(during))
		}
	}
}
