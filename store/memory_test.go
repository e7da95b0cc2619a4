package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// rss is what the kernel says that this process has in memory, in bytes.
func rss(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// TestMemory compares what the store says of its memory with what the kernel says
// of the process, as it grows: while pages come into memory, and while a round has
// its images there.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	o := smallOptions(false)
	o.MemoryBudget, o.DirtyBudget, o.LogBytes = 256<<20, 64<<20, 1<<30
	db := open(t, t.TempDir(), o)
	debug.FreeOSMemory()
	m0, rss0 := db.Metrics().Memory, rss(t)
	for i := range 150_000 {
		if err := db.Put(fmt.Appendf(nil, "key%06d", i*7919%150_000), []byte(value(uint64(i%7))), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	rss1 := rss(t)
	m := db.Metrics()
	m1 := m.Memory
	if m1.BudgetBytes != o.MemoryBudget || m1.TotalBytes != m1.PagesBytes+m1.TablesBytes+m1.LentBytes+m1.LogBytes+m1.GoBytes {
		t.Errorf("%+v", m1)
	}
	if m1.PagesBytes < 20<<20 || m1.TablesBytes <= m0.TablesBytes || m1.LentBytes < 10<<20 || m1.LogBytes != 1<<20 || m1.GoBytes <= 0 {
		t.Errorf("%+v, before %+v", m1, m0)
	}
	const blur = 12 << 20 // stacks, what the runtime has mapped and not touched, the maps of files
	if off := (m1.TotalBytes - m0.TotalBytes) - (rss1 - rss0); off < -blur || off > blur {
		t.Errorf("memory has grown by %d bytes, it says, and by %d in the kernel: %+v, before %+v", m1.TotalBytes-m0.TotalBytes, rss1-rss0, m1, m0)
	}
	t.Logf("%+v, VmRSS %d; before %+v, VmRSS %d", m1, rss1, m0, rss0)
}
