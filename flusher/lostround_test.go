package flusher

import (
	"errors"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// TestLostRound loses of one round the page of data and the page of rounds that tells of
// it, and keeps the rest: what is left of the two agrees, and only the sum in page 0 can
// tell. The store must not open. That it opens with nothing lost, or all of the round, is
// the control.
func TestLostRound(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.capacity, r.end = 2*perRoundsPage, 2*perRoundsPage
	const far = perRoundsPage + 3
	r.open()
	r.f.Pages.Fresh(far)
	r.writeAll()
	r.write(far)
	r.checkpoint()
	older := r.fs.Crash(memdisk.Kill, nil)
	r.write(far)
	r.checkpoint()
	newer := r.fs.Crash(memdisk.Kill, nil)
	r.close()
	for _, lost := range []struct{ first, far bool }{{false, false}, {true, true}, {false, true}} {
		m := newer.Crash(memdisk.Kill, nil)
		lose := func(name string, page int) {
			at := page * pagemeta.PageBytes
			copy(m.Bytes(r.path(name))[at:][:pagemeta.PageBytes], older.Bytes(r.path(name))[at:])
		}
		if lost.first {
			lose("data", 0)
			lose("rounds", 0)
		}
		if lost.far {
			lose("data", far)
			lose("rounds", 1)
		}
		again := r.reopened(m)
		err := again.tryOpen(false)
		if want := lost.far && !lost.first; errors.Is(err, disk.ErrCorrupt) != want || err != nil && !want {
			t.Errorf("first pages lost %t, far ones %t: %v", lost.first, lost.far, err)
		}
		if err == nil {
			again.abandon()
		}
	}
}
