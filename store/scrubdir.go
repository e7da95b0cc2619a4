package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"faultline/store/tree"
	"faultline/store/wal"
)

// ScrubDir is Scrub for the store in dir that nobody has open; nothing is written
// there. It gets by with less than Open: where Open, or Verify, would give up at
// the first page that it needs and that is damaged, ScrubDir goes on and names all
// of them. It needs the superblock and the file rounds, which say what there should
// be; of the log it names the first damage, if Open would refuse the log.
//
// Of opts it takes MemoryBudget. Errors as of Open and Scrub.
func ScrubDir(ctx context.Context, dir string, opts *Options, o *ScrubOptions) (ScrubReport, error) {
	c, err := opts.withDefaults()
	if err != nil {
		return ScrubReport{}, fmt.Errorf("scrub %s: %w", dir, err)
	}
	c.ReadOnly = true
	db := &DB{dir: dir, opts: c}
	s := scrub{ctx: ctx, db: db, began: time.Now()}
	if o != nil {
		s.o = *o
	}
	err = s.dir()
	if closeErr := db.release(); err == nil {
		err = closeErr
	}
	if err != nil {
		err = fmt.Errorf("scrub %s: %w", dir, err)
	}
	return s.done(err)
}

// dir opens what is needed for a scrub, and makes it.
func (s *scrub) dir() error {
	db := s.db
	if err := db.claim(); err != nil {
		return err
	}
	empty, err := db.openPages()
	if err == nil && empty {
		err = fmt.Errorf("%w: the data file is empty", ErrNotStore)
	}
	if err == nil {
		err = db.loadSuper()
	}
	if err != nil {
		return s.orBad(err)
	}
	db.tree = tree.Bare(db.flusher.Pages, db.super.tree)
	s.total = s.pagesBytes()
	if err := s.pages(); err != nil {
		return err
	}
	if err := db.openLog(); err != nil {
		return s.orBad(err)
	}
	_, err = db.log.Replay(wal.LSN(db.super.lsn), func([]byte, wal.LSN) error { return nil })
	if err != nil {
		return s.orBad(err)
	}
	s.total += s.logBytes()
	return s.log()
}

// orBad notes err if it is one of damage, and returns it if it is another.
func (s *scrub) orBad(err error) error {
	if errors.Is(err, ErrCorrupt) {
		s.bad(err)
		return nil
	}
	return err
}
