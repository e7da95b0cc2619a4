package pagemeta

import "testing"

// TestExpect expects pages that are not in memory, outside of any boundary, where a trap
// would end the process: nothing may happen, before Close and after.
func TestExpect(t *testing.T) {
	table := newTable(t, Config{Pages: 64, Owner: newOwner()})
	expect := func() {
		for id := range PageID(64) {
			for lines := 1; lines <= PageBytes/LineBytes; lines++ {
				table.Expect(id, lines)
				table.ExpectMore(id, PageBytes/LineBytes-lines, lines)
			}
		}
	}
	expect()
	if n := table.Resident(); n != 0 || table.State(7) != Absent || table.Metrics().Loads != 0 {
		t.Errorf("%d pages are in memory, %d loads, page 7 is %v", n, table.Metrics().Loads, table.State(7))
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	expect()
}
