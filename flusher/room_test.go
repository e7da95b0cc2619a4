package flusher

import (
	"context"
	"errors"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// anySpace is a Space that does with any room.
type anySpace struct{}

func (anySpace) SetRoom(int) bool { return true }
func (anySpace) Spare() int       { return 0 }
func (anySpace) Trim() error      { return nil }

// TestRoomInJournal changes more pages than the journal has room for, on a disk that
// has none left, and with many times as many credits. No operation may get credits for
// a round that the journal does not hold: it waits for a round before, or is refused
// if it alone is too large, and no round meets the full disk. Once there is room the
// large one must go through.
func TestRoomInJournal(t *testing.T) {
	watchdog(t)
	m := memdisk.New()
	r := newRig(t, m)
	r.pages, r.capacity = 1000, 2048
	r.open()
	m.SetHook(nil) // the journal grows beside rounds
	if err := errors.Join(r.f.UseRoom(anySpace{}), r.f.Grow(r.pages)); err != nil {
		t.Fatal(err)
	}
	m.SetQuota(m.Used())
	for id := range pagemeta.PageID(r.pages - 1) {
		r.write(id + 1) // waits for rounds
	}
	r.checkpoint()
	if n := r.f.Metrics().Rounds; n < 3 {
		t.Errorf("%d rounds of %d pages, with a journal for few more than %d", n, r.pages, minRound)
	}

	large := r.pages
	if _, err := r.f.Begin(context.Background(), large, 0); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("begin to change %d pages on a full disk: %v", large, err)
	}
	r.write(1)
	m.SetQuota(0)
	grant, err := r.f.Begin(context.Background(), large, 0)
	if err != nil {
		t.Fatalf("begin to change %d pages once there is room: %v", large, err)
	}
	r.f.End(grant, 0)
	r.writeAll()
	r.checkpoint()
	r.check("after all")
	r.close()
}
