package wal

import (
	"errors"
	"io"
	"io/fs"

	"faultline/internal/disk"
)

// A Scrub says whom Log.Scrub tells.
type Scrub struct {
	// Passed is told how many bytes of log have been passed over since it was
	// called last. It may wait. An error ends the scrub.
	Passed func(bytes int64) error
	// Bad is told of each damage: by a disk.CorruptError or a disk.ReadError.
	Bad func(err error)
}

// ScrubSpan is what a Scrub that begins now would read: from where a replay would
// begin, to where the segments are durable.
func (l *Log) ScrubSpan() (from, end LSN) {
	if l.o.ReadOnly {
		return LSN(l.from.Load()), l.segmentsEnd // the rest is in the tail file, which Replay has read
	}
	return LSN(l.from.Load()), l.Durable()
}

// Scrub reads the durable part of the log from the disk, and tells of each place
// where there is no record, or that cannot be read; it goes on where it finds the
// next record. It returns how many it has found, marks left out. The log may be in
// use: what is trimmed meanwhile is passed over, what is appended is not looked at.
//
// Until the first Trim the log begins where Replay began, then at the LSN of the
// last Trim: a record must begin there.
func (l *Log) Scrub(c Scrub) (records int64, err error) {
	from, end := l.ScrubSpan()
	s := scrub{Scrub: c, l: l, r: l.reader()}
	s.r.sync, s.r.end, s.r.salvage = false, end, s.unreadable
	defer func() { err = errors.Join(err, s.r.close()) }()
	for told := from; from < end; {
		from = s.next(from)
		if from-told >= readBytes || from >= end {
			if err := s.Passed(int64(min(from, end) - told)); err != nil {
				return s.records, err
			}
			told = from
		}
	}
	return s.records, nil
}

// A scrub is one that is running.
type scrub struct {
	Scrub
	l       *Log
	r       *reader
	records int64
	gap     bool // there is no record before where it looks, and that was told of
}

// next looks for a record at lsn, and returns where to look next.
func (s *scrub) next(lsn LSN) LSN {
	kind, _, size, invalid, err := s.r.record(lsn)
	if from := LSN(s.l.from.Load()); lsn < from {
		s.gap = false
		return from // trimmed, and its file may be that of another segment now
	}
	switch {
	case err != nil:
		at := s.r.at + LSN(len(s.r.buf)) // where the file let the reader down
		s.Bad(s.broken(at, err))
		s.gap = true
		return LSN((s.l.segs.number(at) + 1) * s.l.segs.size)
	case invalid != nil:
		if !s.gap {
			s.Bad(s.corrupt(lsn, invalid))
		}
		s.gap = true
		return lsn + recordAlign
	}
	if kind != KindMark {
		s.records++
	}
	s.gap = false
	return lsn + LSN(size)
}

// unreadable is told of what the reader has left zeros for.
func (s *scrub) unreadable(k uint64, off int64, err error) {
	if LSN(k*s.l.segs.size)+LSN(off) >= LSN(s.l.from.Load()) {
		s.Bad(disk.Unreadable(s.l.segs.path(k), off, err))
	}
}

// broken is the error for a segment that is not there, or too short.
func (s *scrub) broken(lsn LSN, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s.corrupt(lsn, err)
	}
	return disk.Unreadable(s.l.segs.path(s.l.segs.number(lsn)), s.l.segs.offset(lsn), err)
}

func (s *scrub) corrupt(lsn LSN, err error) error {
	return &disk.CorruptError{File: s.l.segs.path(s.l.segs.number(lsn)), Offset: s.l.segs.offset(lsn), Err: err}
}

// A salvaged segment is read as far as it can be: see disk.Salvage.
type salvaged struct {
	disk.File
	bad func(off int64, err error)
}

func (f salvaged) ReadAt(p []byte, off int64) (int, error) {
	n := disk.Salvage(f.File, p, off, f.bad)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
