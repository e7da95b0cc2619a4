package flusher

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"faultline/internal/disk"
	"faultline/pagemeta"
)

// errTorn says that a journal is not whole.
var errTorn = errors.New("journal not whole")

// recover writes the images of a whole journal to their places, which repairs
// whatever a crash has left there; when nothing was left, it changes nothing. A
// crash in the middle of it leaves the journal as it is, so that the next Open
// does it again.
func (f *Flusher) recover() error {
	round, cut, err := f.readJournal()
	if errors.Is(err, errTorn) {
		return f.readRound()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.path("journal"), err)
	}
	f.round.Store(round)
	if f.ReadOnly {
		f.replay = make(map[uint32]bool, len(cut))
		if n := len(cut); n > 0 && int(cut[n-1].ID) >= f.Capacity {
			return fmt.Errorf("%s: image of page %d, room for %d pages", f.path("journal"), cut[n-1].ID, f.Capacity)
		}
		for i, p := range slices.Backward(cut) { // i <= p.ID, so no image is lost
			f.replay[uint32(p.ID)] = true
			*f.journal.image(int(p.ID)) = *f.journal.image(i)
		}
		return nil
	}
	// The process may have died between the journal's writes and its sync: what was
	// read came from the kernel, and pages written in place now could outlive it.
	if err := f.journal.file.Sync(); err != nil {
		return err
	}
	if err := f.writeBack(cut); err != nil {
		return fmt.Errorf("write %d pages of the journal back: %w", len(cut), err)
	}
	f.metrics.recovered = len(cut)
	return f.journal.clear()
}

// readJournal reads the images of a whole journal into its memory.
func (f *Flusher) readJournal() (round uint32, cut []pagemeta.FrozenPage, err error) {
	j := &f.journal
	size, err := j.file.Size()
	if err != nil {
		return 0, nil, err
	}
	head := make([]byte, min(size, int64(headBytes(int(size/pagemeta.PageBytes)))))
	if _, err := j.file.ReadAt(head, 0); err != nil {
		return 0, nil, err
	}
	round, images, cut, err := parseHead(head)
	if err != nil {
		return 0, nil, err
	}
	if len(cut) > f.Capacity {
		return 0, nil, fmt.Errorf("%d images, room for %d pages", len(cut), f.Capacity)
	}
	if _, err := j.file.ReadAt(j.images(0, len(cut)), int64(headBytes(len(cut)))); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, errTorn
		}
		return 0, nil, err
	}
	for i, p := range cut {
		im := j.image(i)
		if im.Check(p.ID) != nil || im.Round() != round {
			return 0, nil, errTorn
		}
	}
	if j.sum(0, 0, len(cut)) != images {
		return 0, nil, errTorn
	}
	return round, cut, nil
}

// readRound learns from page 0 of the data file which round was the last: every
// round writes it.
func (f *Flusher) readRound() error {
	size, err := f.data.Size()
	if err != nil || size == 0 {
		return err
	}
	var super pagemeta.Page
	f.round.Store(^uint32(0)) // whatever page 0 has
	if err := f.ReadPage(0, &super); err != nil {
		return err
	}
	f.round.Store(super.Round())
	return nil
}

// ReadPage reads page id from the data file and checks it. It is called by
// pagemeta, with the page locked.
func (f *Flusher) ReadPage(id pagemeta.PageID, image *pagemeta.Page) error {
	if f.replay[uint32(id)] {
		*image = *f.journal.image(int(id))
		return nil
	}
	off := int64(id) * pagemeta.PageBytes
	if _, err := f.data.ReadAt(image[:], off); err != nil {
		if errors.Is(err, io.EOF) {
			return f.corrupt(off, fmt.Errorf("page %d: the file ends before it", id))
		}
		return fmt.Errorf("read page %d: %w", id, err)
	}
	if err := image.Check(id); err != nil {
		return f.corrupt(off, err)
	}
	if image.Kind() == 0 {
		return f.corrupt(off, fmt.Errorf("page %d: kind 0", id))
	}
	if last := f.round.Load(); image.Round() > last {
		return f.corrupt(off, fmt.Errorf("page %d: of round %d, the last was %d", id, image.Round(), last))
	}
	return nil
}

func (f *Flusher) corrupt(off int64, err error) error {
	return &disk.CorruptError{File: f.path("data"), Offset: off, Err: err}
}
