//go:build race

package pagemeta

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"faultline/internal/offheap"
)

// races are what the shadow must make the detector report. Page 1 is in state from when
// one begins; first and then are made in this order, by two goroutines that nothing
// orders which the detector knows.
var races = []struct {
	name        string
	from        State
	first, then func(table *Table)
}{
	{"two writers, no latch", Dirty,
		func(table *Table) { change(table, 1, 1) },
		func(table *Table) { change(table, 2, 2) }},
	{"the second has no latch", Dirty,
		func(table *Table) { latched(table, 1, 1) },
		func(table *Table) { change(table, 2, 2) }},
	{"freeze and capture with the gate open", Dirty,
		func(table *Table) { latched(table, 1, 1) },
		func(table *Table) {
			if _, err := table.Freeze(nil); err != nil {
				panic(err)
			}
			table.Capture(1, new(Page))
		}},
	{"capture of a page that has lost its protection", Frozen,
		func(table *Table) {
			if err := table.arena.fd.Unprotect(table.arena.addr(1), PageBytes); err != nil {
				panic(err)
			}
			latched(table, 1, 1)
		},
		func(table *Table) { table.Capture(1, new(Page)) }},
	{"mkwrite of a page that has lost its protection", Frozen,
		func(table *Table) {
			if err := table.arena.fd.Unprotect(table.arena.addr(1), PageBytes); err != nil {
				panic(err)
			}
			latched(table, 1, 1)
		},
		func(table *Table) {
			if err := table.Prepare(1); err != nil {
				panic(err)
			}
		}},
}

// inOrder runs first and then, each in a goroutine, one after the other. The flag
// between them is outside the heap: the detector takes no notice of it.
func inOrder(t *testing.T, first, then func()) {
	mem, err := offheap.Reserve(PageBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer offheap.Free(mem)
	done := (*atomic.Bool)(unsafe.Pointer(&mem[0]))
	var wg sync.WaitGroup
	wg.Go(func() {
		first()
		done.Store(true)
	})
	wg.Go(func() {
		for !done.Load() {
			runtime.Gosched()
		}
		then()
	})
	wg.Wait()
}

// change stores to page 1, with no latch.
func change(table *Table, at int, b byte) { table.Writing(1)[HeaderBytes+at] = b }

// latched stores to page 1 as an operation does in phase 2.
func latched(table *Table, at int, b byte) {
	for !table.Latch(1, table.Version(1)) {
		runtime.Gosched()
	}
	change(table, at, b)
	table.Unlatch(1, true)
}

// TestShadow shows that the race detector sees the arena: each race is run in a
// process of its own, which must end with a report.
func TestShadow(t *testing.T) {
	if name := os.Getenv(childEnv); name != "" {
		for _, r := range races {
			if r.name == name {
				table := newTable(t, Config{Pages: 4, Owner: newOwner()})
				reach(t, table, 1, r.from)
				inOrder(t, func() { r.first(table) }, func() { r.then(table) })
			}
		}
		return
	}
	for _, r := range races {
		t.Run(r.name, func(t *testing.T) {
			out, err := child("TestShadow", "", r.name)
			if err == nil || !strings.Contains(out, "WARNING: DATA RACE") || !strings.Contains(out, "pagemeta.(*Table)") {
				t.Errorf("no report: %v\n%s", err, out)
			}
		})
	}
}

// TestShadowQuiet has writers that latch, by traps and by Prepare, beside rounds
// that freeze with the gate closed: the detector must have nothing to say.
func TestShadowQuiet(t *testing.T) {
	watchdog(t)
	bothWays(t, func(t *testing.T, trapOnly bool) {
		o := newOwner()
		table := newTable(t, Config{Pages: 4, Owner: o, TrapOnly: trapOnly})
		reach(t, table, 1, Dirty)
		var gate sync.RWMutex
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := range 200 {
					gate.RLock()
					if err := table.Prepare(1); err != nil {
						t.Error(err)
					}
					_, err := operate(table, ToWrite, func(tr *Trap) {
						table.Page(1).Touch()
						tr.Commit()
						latched(table, w, byte(i))
					})
					gate.RUnlock()
					if err != nil {
						t.Error(err)
					}
					runtime.Gosched()
				}
			})
		}
		ended := make(chan struct{})
		go func() {
			writers.Wait()
			close(ended)
		}()
		for rounds := 0; ; rounds++ {
			select {
			case <-ended:
				t.Logf("%d rounds, %d captures by writers", rounds, table.Metrics().Captured)
				return
			default:
			}
			gate.Lock()
			cut, err := table.Freeze(nil)
			gate.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			runtime.Gosched()
			for _, p := range cut {
				var image Page
				table.Capture(p.ID, &image)
				table.Written(p.ID)
			}
		}
	})
}
