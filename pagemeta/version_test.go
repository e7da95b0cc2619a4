package pagemeta

import "testing"

// TestVersion takes and gives back a latch, alone, and asks after each step which of
// the versions that it has seen may still be believed, and latched: none but that of
// the page as it is, and none while the latch is held.
func TestVersion(t *testing.T) {
	table := newTable(t, Config{Pages: 1, Owner: newOwner()})
	reach(t, table, 0, Dirty)
	var old []uint64
	for i, changed := range []bool{true, false, true, true, false} {
		now := table.Version(0)
		for _, v := range old {
			if v == now || table.Unchanged(0, v) {
				t.Errorf("step %d: version %d is that of an older page, and believed", i, v)
			}
			if table.Latch(0, v) {
				table.Unlatch(0, true)
				t.Errorf("step %d: latched with version %d, the page has %d", i, v, now)
			}
		}
		if !table.Unchanged(0, now) || !table.Latch(0, now) {
			t.Fatalf("step %d: version %d is not that of the page", i, now)
		}
		if table.Unchanged(0, now) {
			t.Errorf("step %d: believed, though the latch is held", i)
		}
		table.Unlatch(0, changed)
		if changed {
			old = append(old, now)
		}
	}
	now := table.Version(0)
	if !table.Latch(0, now) || table.Latch(0, now) {
		t.Error("two hold the latch")
	}
	table.Unlatch(0, false)
}
