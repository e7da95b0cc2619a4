package flusher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"faultline/internal/disk"
	"faultline/pagemeta"
)

// flush makes one round: the pages that are Dirty now go to the data file. The
// letters are those of the package comment. After an error the Flusher has
// stopped: the kernel may have dropped the pages whose sync failed. It returns how
// many pages the data file has then.
func (f *Flusher) flush() (pages int, err error) {
	began := time.Now()
	f.journal.use(f.Pages.Dirty(), f.Pages) // once the gate is open again there is no time
	if err := f.freezeAhead(); err != nil {
		return 0, fmt.Errorf("freeze: %w", err)
	}
	all, at, err := f.freeze()
	if err != nil {
		return 0, fmt.Errorf("freeze: %w", err)
	}
	if err := f.audit(); err != nil {
		return 0, err
	}
	if len(all) == 0 {
		return at.Pages, nil
	}
	cut := f.leaveOut(all, at.Pages)
	round := f.round.Load() + 1
	if err := f.log.Sync(context.Background(), at.Through); err != nil { // A
		return 0, fmt.Errorf("sync log up to %d before round %d: %w", at.Through, round, err)
	}
	if err := f.syncValues(); err != nil { // A'
		return 0, fmt.Errorf("sync long values before round %d: %w", round, err)
	}
	images, err := f.writeJournal(round, cut, at.Pages)
	if err != nil { // B
		return 0, fmt.Errorf("journal %d pages: %w", len(cut), err)
	}
	if err := f.complete(round, images, at.Pages); err != nil { // C
		return 0, err
	}
	for _, p := range all {
		f.Pages.Written(p.ID)
	}
	f.credits.give(len(all))
	f.done()
	if err := f.journal.clear(); err != nil { // D
		return 0, fmt.Errorf("clear journal: %w", err)
	}
	if err := f.log.Trim(at.From); err != nil {
		return 0, fmt.Errorf("trim log up to %d: %w", at.From, err)
	}
	f.metrics.roundDone(len(cut), time.Since(began))
	if f.Pages.Short() {
		return at.Pages, f.journal.drop(f.Pages)
	}
	return at.Pages, nil
}

// leaveOut returns those of the pages of all, a cut in order, that are below pages.
// The others are not in use, and need not be written; their images are captured, so
// that no operation writes to their slots any more.
func (f *Flusher) leaveOut(all []pagemeta.FrozenPage, pages int) []pagemeta.FrozenPage {
	f.journal.use(len(all), f.Pages)
	n := len(all)
	for n > 0 && int(all[n-1].ID) >= pages {
		n--
		f.Pages.Capture(all[n].ID, f.journal.image(n))
	}
	if n == len(all) {
		return all
	}
	return slices.Clone(all[:n]) // what is appended must not overwrite the others
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
// adds those of the pages of rounds that change with it in a data file of pages, and
// makes the journal whole. It returns all of them, in the order of their slots.
func (f *Flusher) writeJournal(round uint32, cut []pagemeta.FrozenPage, pages int) (images []pagemeta.FrozenPage, err error) {
	j := &f.journal
	images = f.rounds.cover(cut, pages)
	j.use(len(images), f.Pages)
	roundsSum := f.rounds.sum(images[len(cut):], round, roundsPages(pages))
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
				le.PutUint32(image[roundsCountAt:], uint32(roundsPages(pages)))
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

// complete writes images in place, and notes that round has written them to a data
// file of pages.
func (f *Flusher) complete(round uint32, images []pagemeta.FrozenPage, pages int) error {
	f.inPlace.Lock()
	defer f.inPlace.Unlock()
	if err := f.writeBack(images); err != nil {
		// At once: a scrub would take half a round for damage.
		return f.Stop(fmt.Errorf("write back %d pages: %w", len(images), err))
	}
	f.round.Store(round)
	f.rounds.wrote(images, round, pages)
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
	// Room has been made for all of them. But recovery may write where a crash has taken
	// the end of a file back.
	if err := allocate(f.data, (int64(images[n-1].ID)+1)*pagemeta.PageBytes); err != nil {
		return err
	}
	if last := int64(images[len(images)-1].ID - firstRoundsPage); n < len(images) {
		if err := allocate(f.rounds.file, (last+1)*pagemeta.PageBytes); err != nil {
			return err
		}
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
