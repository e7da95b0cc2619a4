package flusher

import (
	"context"
	"fmt"
	"time"

	"faultline/pagemeta"
)

// flush makes one round: the pages that are Dirty now go to the data file. The
// letters are those of the package comment. After an error the Flusher has
// stopped: the kernel may have dropped the pages whose sync failed.
func (f *Flusher) flush() error {
	began := time.Now()
	cut, lsn, err := f.freeze()
	if err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	if len(cut) == 0 {
		return nil
	}
	round := f.round.Load() + 1
	if err := f.log.Sync(context.Background(), lsn); err != nil { // A
		return fmt.Errorf("sync log up to %d before round %d: %w", lsn, round, err)
	}
	if err := f.writeJournal(round, cut); err != nil { // B
		return fmt.Errorf("journal %d pages: %w", len(cut), err)
	}
	if err := f.writeBack(cut); err != nil { // C
		return fmt.Errorf("write back %d pages: %w", len(cut), err)
	}
	f.round.Store(round)
	for _, p := range cut {
		f.Pages.Written(p.ID)
	}
	f.heads.release(cut)
	f.credits.give(len(cut))
	if err := f.journal.clear(); err != nil { // D
		return fmt.Errorf("clear journal: %w", err)
	}
	if err := f.log.Trim(lsn); err != nil {
		return fmt.Errorf("trim log up to %d: %w", lsn, err)
	}
	f.metrics.roundDone(len(cut), time.Since(began))
	return nil
}

// freeze makes the cut: no operation is half in it. It returns no pages if there
// is nothing to write.
func (f *Flusher) freeze() (cut []pagemeta.FrozenPage, lsn uint64, err error) {
	err = f.Exclusive(func() error {
		began := time.Now()
		defer func() { f.metrics.frozen(time.Since(began)) }()
		if lsn, err = f.cut(); err != nil {
			return err
		}
		if cut, err = f.Pages.Freeze(f.frozen[:0]); err != nil {
			return f.Stop(err) // before the gate opens: a store could trap for ever
		}
		f.frozen = cut // its memory is used again by the next round
		f.heads.enlist(cut)
		return nil
	})
	return cut, lsn, err
}

// chunkPages is how many images are written to the journal in one call: 1 MiB,
// from where on larger calls gain nothing.
const chunkPages = 256

// writeJournal captures the images of the cut that no operation has captured,
// and makes the journal whole.
func (f *Flusher) writeJournal(round uint32, cut []pagemeta.FrozenPage) error {
	j := &f.journal
	base, images := int64(headBytes(len(cut))), uint32(0)
	for from := 0; from < len(cut); from += chunkPages {
		to := min(from+chunkPages, len(cut))
		for i := from; i < to; i++ {
			f.Pages.Capture(cut[i].ID, j.image(i)) // or mkwrite has
			j.image(i).Seal(cut[i].ID, round)
		}
		images = j.sum(images, from, to)
		if _, err := j.file.WriteAt(j.images(from, to), base+int64(from)*pagemeta.PageBytes); err != nil {
			return err
		}
	}
	j.head = appendHead(j.head[:0], round, images, cut)
	if _, err := j.file.WriteAt(j.head, 0); err != nil {
		return err
	}
	return j.file.Sync()
}

// writeBack writes the images of the cut, which the journal holds, to their
// places: page 0 last, when the others are durable. It says which round the data
// file is of, so that even without the journal no page of an earlier round can
// pass for one of this round, and those of this round show until page 0 does.
func (f *Flusher) writeBack(cut []pagemeta.FrozenPage) error {
	if len(cut) == 0 {
		return nil
	}
	if err := f.reserve(int64(cut[len(cut)-1].ID) + 1); err != nil {
		return err
	}
	first := 0
	if cut[0].ID == 0 {
		first = 1
	}
	if err := f.writeRuns(cut, first, len(cut)); err != nil {
		return err
	}
	return f.writeRuns(cut, 0, first)
}

// writeRuns writes the images of cut[from:end] to their places and syncs them.
// Neighbours go in one call.
func (f *Flusher) writeRuns(cut []pagemeta.FrozenPage, from, end int) error {
	if from == end {
		return nil
	}
	for from < end {
		to := from + 1
		for to < end && to-from < chunkPages && cut[to].ID == cut[to-1].ID+1 {
			to++
		}
		if _, err := f.data.WriteAt(f.journal.images(from, to), int64(cut[from].ID)*pagemeta.PageBytes); err != nil {
			return err
		}
		f.metrics.writes.Add(1)
		from = to
	}
	return f.data.Sync()
}

// growPages is the step in which the data file grows: 4 MiB.
const growPages = 1024

// reserve makes the data file long enough for pages, in steps, with blocks
// behind them.
func (f *Flusher) reserve(pages int64) error {
	size, err := f.data.Size()
	if err != nil {
		return err
	}
	if size >= pages*pagemeta.PageBytes {
		return nil
	}
	return f.data.Allocate((pages + growPages - 1) / growPages * growPages * pagemeta.PageBytes)
}
