package wal

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A state is how far a log is in its life. It only grows.
type state uint8

const (
	opened state = iota
	replaying
	running
	closed
)

// A buffer is the end of the log in memory: what was appended since the writer took
// the buffer last.
type buffer struct {
	sync.Mutex
	state   state
	buf     []byte
	start   LSN   // of buf[0]
	records int64 // in buf, without marks
	mark    LSN   // in the newest mark
	half    int   // of the tail file, that buf is or has outgrown
	appends int64
	bytes   int64
	payload [markPayload]byte // of the mark that is being put
}

// A writeRole is held by who writes the buffer to the kernel.
type writeRole struct {
	sync.Mutex
	placed  LSN    // up to where the segments have the log
	asked   uint64 // the segment that the helper was asked for last
	records int64  // written, ever
	writes  int64
}

// A syncRole is held by who syncs. The leader of a group has it anyway; the lock
// is for Close.
type syncRole struct {
	sync.Mutex
	records int64 // durable, ever
	yield   yielder

	count struct {
		sync.Mutex
		syncs, groups, largest int64
		spent                  time.Duration
	}
}

// A group is whoever waits for the next sync.
type group struct {
	sync.Mutex
	led   bool    // somebody is syncing, or has been told to
	first *waiter // in no order that matters: the next group is for all of them
	idle  sync.Pool
}

// A waiter is a goroutine that waits for a leader.
type waiter struct {
	lsn  LSN
	wake chan signal // buffered, so that the leader never waits
	next *waiter
}

// A signal ends a wait.
type signal struct {
	lead bool  // nothing is synced for you: you do it
	err  error // of the sync
}

// begin lets the log take appends from lsn on.
func (l *Log) begin(lsn, mark LSN) {
	l.in.Lock()
	defer l.in.Unlock()
	if l.in.state != replaying {
		return // closed meanwhile
	}
	l.reached(lsn)
	l.in.start, l.in.mark, l.in.state = lsn, mark, running
	l.in.buf, l.out.placed = l.tail.half(0), lsn
	if !l.o.NoHelper {
		l.helper.start(func(k uint64) { l.segs.ready(k) }) // the writer meets an error again
	}
}

// Append adds a record and returns the LSN after it. It is in memory only; pass
// the LSN to Write or Sync. The payload is copied.
func (l *Log) Append(payload []byte) (LSN, error) {
	if len(payload) > MaxPayload {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
	}
	crc := payloadCRC(l.o.Salt, payload)
	size := recordBytes(len(payload))

	l.in.Lock()
	for l.in.state == running && len(l.in.buf) > 0 && len(l.in.buf)+size > l.o.BufferBytes {
		start := l.in.start
		l.in.Unlock()
		if err := l.place(start + 1); err != nil {
			return 0, err
		}
		l.in.Lock()
	}
	defer l.in.Unlock()
	if err := l.appendable(); err != nil {
		return 0, err
	}
	lsn, err := l.in.put(l, KindBatch, crc, payload)
	if err != nil {
		return 0, err
	}
	l.in.records++
	l.in.appends++
	return lsn, nil
}

// appendable returns why there can be no record. in is held.
func (l *Log) appendable() error {
	switch l.in.state {
	case closed:
		return ErrClosed
	case running:
		return l.err()
	}
	if l.o.ReadOnly {
		return ErrReadOnly
	}
	return fmt.Errorf("%w: append before replay", ErrOrder)
}

// put adds a record to the buffer. If that is the tail file, and all before it is
// in the kernel, so is the record now. t is held.
func (t *buffer) put(l *Log, kind Kind, crc uint32, payload []byte) (LSN, error) {
	n, size := len(t.buf), recordBytes(len(payload))
	at := t.start + LSN(n)
	t.buf = slices.Grow(t.buf, size)[:n+size]
	shared := l.tail.has(t.buf)
	if !shared {
		putRecord(t.buf[n:], at, kind, crc, payload)
	} else if err := putShared(t.buf[n:], at, kind, crc, payload); err != nil {
		t.buf = t.buf[:n]
		return 0, l.stop(fmt.Errorf("append to %s: %w", l.tail.path, err))
	}
	t.bytes += int64(size)
	end := at + LSN(size)
	l.appended.Store(uint64(end))
	if shared {
		l.written.CompareAndSwap(uint64(at), uint64(end))
	}
	return end, nil
}

// Write returns when everything below lsn is in the kernel, so that it survives
// the process. It does not wait for a sync.
func (l *Log) Write(lsn LSN) error {
	if err := l.err(); err != nil {
		return err
	}
	if l.Written() >= lsn {
		return nil
	}
	if lsn > l.Appended() {
		return fmt.Errorf("%w: write up to LSN %d of %d", ErrOrder, lsn, l.Appended())
	}
	return l.place(lsn)
}

// place returns when the segments have everything below lsn.
func (l *Log) place(lsn LSN) error {
	l.out.Lock()
	defer l.out.Unlock()
	if l.out.placed >= lsn {
		return nil
	}
	return l.write()
}

// write puts into the segments what is appended. out is held.
func (l *Log) write() error {
	if err := l.err(); err != nil {
		return err
	}
	buf, start, records, err := l.take()
	if err == nil {
		err = l.writeRun(start, buf)
	}
	if err != nil {
		return l.stop(fmt.Errorf("write log at %d: %w", start, err))
	}
	l.out.records += records
	l.out.placed = start + LSN(len(buf))
	for {
		w := l.written.Load() // further, if what follows is in the tail file
		if w >= uint64(l.out.placed) || l.written.CompareAndSwap(w, uint64(l.out.placed)) {
			return nil
		}
	}
}

// take gives the appenders the other buffer and returns the one that they have
// filled, with a mark at its end if there is news for one. Never a mark alone:
// it would keep an idle log busy. out is held.
func (l *Log) take() (buf []byte, start LSN, records int64, err error) {
	l.in.Lock()
	defer l.in.Unlock()
	t := &l.in
	if durable := l.Durable(); durable > t.mark && len(t.buf) > 0 {
		payload := t.payload[:]
		binary.LittleEndian.PutUint64(payload, uint64(durable))
		if _, err := t.put(l, KindMark, payloadCRC(l.o.Salt, payload), payload); err != nil {
			return nil, t.start, 0, err
		}
		t.mark = durable
	}
	buf, start, records = t.buf, t.start, t.records
	t.half = 1 - t.half
	t.buf, t.start, t.records = l.tail.half(t.half), start+LSN(len(buf)), 0
	return buf, start, records, nil
}

// writeRun writes a run of the log, segment by segment.
func (l *Log) writeRun(at LSN, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), int(l.segs.size)-int(l.segs.offset(at)))
		if err := l.writeAt(at, b[:n]); err != nil {
			return err
		}
		at, b = at+LSN(n), b[n:]
	}
	return nil
}

// writeAt writes b, which lies in one segment.
func (l *Log) writeAt(lsn LSN, b []byte) error {
	k := l.segs.number(lsn)
	f, err := l.segs.file(k)
	if err != nil {
		return err
	}
	l.out.writes++
	off := l.segs.offset(lsn)
	if _, err := f.WriteAt(b, off); err != nil {
		return err
	}
	// Three quarters are enough time to make the next one, and a small log has
	// one segment only.
	if end := off + int64(len(b)); end >= int64(l.segs.size/4) && l.out.asked <= k {
		l.out.asked = k + 1
		l.helper.ask(k + 1)
	}
	return nil
}

// Sync returns when everything below lsn is durable. One goroutine at a time
// syncs, for all who have appended by then; ctx ends the wait for it. Whether
// the record is durable is then not known. Who syncs itself does not look at ctx.
func (l *Log) Sync(ctx context.Context, lsn LSN) error {
	if err := l.err(); err != nil {
		return err
	}
	if l.Durable() >= lsn {
		return nil
	}
	if lsn > l.Appended() {
		return fmt.Errorf("%w: sync up to LSN %d of %d", ErrOrder, lsn, l.Appended())
	}
	l.group.Lock()
	if !l.group.led {
		l.group.led = true
		l.group.Unlock()
		return l.lead(lsn)
	}
	w := l.group.join(lsn)
	l.group.Unlock()
	s, err := l.group.await(ctx, w)
	l.group.idle.Put(w)
	switch {
	case err != nil:
		return err
	case s.lead:
		return l.lead(lsn)
	}
	return s.err
}

// lead syncs once, and wakes those who wait for what is then durable, and one of
// the others as the next leader.
func (l *Log) lead(lsn LSN) error {
	err := l.syncOnce(lsn)
	l.group.handOver(l.Durable(), err)
	return err
}

// syncOnce makes durable what is appended, up to lsn at least.
func (l *Log) syncOnce(lsn LSN) error {
	if l.Durable() >= lsn {
		return nil
	}
	l.sync.Lock()
	defer l.sync.Unlock()
	l.sync.yield.gather()

	l.out.Lock()
	err := l.write()
	to, records := l.out.placed, l.out.records
	l.out.Unlock()
	if err != nil {
		return err
	}

	from := l.Durable()
	first, last := l.segs.number(from), l.segs.number(to-1)
	began := time.Now()
	for k := first; k <= last; k++ {
		f, err := l.segs.file(k)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return l.stop(fmt.Errorf("sync log up to %d: %w", to, err))
		}
	}
	l.durable.Store(uint64(to))
	l.sync.done(int64(last-first+1), records, time.Since(began))
	if k := l.segs.number(to); k > first {
		l.segs.settle(k) // what is synced cannot be lost by a close
	}
	return nil
}

// done counts a group: records is how many are now durable, ever. r is held.
func (r *syncRole) done(syncs, records int64, took time.Duration) {
	size := records - r.records
	r.records = records
	r.yield.last, r.yield.sync = size, took

	r.count.Lock()
	defer r.count.Unlock()
	r.count.syncs += syncs
	r.count.groups++
	r.count.largest = max(r.count.largest, size)
	r.count.spent += took
}

// A yielder lets the goroutines run that the last sync has woken, so that what
// they commit next is in this group and not in the one after it: without it two
// cohorts take turns, and every group is half of what it can be. It does not
// when commits come alone, and stops when the processors have other work: then a
// yield lasts as long as that work may run, some 10 ms for each goroutine that
// computes, and costs more than it gives. The figures are in the package comment.
type yielder struct {
	last int64         // records in the last group
	sync time.Duration // that the last sync took
	skip int           // groups before the next try
	back int           // the skip after the last yield that was too long, or 0
}

const (
	longYield = time.Millisecond // if it is longer than a sync, too
	minSkip   = 16
	maxSkip   = 4096
)

func (y *yielder) gather() {
	if y.last <= 1 {
		return
	}
	if y.skip > 0 {
		y.skip--
		return
	}
	began := time.Now()
	runtime.Gosched()
	y.yielded(time.Since(began))
}

// yielded is told how long a yield took.
func (y *yielder) yielded(took time.Duration) {
	if took <= max(longYield, y.sync) {
		y.back = 0
		return
	}
	y.back = min(max(2*y.back, minSkip), maxSkip)
	y.skip = y.back
}

// join adds a waiter. g is held.
func (g *group) join(lsn LSN) *waiter {
	w, _ := g.idle.Get().(*waiter)
	if w == nil {
		w = &waiter{wake: make(chan signal, 1)}
	}
	w.lsn = lsn
	w.next, g.first = g.first, w
	return w
}

// await returns what w is told, or the error of ctx.
func (g *group) await(ctx context.Context, w *waiter) (signal, error) {
	ended := ctx.Done()
	if ended == nil {
		return <-w.wake, nil // cheaper than a select
	}
	select {
	case s := <-w.wake:
		return s, nil
	case <-ended:
		if g.leave(w) {
			return signal{}, ctx.Err()
		}
		return <-w.wake, nil // the leader was first
	}
}

// leave takes w out, and returns false if a leader already has.
func (g *group) leave(w *waiter) bool {
	g.Lock()
	defer g.Unlock()
	for at := &g.first; *at != nil; at = &(*at).next {
		if *at == w {
			*at, w.next = w.next, nil
			return true
		}
	}
	return false
}

// handOver ends the wait of all up to lsn, or of all if err is set, and makes
// one of the others the leader.
func (g *group) handOver(lsn LSN, err error) {
	var covered, next *waiter
	g.Lock()
	end := &covered
	for at := &g.first; *at != nil; {
		w := *at
		switch {
		case err != nil || w.lsn <= lsn:
			*at, w.next = w.next, nil
			*end, end = w, &w.next
		case next == nil:
			*at, w.next = w.next, nil
			next = w
		default:
			at = &w.next
		}
	}
	g.led = next != nil
	g.Unlock()

	if next != nil {
		next.wake <- signal{lead: true}
	}
	for w := covered; w != nil; {
		after := w.next // w is its goroutine's again once it is awake
		w.next = nil
		w.wake <- signal{err: err}
		w = after
	}
}
