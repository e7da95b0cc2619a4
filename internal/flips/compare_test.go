package main

import (
	"os"
	"testing"
)

// TestMain makes the test binary a child too.
func TestMain(m *testing.M) {
	if isChild() {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// TestTry flips a few bits of Faultline's store and of one without page checksums:
// each flip must be counted, none of Faultline's silent, and of the other some, or
// the trials show nothing.
func TestTry(t *testing.T) {
	if testing.Short() {
		t.Skip("makes stores and runs dozens of processes")
	}
	const flips = 30
	for _, c := range []struct {
		peer  string
		blind bool
	}{{"Faultline", false}, {"bbolt v1.5.0", true}} {
		for _, task := range []string{taskClose, taskKill} {
			_, counts, err := try(named(t, c.peer), task, t.TempDir(), flips, 1, func() {})
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for _, n := range counts {
				total += n
			}
			if total != flips || c.blind != (counts[silent] > 0) {
				t.Errorf("%s, %s: %v", c.peer, task, counts)
			}
		}
	}
}

func named(t *testing.T, name string) peer {
	for _, p := range peers {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("no peer %q", name)
	return peer{}
}
