package wal

import (
	"errors"
	"fmt"

	"faultline/internal/disk"
)

// Stats says what Replay has read.
type Stats struct {
	Records int64 // batch records handed out
	Bytes   int64 // of log read, with headers and marks
	Marks   int64
	End     LSN // where the log goes on

	// Torn says why the record at End is none. A log that was closed has an
	// error here too: zeros, or the bytes that a recycled segment had before.
	Torn error
}

// Replay calls fn for every batch record from LSN from on, which is where some
// record starts or the log ended; end is the LSN after the record, payload is
// valid until fn returns. Then the log goes on after the last valid record, and
// takes Append. See the package comment for what is cut off, and what is
// disk.ErrCorrupt instead. Replay is called once, before Append.
//
// What fn is given is durable already (not so if the log is read-only), and
// Durable says so. Until Replay ends other goroutines may call Sync, Write,
// Durable, Appended and Trim, for what fn was given.
//
// An error of fn ends the replay and is wrapped. After any error only Close is
// possible.
func (l *Log) Replay(from LSN, fn func(payload []byte, end LSN) error) (Stats, error) {
	stats := Stats{End: from}
	if err := l.beginReplay(from); err != nil {
		return stats, fmt.Errorf("replay log: %w", err)
	}
	r := l.reader()
	mark, err := l.replay(r.record, &stats, fn)
	l.segmentsEnd = stats.End
	if err == nil {
		err = r.check(stats.End, stats.Torn)
	}
	if err = errors.Join(err, r.close()); err != nil {
		return stats, fmt.Errorf("replay log: %w", err)
	}
	tail, durable, err := l.readTail(stats.End)
	if err == nil && durable > stats.End+LSN(len(tail)) {
		err = &disk.CorruptError{File: l.segs.path(l.segs.number(stats.End)), Offset: l.segs.offset(stats.End),
			Err: fmt.Errorf("%w; a mark in %s says that LSN %d was durable", stats.Torn, tailName, durable)}
	}
	if err != nil {
		return stats, fmt.Errorf("replay log: %w", err)
	}
	if !l.o.ReadOnly {
		if err := l.cut(stats.End, tail); err != nil {
			return stats, fmt.Errorf("cut log at %d: %w", stats.End, err)
		}
	}
	if len(tail) > 0 {
		start, torn := stats.End, stats.Torn
		m, err := l.replay(func(lsn LSN) (kind Kind, payload []byte, size int, invalid, err error) {
			if b := tail[lsn-start:]; len(b) > 0 {
				kind, payload, size, invalid = parseWhole(b, lsn, uint64(len(b)), l.o.Salt)
				return kind, payload, size, invalid, nil
			}
			return 0, nil, 0, torn, nil
		}, &stats, fn)
		if mark = max(mark, m); err != nil {
			return stats, fmt.Errorf("replay log: %w", err)
		}
	}
	if l.o.ReadOnly {
		return stats, nil
	}
	if err := l.tail.open(&l.o); err != nil {
		return stats, fmt.Errorf("open log: %w", err)
	}
	l.begin(stats.End, mark)
	return stats, nil
}

// cut makes the log end after tail, which belongs at lsn: durably in the
// segments, with nothing behind it.
func (l *Log) cut(lsn LSN, tail []byte) error {
	if err := l.segs.cut(lsn); err != nil || len(tail) == 0 {
		return err
	}
	if err := l.writeRun(lsn, tail); err != nil {
		return err
	}
	for k := l.segs.number(lsn); k <= l.segs.number(lsn+LSN(len(tail))-1); k++ {
		f, err := l.segs.file(k)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) beginReplay(from LSN) error {
	l.in.Lock()
	defer l.in.Unlock()
	switch {
	case l.in.state == closed:
		return ErrClosed
	case l.in.state != opened:
		return fmt.Errorf("%w: second replay", ErrOrder)
	case from%recordAlign != 0:
		return fmt.Errorf("%w: from LSN %d, where no record starts", ErrOrder, from)
	}
	l.in.state = replaying
	l.from.Store(uint64(from))
	l.reached(from)
	k := l.segs.number(from)
	if err := l.segs.split(k); err != nil {
		return err
	}
	if _, next := l.segs.span(); next == k && l.segs.offset(from) > 0 {
		return &disk.CorruptError{File: l.segs.path(k), Offset: l.segs.offset(from),
			Err: errors.New("segment missing, though the log was durable up to here")}
	}
	return nil
}

// reached moves the log's end on to lsn, all of it durable.
func (l *Log) reached(lsn LSN) {
	l.appended.Store(uint64(lsn))
	l.written.Store(uint64(lsn))
	l.durable.Store(uint64(lsn))
}

// A source returns the record at lsn, or why there is none.
type source func(lsn LSN) (kind Kind, payload []byte, size int, invalid, err error)

// replay hands out records until there is none, and returns the newest mark.
func (l *Log) replay(record source, stats *Stats, fn func([]byte, LSN) error) (mark LSN, err error) {
	for {
		kind, payload, size, invalid, err := record(stats.End)
		if err != nil {
			return 0, err
		}
		if invalid != nil {
			stats.Torn = invalid
			return mark, nil
		}
		stats.End += LSN(size)
		stats.Bytes += int64(size)
		l.reached(stats.End)
		if kind == KindMark {
			mark = durableMark(payload)
			stats.Marks++
			continue
		}
		stats.Records++
		if err := fn(payload, stats.End); err != nil {
			return 0, fmt.Errorf("record before LSN %d: %w", stats.End, err)
		}
	}
}

// readBytes is how much of the log the reader reads at once.
const readBytes = 256 << 10

// A reader reads the log forward through a window, which is readBytes long, or
// as long as a record needs that is in the log as a whole.
type reader struct {
	segs *segments
	salt uint32
	sync bool // segments before they are read
	end  LSN  // of the last segment

	// salvage, if it is set, is told of each piece of segment k that cannot be
	// read: there are zeros in its place.
	salvage func(k uint64, off int64, err error)

	buf []byte // the log from at on
	at  LSN

	file   disk.File // segment number, or nil
	number uint64
}

func (l *Log) reader() *reader {
	_, next := l.segs.span()
	return &reader{segs: &l.segs, salt: l.o.Salt, sync: !l.o.ReadOnly, end: LSN(next * l.segs.size)}
}

// record returns the record at lsn, or why there is none.
func (r *reader) record(lsn LSN) (kind Kind, payload []byte, size int, invalid, err error) {
	room := uint64(r.end - min(lsn, r.end))
	if room < payloadAt {
		return 0, nil, 0, fmt.Errorf("%d bytes before the end of the log", room), nil
	}
	b, err := r.bytes(lsn, payloadAt)
	if err != nil {
		return 0, nil, 0, nil, err
	}
	if size, invalid = parseHeader(b, lsn, room); invalid != nil {
		return 0, nil, 0, invalid, nil
	}
	if b, err = r.bytes(lsn, size); err != nil {
		return 0, nil, 0, nil, err
	}
	kind, payload, size, invalid = parseWhole(b, lsn, room, r.salt)
	return kind, payload, size, invalid, nil
}

// parseWhole returns the record that b, which is long enough, begins with at lsn.
func parseWhole(b []byte, lsn LSN, room uint64, salt uint32) (kind Kind, payload []byte, size int, invalid error) {
	if size, invalid = parseHeader(b, lsn, room); invalid != nil {
		return 0, nil, 0, invalid
	}
	if kind, payload, invalid = parseRecord(b[:size], salt); invalid != nil {
		return 0, nil, 0, invalid
	}
	if kind == KindMark && durableMark(payload) > lsn {
		return 0, nil, 0, fmt.Errorf("mark of LSN %d at LSN %d", durableMark(payload), lsn)
	}
	return kind, payload, size, nil
}

// check is told that there is no record at lsn, and returns nil if a crash can
// explain it. A mark behind lsn that says that the bytes at lsn were durable is
// a proof that a crash cannot. Batch records behind it prove nothing: an
// unsynced tail reaches the disk in any order.
func (r *reader) check(lsn LSN, invalid error) error {
	for at := lsn; at+markBytes <= r.end && at >= lsn; {
		b, err := r.bytes(at, int(min(readBytes, uint64(r.end-at))))
		if err != nil {
			return err
		}
		for ; len(b) >= markBytes; b, at = b[recordAlign:], at+recordAlign {
			if durable, ok := parseMark(b, at, r.salt); ok && durable > lsn && durable <= at {
				return &disk.CorruptError{File: r.segs.path(r.segs.number(lsn)), Offset: r.segs.offset(lsn),
					Err: fmt.Errorf("%w; the mark at LSN %d says that it was durable", invalid, at)}
			}
		}
	}
	return nil
}

// bytes returns n bytes of the log from lsn on, all before end. They are valid
// until the next call. lsn is not before the one of the call before.
func (r *reader) bytes(lsn LSN, n int) ([]byte, error) {
	if lsn+LSN(n) > r.at+LSN(len(r.buf)) {
		if err := r.slide(lsn, n); err != nil {
			return nil, err
		}
	}
	return r.buf[lsn-r.at:][:n], nil
}

// slide moves the window on to lsn and fills it, with n bytes at least.
func (r *reader) slide(lsn LSN, n int) error {
	var kept []byte
	if have := r.at + LSN(len(r.buf)); lsn < have {
		kept = r.buf[lsn-r.at:]
	}
	want := max(n, int(min(readBytes, uint64(r.end-lsn))))
	if cap(r.buf) < want {
		r.buf = append(make([]byte, 0, want), kept...)
	} else {
		r.buf = append(r.buf[:0], kept...)
	}
	r.at = lsn
	for len(r.buf) < want {
		at := lsn + LSN(len(r.buf))
		part := min(want-len(r.buf), int(r.segs.size)-int(r.segs.offset(at)))
		f, err := r.segment(r.segs.number(at))
		if err != nil {
			return err
		}
		b := r.buf[len(r.buf):][:part]
		if err := readFull(f, b, r.segs.offset(at)); err != nil {
			return fmt.Errorf("read %s: %w", r.segs.path(r.number), err)
		}
		r.buf = r.buf[:len(r.buf)+part]
	}
	return nil
}

// segment returns segment k, open and synced: the records in it may be of a
// process that died before it could sync them, and the store builds on them now. It
// is evicted too, for a sync may have failed before: the kernel then shows bytes that
// the disk does not have, and that no sync writes any more.
func (r *reader) segment(k uint64) (disk.File, error) {
	if r.file != nil && r.number == k {
		return r.file, nil
	}
	if err := r.close(); err != nil {
		return nil, err
	}
	var f disk.File
	var err error
	if r.sync {
		f, err = r.segs.fs.Open(r.segs.path(k), false)
	} else {
		f, err = r.segs.fs.OpenRead(r.segs.path(k))
	}
	if err != nil {
		return nil, err
	}
	r.file, r.number = f, k
	switch {
	case r.sync:
		return f, disk.SyncAndEvict(f)
	case r.salvage != nil:
		r.file = salvaged{f, func(off int64, err error) { r.salvage(k, off, err) }}
		return r.file, disk.Evict(f)
	}
	return f, nil
}

func (r *reader) close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}
