package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"faultline/internal/disk"
)

// An LSN is a place in the log: a byte offset in its endless run of bytes.
type LSN uint64

var (
	// ErrStopped is wrapped, with the cause, by every call after a write or a
	// sync has failed: what is on disk past Durable is then unknown. Close the
	// log, open it again, and replay it to find out.
	ErrStopped = errors.New("log stopped by an earlier error")

	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("log closed")

	// ErrTooLarge is returned by Append of more than MaxPayload bytes. The log is
	// as it was.
	ErrTooLarge = errors.New("log record too large")

	// ErrReadOnly is returned by Append and Trim of a log opened read-only.
	ErrReadOnly = errors.New("log opened read-only")

	// ErrOrder is returned by Append before Replay has ended well, by a second
	// Replay, and by Write and Sync up to an LSN that is not appended.
	ErrOrder = errors.New("log used out of order")
)

const (
	DefaultSegmentBytes = 16 << 20
	DefaultBufferBytes  = 512 << 10
	DefaultSpares       = 4
)

// Options say where a log is and how it is kept. FS and Dir must be set.
type Options struct {
	FS  disk.FS
	Dir string // its parent must be there and durable

	// SegmentBytes is the length of a segment file, a multiple of 4096. A log
	// keeps the one that it was made with. 0 means DefaultSegmentBytes.
	SegmentBytes int64

	// Salt seeds the crc of every record. A log keeps the one it was made with.
	Salt uint32

	// ReadOnly is for Replay alone: nothing on disk is changed.
	ReadOnly bool

	// BufferBytes is the soft bound of bytes that are appended and not yet
	// written: an appender who would pass it writes first. 0 means
	// DefaultBufferBytes.
	BufferBytes int

	// Spares is how many trimmed segments are kept for use as new ones. 0 means
	// DefaultSpares.
	Spares int

	// NoHelper lets the writer make each segment itself, so that a test sees
	// the same calls in the same order in every run.
	NoHelper bool
}

// Metrics counts what a log has done since Open.
type Metrics struct {
	Appends      int64         // records appended, without marks
	Bytes        int64         // bytes of log appended, with headers and marks
	Writes       int64         // pwrite calls
	Syncs        int64         // fdatasync calls
	Groups       int64         // times that Durable was moved on
	LargestGroup int64         // most records made durable in one of these
	SyncTime     time.Duration // spent in fdatasync
	Segments     int           // files that hold the log, ready ones included, spares not
	Recycled     int64         // segments made of spares
	BufferBytes  int64         // of the buffers, if they are a mapped file; others are of the heap
}

// A Log appends records and makes them durable. Methods are safe for concurrent
// use; the package comment says which must come first.
type Log struct {
	o    Options
	segs segments
	tail tailFile

	// Each only grows. A stale value is an older, still true one.
	appended atomic.Uint64
	written  atomic.Uint64
	durable  atomic.Uint64
	from     atomic.Uint64 // where a replay would begin

	segmentsEnd LSN          // where Replay found the end of what the segments have
	reserved    atomic.Int64 // bytes that Reserve keeps for records to come

	stopped atomic.Pointer[error] // nil: running

	in     buffer    // appenders
	out    writeRole // whoever writes
	group  group     // who syncs, and who waits for it
	sync   syncRole
	helper helper
}

// Open finds the segments in o.Dir. The log takes records after Replay.
func Open(o Options) (*Log, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = DefaultBufferBytes
	}
	if o.Spares == 0 {
		o.Spares = DefaultSpares
	}
	if o.SegmentBytes < 0 || o.SegmentBytes%4096 != 0 {
		return nil, fmt.Errorf("open log %s: segments of %d bytes, want a multiple of 4096", o.Dir, o.SegmentBytes)
	}
	if !o.ReadOnly {
		if err := o.FS.MkdirAll(o.Dir); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
		if err := o.FS.SyncDir(filepath.Dir(o.Dir)); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
	}
	l := &Log{o: o}
	if err := l.segs.open(&l.o); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

// Appended returns the end of the log in memory.
func (l *Log) Appended() LSN { return LSN(l.appended.Load()) }

// Written returns the LSN below which everything is in the kernel.
func (l *Log) Written() LSN { return LSN(l.written.Load()) }

// Durable returns the LSN below which everything is on disk.
func (l *Log) Durable() LSN { return LSN(l.durable.Load()) }

// FilesEnd returns the LSN at which the last file ends that Open has found, before
// Replay: about what Replay will read up to. 0 if there is none.
func (l *Log) FilesEnd() LSN { return LSN(l.segs.filesEnd()) }

// SegmentBytes returns the length of a segment.
func (l *Log) SegmentBytes() int64 { return l.o.SegmentBytes }

// Trim says that nothing below lsn will be replayed again. Segments wholly below
// it become spares, up to Options.Spares, or are removed. What is not durable is
// kept. No sync is needed: a trimmed segment that is back after a crash lies
// below the LSN that Replay starts from.
func (l *Log) Trim(lsn LSN) error {
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	if err := l.err(); err != nil {
		return err
	}
	lsn = min(lsn, l.Durable())
	l.from.Store(uint64(lsn)) // before a segment is given another name
	if err := l.segs.trim(l.segs.number(lsn)); err != nil {
		return fmt.Errorf("trim log below %d: %w", lsn, err)
	}
	return nil
}

// Close makes what is appended durable and gives the files back. An error means
// that records past Durable may be lost.
func (l *Log) Close() error {
	l.in.Lock()
	was := l.in.state
	l.in.state = closed
	l.in.Unlock()
	if was == closed {
		return ErrClosed
	}
	l.helper.end()
	var err error
	if was == running {
		err = l.Sync(context.Background(), l.Appended())
	}
	stop := error(ErrClosed)
	l.stopped.Store(&stop)
	l.sync.Lock() // whoever has a role gives it back first
	defer l.sync.Unlock()
	l.out.Lock()
	defer l.out.Unlock()
	return errors.Join(err, l.segs.close(), l.tail.close())
}

// Metrics returns the counters.
func (l *Log) Metrics() Metrics {
	var m Metrics
	l.in.Lock()
	m.Appends, m.Bytes = l.in.appends, l.in.bytes
	l.in.Unlock()
	l.out.Lock()
	m.Writes = l.out.writes
	l.out.Unlock()
	l.sync.count.Lock()
	m.Syncs, m.Groups = l.sync.count.syncs, l.sync.count.groups
	m.LargestGroup, m.SyncTime = l.sync.count.largest, l.sync.count.spent
	l.sync.count.Unlock()
	m.Segments, m.Recycled = l.segs.count()
	m.BufferBytes = int64(len(l.tail.mem))
	return m
}

// err is what stops the log, or nil.
func (l *Log) err() error {
	if p := l.stopped.Load(); p != nil {
		return *p
	}
	return nil
}

// stop makes every later call fail. It returns the error of whoever was first.
func (l *Log) stop(cause error) error {
	err := fmt.Errorf("%w: %w", ErrStopped, cause)
	l.stopped.CompareAndSwap(nil, &err)
	return l.err()
}

// A helper makes segments ready in the background, so that the writer finds them
// made. It runs from the end of Replay to Close.
type helper struct {
	sync.Mutex
	want chan uint64 // the segment to make; nil when there is no helper
	done chan struct{}
}

// start runs ready for every segment that ask names.
func (h *helper) start(ready func(k uint64)) {
	want, done := make(chan uint64, 1), make(chan struct{})
	h.Lock()
	h.want, h.done = want, done
	h.Unlock()
	go func() {
		defer close(done)
		for k := range want {
			ready(k)
		}
	}()
}

// ask wants segment k made. It never waits: a helper that is behind is asked
// again for the next one, and the writer makes what it needs and does not find.
func (h *helper) ask(k uint64) {
	h.Lock()
	defer h.Unlock()
	if h.want != nil {
		select {
		case h.want <- k:
		default:
		}
	}
}

// end returns when the helper has finished what it is doing.
func (h *helper) end() {
	h.Lock()
	want := h.want
	h.want = nil
	h.Unlock()
	if want != nil {
		close(want)
		<-h.done
	}
}
