package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"faultline/flusher"
	"faultline/internal/disk"
	"faultline/store/wal"
)

// ScrubOptions say how Scrub goes about it. The zero ScrubOptions, like nil, are
// the defaults.
type ScrubOptions struct {
	// BytesPerSecond is the most that is read, so that others get something of the
	// disk too. Default 0: no limit.
	BytesPerSecond int64

	// Progress is called after each piece, by the goroutine that called Scrub.
	Progress func(ScrubProgress)
}

// ScrubProgress says how far a Scrub is.
type ScrubProgress struct {
	Bytes   int64  // of the files, passed over so far
	Total   int64  // that will be
	Damaged uint64 // places found so far
}

// MaxDamages is how many places a ScrubReport lists.
const MaxDamages = 100

// A ScrubReport says what Scrub has looked at, and what it has found.
type ScrubReport struct {
	Pages      uint64 // of data and rounds, as far as they are in use
	LogRecords uint64
	Bytes      int64         // of the files that were passed over
	Elapsed    time.Duration // time it took
	Damaged    uint64        // places that are not as they were written
	Damages    []Damage      // the first MaxDamages of them
}

// A Damage is a place on disk that is not as it was written, or cannot be read.
type Damage struct {
	File   string // path
	Offset int64  // bytes from the start of File
	Err    error  // names both; wraps ErrCorrupt, or the error of the read
}

// Scrub reads from the disk what the store has there and is in use, and checks it:
// the pages of data and rounds, and the log as far as it is durable. It finds what
// has rotted where nobody has looked, while a backup still has it; it compares no
// keys, which is for Verify.
//
// The store may be in use. Pages in memory stay as they are, and hardly any others
// are brought in; those that the next flush round writes again are left out. A Scrub goes on after damage, to the end; the error then wraps
// ErrCorrupt, or that of a read if there is nothing else, and the report has all.
// Other errors: those of ctx, ErrClosed, and ErrStopped, for the disk may then have
// half of a flush round.
func (db *DB) Scrub(ctx context.Context, o *ScrubOptions) (ScrubReport, error) {
	if err := db.usable(); err != nil {
		return ScrubReport{}, err
	}
	s := scrub{ctx: ctx, db: db, began: time.Now()}
	if o != nil {
		s.o = *o
	}
	s.total = s.pagesBytes() + s.logBytes()
	err := s.pages()
	if err == nil {
		err = s.log()
	}
	return s.done(db.orClosed(err))
}

// A scrub is one that is running.
type scrub struct {
	ctx    context.Context
	db     *DB
	o      ScrubOptions
	began  time.Time
	total  int64
	report ScrubReport
	found  error // a damage, one that is ErrCorrupt if there is one
}

func (s *scrub) pagesBytes() int64 {
	return flusher.ScrubBytes(int(s.db.tree.State().Pages))
}

func (s *scrub) logBytes() int64 {
	from, end := s.db.log.ScrubSpan()
	return int64(end - from)
}

// pages scrubs data and rounds.
func (s *scrub) pages() error {
	pages := int(s.db.tree.State().Pages)
	n, err := s.db.flusher.Scrub(flusher.Scrub{Pages: pages, Used: s.db.tree.InUse, Passed: s.passed, Bad: s.bad})
	s.report.Pages = uint64(n)
	return err
}

// log scrubs the log.
func (s *scrub) log() error {
	n, err := s.db.log.Scrub(wal.Scrub{Passed: s.passed, Bad: s.bad})
	s.report.LogRecords = uint64(n)
	return err
}

// done ends the scrub, with err unless it is nil.
func (s *scrub) done(err error) (ScrubReport, error) {
	s.report.Elapsed = time.Since(s.began)
	if err == nil && s.found != nil {
		err = fmt.Errorf("scrub: %d damaged, one of them: %w", s.report.Damaged, s.found)
	}
	return s.report, err
}

// passed is told of so many bytes more, and waits if that was too fast.
func (s *scrub) passed(bytes int64) error {
	s.report.Bytes += bytes
	s.total = max(s.total, s.report.Bytes) // the log has grown meanwhile
	if s.o.Progress != nil {
		s.o.Progress(ScrubProgress{Bytes: s.report.Bytes, Total: s.total, Damaged: s.report.Damaged})
	}
	if err := s.wait(); err != nil {
		return err
	}
	return s.db.usable()
}

// wait returns when the rate allows the next piece.
func (s *scrub) wait() error {
	early := due(s.report.Bytes, s.o.BytesPerSecond) - time.Since(s.began)
	if early <= 0 {
		return s.ctx.Err()
	}
	t := time.NewTimer(early)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// due is how long so many bytes take at least; a rate of 0 is no limit.
func due(bytes, perSecond int64) time.Duration {
	if perSecond <= 0 {
		return 0
	}
	return time.Duration(float64(bytes) / float64(perSecond) * float64(time.Second))
}

// bad notes a place that is damaged.
func (s *scrub) bad(err error) {
	s.report.Damaged++
	if s.found == nil || !errors.Is(s.found, ErrCorrupt) {
		s.found = err
	}
	if len(s.report.Damages) == MaxDamages {
		return
	}
	d := Damage{Err: err}
	var corrupt *disk.CorruptError
	var unread *disk.ReadError
	switch {
	case errors.As(err, &corrupt):
		d.File, d.Offset = corrupt.File, corrupt.Offset
	case errors.As(err, &unread):
		d.File, d.Offset = unread.File, unread.Offset
	}
	s.report.Damages = append(s.report.Damages, d)
}
