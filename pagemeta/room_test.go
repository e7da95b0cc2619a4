package pagemeta

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// inMemory asks the kernel which pages of the arena it has, in memory or in swap.
func inMemory(t testing.TB, table *Table) []bool {
	t.Helper()
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer pagemap.Close()
	entries := make([]byte, 8*table.Pages)
	if _, err := pagemap.ReadAt(entries, int64(table.arena.base()/PageBytes*8)); err != nil {
		t.Fatal(err)
	}
	has := make([]bool, table.Pages)
	const presentOrSwapped = 3 << 62
	for id := range has {
		has[id] = binary.LittleEndian.Uint64(entries[8*id:])&presentOrSwapped != 0
	}
	return has
}

// checkRoom compares what the table says of its memory with what the kernel does.
// Nothing is under way but the evictor.
func checkRoom(t testing.TB, table *Table) {
	t.Helper()
	table.clock.mu.Lock()
	defer table.clock.mu.Unlock()
	resident, kept := int64(0), int64(0)
	for id, has := range inMemory(t, table) {
		w := table.load(PageID(id))
		if has != (w.State() != Absent) || w.locked() {
			t.Errorf("page %d is %v, word %#x, and the kernel has it: %t", id, w.State(), uint64(w), has)
		}
		if has {
			resident++
		}
		if w.State() > Clean {
			kept++
		}
		if has && int64(id) >= table.room.high.Load() {
			t.Errorf("page %d is in memory, the highest was below %d", id, table.room.high.Load())
		}
	}
	if n := table.room.resident.Load(); n != resident {
		t.Errorf("%d pages counted in memory, the kernel has %d", n, resident)
	}
	if n := table.room.kept.Load(); n != kept {
		t.Errorf("%d pages counted that may not leave, there are %d", n, kept)
	}
}

// memoryFor is Config.Memory for so many pages in memory of a table of them.
func memoryFor(inMemory, pages int) int64 {
	return int64(inMemory)*PageBytes + int64(pages)*TableBytes
}

// TestRoom reads more pages than there is memory for, over and over. There must
// never be more in memory than that, by more than the one that is being loaded, and
// the evictor must not take more than are missing.
func TestRoom(t *testing.T) {
	watchdog(t)
	const pages, room = 3000, 500
	bothWays(t, func(t *testing.T, trapOnly bool) {
		table := newTable(t, Config{Pages: pages, Memory: memoryFor(room, pages), Owner: newOwner(), TrapOnly: trapOnly})
		least := room
		for i := range 3 * pages {
			id := PageID(i * 7 % pages)
			if err := table.Ask(id, Heat(id%4)); err != nil {
				t.Fatal(err)
			}
			if b, _, err := read(table, id); b != 0 || err != nil {
				t.Fatalf("page %d: %d, %v", id, b, err)
			}
			m := table.Metrics()
			if table.room.high.Load() == pages { // the tables have what is theirs
				if least = min(least, m.ResidentPages); m.ResidentPages > room+1 {
					t.Fatalf("%d pages in memory, room for %d", m.ResidentPages, room)
				}
			}
		}
		m := table.Metrics()
		if spare := room - least; m.Evicted == 0 || spare > 2*int(table.ahead()) {
			t.Errorf("room for %d pages, there were as few as %d: %+v", room, least, m)
		}
		t.Logf("%d to %d pages; %d evicted, %d times by who loads", least, room, m.Evicted, m.Reclaims)
	})
}

// TestNoRoom has more pages Dirty than there is room for, and an operation that
// needs a few others at one time, and begins again at each trap. It must come to its
// end, though whatever it loads is too much.
func TestNoRoom(t *testing.T) {
	watchdog(t)
	const pages, room, way = 200, 64, 12
	table := newTable(t, Config{Pages: pages, Memory: memoryFor(room, pages), Owner: newOwner(), TrapOnly: true})
	for id := range PageID(pages - way) {
		reach(t, table, id, Dirty)
	}
	for n, seen := 0, byte(0); ; n++ {
		trap := attempt(table, func(*Trap) {
			for id := PageID(pages - way); id < pages; id++ {
				seen |= table.Page(id).Kind()
			}
		})
		if !trap.Hit() {
			break
		}
		if n == 100*way {
			t.Fatalf("not done after %d attempts: %+v", n, table.Metrics())
		}
		if err := table.Resolve(&trap, ToRead); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPinned evicts while some pages are locked in memory by somebody else, which the
// kernel does not let go: they must stay what they were, and the others must go.
func TestPinned(t *testing.T) {
	const pages = 64
	o := newOwner()
	table := newTable(t, Config{Pages: pages, Owner: o})
	for id := range PageID(pages) {
		o.mu.disk[id] = Page{HeaderBytes: byte(id)}
		reach(t, table, id, Clean)
	}
	const onFault = 1 // MLOCK_ONFAULT: mlock itself would store to the pages
	if _, _, errno := unix.Syscall(unix.SYS_MLOCK2, table.arena.addr(8), 16*PageBytes, onFault); errno != 0 {
		t.Skip(errno)
	}
	table.clock.mu.Lock()
	gone := table.evict(pages)
	table.clock.mu.Unlock()
	if gone != pages-17 { // page 0 stays anyhow
		t.Errorf("%d pages evicted", gone)
	}
	checkRoom(t, table)
	for id := range PageID(pages) {
		if b, traps, err := read(table, id); b != byte(id) || err != nil || (traps == 0) != (id == 0 || id >= 8 && id < 24) {
			t.Errorf("page %d: %d, %d traps, %v", id, b, traps, err)
		}
	}
}
