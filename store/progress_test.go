package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"faultline/internal/memdisk"
)

// TestProgress kills a process that has written 5 MiB of log since its last round, and
// looks at what the next Open tells of its recovery: never less than before, never more
// than all, all of it at the end, and a call for each MiB.
func TestProgress(t *testing.T) {
	m := memdisk.New()
	o := &Options{MemoryBudget: 64 << 20, SegmentBytes: 1 << 20, CheckpointEvery: -1, fs: m}
	db, err := Open("d", o)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 << 4 {
		if err := db.Put(fmt.Appendf(nil, "%d", i), make([]byte, 64<<10), Async); err != nil {
			t.Fatal(err)
		}
	}
	crashed := m.Crash(memdisk.Kill, rand.New(rand.NewPCG(1, 1)))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	type call struct{ done, total uint64 }
	var calls []call
	o.fs, o.Progress = crashed, func(done, total uint64) { calls = append(calls, call{done, total}) }
	if db, err = Open("d", o); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if len(calls) < 2+4 {
		t.Fatalf("%d calls for 5 MiB of log: %v", len(calls), calls)
	}
	first, last := calls[0], calls[len(calls)-1]
	if first.done != 0 || last.done != last.total || last.total < 5<<20 || last.total > 8<<20 {
		t.Errorf("from %v to %v, want from 0 to all of 5 MiB and the rest of a file", first, last)
	}
	for i, c := range calls[1:] {
		if c.done < calls[i].done || c.done > c.total || c.total != first.total {
			t.Errorf("%v after %v", c, calls[i])
		}
	}
}
