package pagemeta

import (
	"math/rand/v2"
	"testing"
)

// TestStateNext checks every state against every event: what the diagram of
// State draws is allowed, and all else is refused.
func TestStateNext(t *testing.T) {
	drawn := []struct {
		from State
		by   Event
		to   State
	}{
		{Absent, Load, Clean},
		{Absent, Mkwrite, Dirty}, // a fresh page
		{Clean, Mkwrite, Dirty},
		{Dirty, Freeze, Frozen},
		{Dirty, Written, Dirty},
		{Frozen, Mkwrite, Dirty},
		{Frozen, Capture, Flight},
		{Flight, Mkwrite, Dirty},
		{Flight, Written, Clean},
		{Clean, Evict, Absent},
	}
	for s := range numStates {
		for e := range numEvents {
			var want State
			var wantOK bool
			for _, d := range drawn {
				if d.from == s && d.by == e {
					want, wantOK = d.to, true
				}
			}
			to, ok := s.next(e)
			if ok != wantOK || ok && to != want {
				t.Errorf("%v by %v = %v, %t, want %v, %t", s, e, to, ok, want, wantOK)
			}
		}
	}
}

// TestNames checks that states and events have names, all different, and that a
// number that is none is shown as such; next of an unknown event panics.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for s := range numStates + 1 {
		seen[s.String()] = true
	}
	for e := range numEvents + 1 {
		seen[e.String()] = true
	}
	if want := int(numStates) + int(numEvents) + 2; len(seen) != want {
		t.Errorf("%d names of %d", len(seen), want)
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown event did not panic")
		}
	}()
	Clean.next(numEvents)
}

// TestWord puts every state with every mixture of bits and random heads through
// with: the state and the head must be the new ones, lock bits and heat the old ones,
// and the fresh bit gone if the page is Dirty; and no field may run into another.
func TestWord(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	heads := []uint32{0, 1, 2, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	for range 100 {
		heads = append(heads, r.Uint32())
	}
	for from := range numStates {
		for bits := range Word(32) {
			old := Word(from) | bits<<3 | Word(heads[r.IntN(len(heads))])<<headShift
			if old.State() != from || old.locked() != (bits&1 != 0) || old.fresh() != (bits&4 != 0) {
				t.Fatalf("%#x: state %v, locked %t, fresh %t", uint64(old), old.State(), old.locked(), old.fresh())
			}
			for to := range numStates {
				for _, head := range heads {
					w := old.with(to, head)
					if w.State() != to || w.head() != head || w.fresh() != (old.fresh() && to != Dirty) || w&(lockBit|waitBit|heatMask) != old&(lockBit|waitBit|heatMask) {
						t.Fatalf("%#x with %v and head %d: %#x", uint64(old), to, head, uint64(w))
					}
				}
			}
		}
	}
	if all := stateMask | lockBit | waitBit | freshBit | heatMask; all >= 1<<headShift || Word(numStates-1) > stateMask {
		t.Fatalf("fields overlap: %#x", uint64(all))
	}
}
