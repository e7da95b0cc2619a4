package flusher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"faultline/internal/disk"
	"faultline/pagemeta"
)

// flush makes one round: the pages that are Dirty now go to the data file. The
// letters are those of the package comment. After an error the Flusher has
// stopped: the kernel may have dropped the pages whose sync failed.
func (f *Flusher) flush() error {
	began := time.Now()
	cut, from, through, err := f.freeze()
	if err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	if err := f.audit(); err != nil {
		return err
	}
	if len(cut) == 0 {
		return nil
	}
	round := f.round.Load() + 1
	if err := f.log.Sync(context.Background(), through); err != nil { // A
		return fmt.Errorf("sync log up to %d before round %d: %w", through, round, err)
	}
	if err := f.syncValues(); err != nil { // A'
		return fmt.Errorf("sync long values before round %d: %w", round, err)
	}
	images, err := f.writeJournal(round, cut)
	if err != nil { // B
		return fmt.Errorf("journal %d pages: %w", len(cut), err)
	}
	if err := f.complete(round, images); err != nil { // C
		return err
	}
	for _, p := range cut {
		f.Pages.Written(p.ID)
	}
	f.heads.release(cut)
	f.credits.give(len(cut))
	f.done()
	if err := f.journal.clear(); err != nil { // D
		return fmt.Errorf("clear journal: %w", err)
	}
	if err := f.log.Trim(from); err != nil {
		return fmt.Errorf("trim log up to %d: %w", from, err)
	}
	f.metrics.roundDone(len(cut), time.Since(began))
	if f.Pages.Short() {
		return f.journal.drop(f.Pages)
	}
	return nil
}

// freeze makes the cut: no operation is half in it. It returns no pages if there
// is nothing to write.
func (f *Flusher) freeze() (cut []pagemeta.FrozenPage, from, through uint64, err error) {
	err = f.Exclusive(func() error {
		began := time.Now()
		defer func() { f.metrics.frozen(time.Since(began)) }()
		if err := f.Err(); err != nil {
			return err // an operation may have been stopped half way
		}
		if from, through, err = f.cut(); err != nil {
			return err
		}
		if cut, err = f.Pages.Freeze(f.frozen[:0]); err != nil {
			return f.Stop(err) // before the gate opens: a store could trap for ever
		}
		f.heads.enlist(cut)
		return nil
	})
	return cut, from, through, err
}

// audit asks the kernel whether a page is writable that is not Dirty. What was
// stored to one is in no cut; but the log still has it, since the audit of the
// round before found none, and only this round would trim it. So the store stops
// here, and Open recovers. A kernel that cannot tell is trusted.
func (f *Flusher) audit() error {
	err := f.Pages.Audit()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// chunkPages is how many images are written to the journal in one call: 1 MiB,
// from where on larger calls gain nothing.
const chunkPages = 256

// chunkRuns is how many runs of neighbours are handed to the file at once.
const chunkRuns = 1024

// writeJournal captures the images of the cut that no operation has captured,
// adds those of the pages of rounds that change with it, and makes the journal
// whole. It returns all of them, in the order of their slots.
func (f *Flusher) writeJournal(round uint32, cut []pagemeta.FrozenPage) (images []pagemeta.FrozenPage, err error) {
	j := &f.journal
	images = f.rounds.cover(cut)
	j.use(len(images), f.Pages)
	f.frozen = images // its memory is used again by the next round
	roundsSum := f.rounds.sum(images[len(cut):], round)
	base, sum, rest := int64(headBytes(len(images))), uint32(0), cut
	for from := 0; from < len(images); from += chunkPages {
		to := min(from+chunkPages, len(images))
		for i := from; i < to; i++ {
			id, image := images[i].ID, j.image(i)
			if i >= len(cut) {
				rest = f.rounds.draw(image, id, round, rest)
				continue
			}
			f.Pages.Capture(id, image) // or mkwrite has
			if id == 0 {
				le.PutUint32(image[roundsSumAt:], roundsSum)
			}
			image.Seal(id, round)
		}
		sum = j.sum(sum, from, to)
		if _, err := j.file.WriteAt(j.images(from, to), base+int64(from)*pagemeta.PageBytes); err != nil {
			return nil, err
		}
	}
	head := appendHead(j.head[:0], round, sum, images)
	if _, err := j.file.WriteAt(head, 0); err != nil {
		return nil, err
	}
	return images, j.file.Sync()
}

// complete writes images in place, and notes that round has written them.
func (f *Flusher) complete(round uint32, images []pagemeta.FrozenPage) error {
	f.inPlace.Lock()
	defer f.inPlace.Unlock()
	if err := f.writeBack(images); err != nil {
		// At once: a scrub would take half a round for damage.
		return f.Stop(fmt.Errorf("write back %d pages: %w", len(images), err))
	}
	f.round.Store(round)
	f.rounds.wrote(images, round)
	return nil
}

// writeBack writes images, which the journal holds, to their places: page 0 last,
// when the others are durable. It says which round the data file is of, so that
// even without the journal no page of an earlier round can pass for one of this
// round, and those of this round show until page 0 does.
func (f *Flusher) writeBack(images []pagemeta.FrozenPage) error {
	n := 1 // from here on they are pages of rounds
	for n < len(images) && images[n].ID < firstRoundsPage {
		n++
	}
	if err := f.growData(images[n-1].ID); err != nil {
		return err
	}
	if err := reserve(f.rounds.file, images[len(images)-1].ID-firstRoundsPage, growRounds); err != nil {
		return err
	}
	if err := f.writeRuns(images, 1, n); err != nil {
		return err
	}
	if err := f.writeRuns(images, n, len(images)); err != nil {
		return err
	}
	return f.writeRuns(images, 0, 1)
}

// writeRuns writes images[from:end], all of one file, to their places, and syncs
// it. Neighbours go in one call, and many calls at a time.
func (f *Flusher) writeRuns(images []pagemeta.FrozenPage, from, end int) error {
	if from == end {
		return nil
	}
	file, _, _ := f.place(images[from].ID)
	for from < end {
		f.runs = f.runs[:0]
		for from < end && len(f.runs) < chunkRuns {
			to := from + 1
			for to < end && to-from < chunkPages && images[to].ID == images[to-1].ID+1 {
				to++
			}
			_, _, off := f.place(images[from].ID)
			f.runs = append(f.runs, disk.Access{Mem: f.journal.images(from, to), Off: off})
			from = to
		}
		if err := disk.WriteMany(file, f.runs); err != nil {
			return err
		}
		f.metrics.writes.Add(uint64(len(f.runs)))
	}
	return file.Sync()
}

// The steps in which the data file and rounds grow, in pages: 4 MiB and 64 KiB,
// which is enough for 64 MiB of data.
const (
	growPages  = 1024
	growRounds = 16
)

// growData makes the data file long enough for page last of it.
func (f *Flusher) growData(last pagemeta.PageID) error {
	f.growing.Lock()
	defer f.growing.Unlock()
	return reserve(f.data, last, growPages)
}

// reserve makes file long enough for page last of it, in steps of grow pages,
// with blocks behind them.
func reserve(file disk.File, last pagemeta.PageID, grow int64) error {
	size, err := file.Size()
	if err != nil {
		return err
	}
	pages := int64(last) + 1
	if size >= pages*pagemeta.PageBytes {
		return nil
	}
	return file.Allocate((pages + grow - 1) / grow * grow * pagemeta.PageBytes)
}
