package flusher

import (
	"errors"
	"fmt"
	"io"

	"faultline/internal/disk"
	"faultline/internal/offheap"
	"faultline/pagemeta"
)

// errTorn says that a journal is not whole.
var errTorn = errors.New("journal not whole")

// recover writes the images of a whole journal to their places, which repairs
// whatever a crash has left there; when nothing was left, it changes nothing. A
// crash in the middle of it leaves the journal as it is, so that the next Open
// does it again. empty tells that the data file has no page yet.
func (f *Flusher) recover() (empty bool, err error) {
	images, err := f.readJournal()
	if err == nil && f.outdated() {
		err = errTorn
	}
	switch {
	case errors.Is(err, errTorn):
		size, err := f.data.Size()
		if err != nil || size == 0 {
			return true, err
		}
	case err != nil:
		return false, fmt.Errorf("%s: %w", f.path("journal"), err)
	case f.ReadOnly:
		f.replay = make(map[pagemeta.PageID]int, len(images))
		for slot, p := range images {
			f.replay[p.ID] = slot
		}
		f.metrics.recovered = len(images)
	default:
		if err := f.writeAgain(images); err != nil {
			return false, err
		}
	}
	return false, f.readRounds()
}

// outdated tells whether the data file is of a later round than the whole journal
// in memory. A disk leaves that when it has lost what was written to the journal
// since; the data file is then complete, for page 0 comes last.
func (f *Flusher) outdated() bool {
	super := pagemeta.NewPage()
	return f.readImage(0, super) == nil && super.Round() > f.journal.image(0).Round()
}

// writeAgain makes step C of a round that was cut off.
func (f *Flusher) writeAgain(images []pagemeta.FrozenPage) error {
	if err := f.writeBack(images); err != nil {
		return fmt.Errorf("write %d pages of the journal back: %w", len(images), err)
	}
	f.metrics.recovered = len(images)
	return f.journal.clear()
}

// readJournal reads the images of a whole journal into its memory.
func (f *Flusher) readJournal() ([]pagemeta.FrozenPage, error) {
	j := &f.journal
	// The process may have died between the journal's writes and its sync, or the sync
	// has failed: what is read must not come from the kernel alone, for pages written
	// in place now could outlive it.
	if !f.ReadOnly {
		if err := disk.SyncAndEvict(j.file); err != nil {
			return nil, err
		}
	}
	size, err := j.file.Size()
	if err != nil {
		return nil, err
	}
	head, err := offheap.Reserve(headBytes(int(size / pagemeta.PageBytes)))
	if err != nil {
		return nil, err
	}
	defer offheap.Free(head)
	n, err := j.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	round, sum, images, err := parseHead(head[:n])
	if err != nil {
		return nil, err
	}
	if room := len(j.mem) / pagemeta.PageBytes; len(images) > room {
		return nil, fmt.Errorf("%d images, room for %d", len(images), room)
	}
	j.use(len(images), f.Pages)
	if _, err := j.file.ReadAt(j.images(0, len(images)), int64(headBytes(len(images)))); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errTorn
		}
		return nil, err
	}
	for i, p := range images {
		im := j.image(i)
		if im.Check(p.ID) != nil || im.Round() != round {
			return nil, errTorn
		}
	}
	if j.sum(0, 0, len(images)) != sum {
		return nil, errTorn
	}
	return images, f.checkCut(images)
}

// checkCut says what is wrong with the images of a whole journal: they must be of
// page 0 and others, in order, and of pages that there is room for.
func (f *Flusher) checkCut(images []pagemeta.FrozenPage) error {
	last := pagemeta.PageID(0)
	for i, p := range images {
		if i > 0 && p.ID <= last {
			return f.corruptJournal(fmt.Errorf("page %d after page %d", p.ID, last))
		}
		if p.ID < firstRoundsPage && int(p.ID) >= f.Capacity {
			return fmt.Errorf("image of page %d, room for %d pages", p.ID, f.Capacity)
		}
		if p.ID >= firstRoundsPage && int(p.ID-firstRoundsPage) >= len(f.rounds.own) {
			return f.corruptJournal(fmt.Errorf("page %#x", p.ID))
		}
		last = p.ID
	}
	if len(images) == 0 || images[0].ID != 0 {
		return f.corruptJournal(errors.New("no image of page 0"))
	}
	return nil
}

// ReadPage reads page id from the data file and checks it. It is called by
// pagemeta, with the page locked. A page that is one of a value is refused, and may be
// changing: who comes to it has an old pointer, or the tree is damaged.
func (f *Flusher) ReadPage(id pagemeta.PageID, image *pagemeta.Page) error {
	if err := f.readImage(id, image); err != nil {
		return err
	}
	return f.checkRound(id, image)
}

// readImage reads page id of its file, or of a journal that is not written back,
// and checks all that it says of itself.
func (f *Flusher) readImage(id pagemeta.PageID, image *pagemeta.Page) error {
	err := f.readRaw(id, image)
	if errors.Is(err, io.EOF) {
		return f.missing(id)
	}
	if err != nil {
		_, name, off := f.place(id)
		return disk.Unreadable(f.path(name), off, err)
	}
	return f.checkImage(id, image)
}

func (f *Flusher) checkImage(id pagemeta.PageID, image *pagemeta.Page) error {
	if err := image.Check(id); err != nil {
		return f.corrupt(id, err)
	}
	if image.Kind() == 0 || image.Kind() == kindValue || (image.Kind() == kindRounds) != (id >= firstRoundsPage) {
		return f.corrupt(id, fmt.Errorf("page %d: kind %d", id, image.Kind()))
	}
	return nil
}

func (f *Flusher) readRaw(id pagemeta.PageID, image *pagemeta.Page) error {
	if slot, ok := f.replay[id]; ok {
		*image = *f.journal.image(slot)
		return nil
	}
	file, _, off := f.place(id)
	_, err := file.ReadAt(image[:], off)
	return err
}

// place is where page id is: in which file, and from which byte on.
func (f *Flusher) place(id pagemeta.PageID) (file disk.File, name string, off int64) {
	if id < firstRoundsPage {
		return f.data, "data", int64(id) * pagemeta.PageBytes
	}
	return f.rounds.file, "rounds", int64(id-firstRoundsPage) * pagemeta.PageBytes
}

func (f *Flusher) corrupt(id pagemeta.PageID, err error) error {
	_, name, off := f.place(id)
	return &disk.CorruptError{File: f.path(name), Offset: off, Err: err}
}

// missing is the error for a page that the file is too short for.
func (f *Flusher) missing(id pagemeta.PageID) error {
	return f.corrupt(id, fmt.Errorf("page %d: the file ends before it", id))
}

func (f *Flusher) corruptJournal(err error) error {
	return &disk.CorruptError{File: f.path("journal"), Err: err}
}
