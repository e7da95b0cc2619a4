package flusher

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// found scrubs the pages of the rig, those of the tree and the others, and returns
// how many were looked at and the offsets of those in data that are bad.
func (r *rig) found() (pages int64, offsets []int64) {
	r.t.Helper()
	pages, err := r.f.Scrub(Scrub{
		Pages:  r.capacity,
		Used:   func(pagemeta.PageID, []bool) error { return errors.New("nobody knows") },
		Passed: func(int64) error { return nil },
		Bad: func(err error) {
			corrupt := (*disk.CorruptError)(nil)
			if !errors.As(err, &corrupt) || corrupt.File != r.path("data") {
				r.t.Error(err)
				return
			}
			offsets = append(offsets, corrupt.Offset)
		},
	})
	if err != nil {
		r.t.Error(err)
	}
	return pages, offsets
}

// TestScrubJournal scrubs what a kill between B and C has left, without writing it:
// the pages of which the journal has an image are what the journal says, whatever
// is in their place.
func TestScrubJournal(t *testing.T) {
	r, left := wholeJournal(t) // pages 0, 1 and 4
	for _, id := range []int{0, 1, 3, 4, 6} {
		left.Bytes(r.path("data"))[id*pagemeta.PageBytes+99] ^= 1
	}
	n := r.reopened(left)
	n.openReadOnly()
	defer n.abandon()
	_, offsets := n.found()
	if want := []int64{3 * pagemeta.PageBytes, 6 * pagemeta.PageBytes}; !slices.Equal(offsets, want) {
		t.Errorf("bad at bytes %d, want %d", offsets, want)
	}
}

// TestScrubDirty scrubs pages of which some are Dirty: the file has the older version
// of those, or none, and neither is looked at.
func TestScrubDirty(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	defer r.close()
	r.write(1, 2, 3)
	r.checkpoint()
	r.write(2, 3)
	data := r.fs.Bytes(r.path("data"))
	clear(data[2*pagemeta.PageBytes : 4*pagemeta.PageBytes])
	if pages, offsets := r.found(); pages != 3 || offsets != nil { // 0, 1, and one of rounds
		t.Errorf("%d pages looked at, bad at bytes %d", pages, offsets)
	}
}

// TestScrubBesideRound begins a scrub when a round has written rounds in place, and not
// yet page 0: it must wait, for the pages are those of two rounds.
func TestScrubBesideRound(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	defer r.close()
	r.writeAll()
	r.checkpoint()
	r.write(1)
	var wg sync.WaitGroup
	r.when["r"] = func() {
		excluded := !r.f.inPlace.TryLock()
		ended := make(chan struct{})
		wg.Go(func() {
			defer close(ended)
			if _, offsets := r.found(); offsets != nil {
				t.Errorf("bad at bytes %d", offsets)
			}
		})
		if !excluded { // then it can end now, and finds what it should not see
			r.f.inPlace.Unlock()
			<-ended
		}
	}
	r.checkpoint()
	wg.Wait()
}
