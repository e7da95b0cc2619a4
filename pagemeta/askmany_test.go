package pagemeta

import "testing"

// TestMissing tells what nobody has asked for from what is there or on its way.
func TestMissing(t *testing.T) {
	table := newTable(t, Config{Pages: 4, Owner: newOwner()})
	reach(t, table, 1, Clean)
	reach(t, table, 2, Dirty)
	table.lock(3)
	for id, want := range []bool{true, false, false, false} {
		if got := table.Missing(PageID(id)); got != want {
			t.Errorf("page %d, %v: missing %t, want %t", id, table.State(PageID(id)), got, want)
		}
	}
	table.unlock(3)
	if !table.Missing(3) {
		t.Error("page 3 is not missing once its lock is free")
	}
}

// TestCool asks for pages and cools some: these are evicted, and the others are not.
func TestCool(t *testing.T) {
	const pages = 64
	table := newTable(t, Config{Pages: pages, Owner: newOwner()})
	for id := range PageID(pages) {
		if err := table.Ask(id, Warm); err != nil {
			t.Fatal(err)
		}
		if id%4 == 1 {
			table.Cool(id)
			table.Cool(id) // to no effect
		}
	}
	table.clock.mu.Lock()
	gone := table.evict(pages / 4)
	table.clock.mu.Unlock()
	if gone != pages/4 {
		t.Errorf("%d pages evicted", gone)
	}
	for id := range PageID(pages) {
		if got, want := table.State(id) == Absent, id%4 == 1; got != want {
			t.Errorf("page %d: evicted %t, want %t", id, got, want)
		}
	}
}

// TestWindow bounds what is asked for ahead by the memory that there is for clean
// pages.
func TestWindow(t *testing.T) {
	const pages, room = 1000, 320
	table := newTable(t, Config{Pages: pages, Owner: newOwner()})
	if n := table.Window(); n != pages {
		t.Errorf("window of %d pages without a bound of memory, want %d", n, pages)
	}
	table = newTable(t, Config{Pages: pages, Memory: memoryFor(room, pages), Owner: newOwner()})
	reach(t, table, pages-1, Clean) // the tables have what is theirs
	want := func(n int, when string) {
		if got := table.Window(); got != n {
			t.Errorf("%s: window of %d pages, want %d", when, got, n)
		}
	}
	want(room/16, "empty")
	for id := range PageID(room / 4) {
		reach(t, table, id, Clean)
	}
	want(room/16, "clean")
	for id := range PageID(room / 4) {
		reach(t, table, id, Dirty)
	}
	want(room*3/4/16, "a quarter is dirty")
	table.Lend(room * PageBytes)
	want(0, "all is lent")
}
