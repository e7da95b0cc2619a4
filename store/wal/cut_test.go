package wal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"faultline/internal/memdisk"
)

// TestZerosSynced is TestResurrection with a record D that is written and not synced
// when the power fails the second time. Whatever of the writes since the first crash
// is on disk then, the old record C behind it must not be back: the zeros over it must
// have been durable before. That D is found, and that it is not, is the control.
func TestZerosSynced(t *testing.T) {
	found := map[string]int{}
	for seed := range uint64(20) {
		m, segment := withoutB(t)
		m.SettleFile(segment)

		l, _ := replayAll(t, testOptions(m), 0)
		if err := l.Write(mustAppend(t, l, "D")); err != nil {
			t.Fatal(err)
		}
		_, got := replayAll(t, testOptions(m.Crash(memdisk.Subset, rand.New(rand.NewPCG(seed, 0)))), 0)
		if slices.Contains(got, "C") {
			t.Fatalf("seed %d: found %q", seed, got)
		}
		found[fmt.Sprint(got)]++
	}
	if found["[A]"] == 0 || found["[A D]"] == 0 || len(found) != 2 {
		t.Errorf("found %v", found)
	}
}

// TestDurableIsOld appends and writes a record while the one before it is synced. It
// must not be durable by that sync: whether the fdatasync has seen it nobody knows.
func TestDurableIsOld(t *testing.T) {
	m := memdisk.New()
	l := mustOpen(t, testOptions(m))
	mustSync(t, l, mustAppend(t, l, "makes the segment"))
	a := mustAppend(t, l, "a")
	var b LSN
	m.SetHook(func(op, path string) error {
		if op != "sync" || b > 0 {
			return nil
		}
		b = mustAppend(t, l, "b")
		return l.Write(b)
	})
	mustSync(t, l, a)
	if b == 0 || l.Durable() >= b {
		t.Errorf("durable up to %d, a record up to %d was written during the sync", l.Durable(), b)
	}
	mustSync(t, l, b)
}
