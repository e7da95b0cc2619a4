package flusher

import (
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faultline/pagemeta"
)

// watchdog ends the process with the stacks of all goroutines if the test has
// not ended in time.
func watchdog(t testing.TB) {
	dog := time.AfterFunc(2*time.Minute, func() {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		panic("watchdog: " + t.Name() + " hangs")
	})
	t.Cleanup(func() { dog.Stop() })
}

// TestGate has goroutines go in and out of a gate on all its shards, while others
// close and open it. Who has closed it looks, without a lock, whether anybody is
// inside: a plain variable that those inside change would be a race, and a count
// of them must be zero and stay so. All must come to an end: a wake-up that is
// lost would leave one waiting, and the watchdog barks. The control is that the
// count is often not zero when somebody looks without closing the gate.
func TestGate(t *testing.T) {
	watchdog(t)
	const goers, closers, times = 12, 3, 400
	var g gate
	g.init()
	var inside, seen atomic.Int64
	exclusive := 0 // by closers
	var wg sync.WaitGroup
	for i := range goers {
		wg.Go(func() {
			for n := range times {
				shard := uint64(i * n)
				g.enter(shard)
				inside.Add(1)
				_ = exclusive // the race detector looks
				if n%4 == 0 {
					runtime.Gosched()
				}
				inside.Add(-1)
				g.leave(shard)
			}
		})
	}
	for range closers {
		wg.Go(func() {
			for n := range times {
				if n%8 == 0 {
					runtime.Gosched()
				}
				seen.Add(inside.Load())
				g.close()
				exclusive++
				for range 3 {
					if n := inside.Load(); n != 0 {
						t.Errorf("%d inside a closed gate", n)
					}
					runtime.Gosched()
				}
				g.open()
			}
		})
	}
	wg.Wait()
	if exclusive != closers*times {
		t.Errorf("closed %d times, want %d", exclusive, closers*times)
	}
	if g.inside() != 0 || g.shut.Load() {
		t.Errorf("at the end %d are inside, shut %t", g.inside(), g.shut.Load())
	}
	if seen.Load() == 0 {
		t.Error("nobody was ever inside: the test shows nothing")
	}
}

// TestHeads attaches heads, enlists and releases some, and attaches again: those
// that were released must be used again before there are new ones, and no two
// pages may have the same one.
func TestHeads(t *testing.T) {
	var h heads
	used := map[uint32]pagemeta.PageID{}
	attach := func(id pagemeta.PageID) pagemeta.FrozenPage {
		n := h.attach()
		if other, ok := used[n]; n == 0 || ok {
			t.Fatalf("page %d gets head %d, page %d has it", id, n, other)
		}
		used[n] = id
		if slot := h.slot(n); slot != -1 {
			t.Fatalf("head %d, just attached, has slot %d", n, slot)
		}
		return pagemeta.FrozenPage{ID: id, Head: n}
	}
	var kept []pagemeta.FrozenPage
	for round := range 50 {
		var cut []pagemeta.FrozenPage
		for id := range pagemeta.PageID(1 + round*7%40) {
			cut = append(cut, attach(id))
		}
		kept = append(kept, attach(1000)) // redirtied meanwhile
		h.enlist(cut)
		for i, p := range cut {
			if slot := h.slot(p.Head); slot != i {
				t.Fatalf("round %d: head %d has slot %d, want %d", round, p.Head, slot, i)
			}
		}
		h.release(cut)
		for _, p := range cut {
			delete(used, p.Head)
		}
	}
	for _, p := range kept {
		if slot := h.slot(p.Head); slot != -1 {
			t.Errorf("head %d, never enlisted, has slot %d", p.Head, slot)
		}
	}
	if n := len(h.mu.all); n > len(kept)+40 {
		t.Errorf("%d heads were made, %d are used", n, len(kept))
	}
}
