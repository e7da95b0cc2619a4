package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"faultline/flusher"
	"faultline/pagemeta"
	"faultline/store/tree"
)

// A value that has no room in a leaf is a long one: it lies in pages of its own,
// which are written before the write that makes them visible is made, and are
// written past the journal (flusher/value.go). The log has the content too: a
// crash takes back pages that no durable cut has.
//
// One that fits a piece stands in its batch, in the log as in memory. One that
// does not is streamed: it goes to its pages and into the log piece by piece, each
// a record of its own, and then the batch refers to it. Between the first of these
// records and the last it is open:
//
//	piece, piece ... batch with opPutLong      the key has the value
//	piece, piece ... drop                      nothing has changed
//
// A cut may come in between. It has what is open in the superblock: which pages
// are held, and how much of the value is in them. So a recovery needs of the log
// only what is behind the cut, here too. What is open when the log ends is dropped.
type longValue struct {
	ref   tree.Ref // Bytes: how many are in the pages
	saved tree.Ref // as the log has it; changed inside the gate. ID 0: not at all
	open  bool     // it is streamed
	taken bool     // it is in the tree
}

const (
	// pieceBytes is how much of a value is written at a time: whole pages, and
	// 256 KiB with what comes with them, half a buffer of the log.
	pieceBytes = 63 * flusher.ValuePageBytes

	// maxOpen is how many values may be open, so that the superblock has room for
	// all. Who wants to stream another waits.
	maxOpen = 12

	opPiece = 0x10 // a record that is no batch
	opDrop  = 0x11
)

// openValues are those that are streamed now.
type openValues struct {
	slots chan struct{} // one for each
	many  chan struct{} // who takes more than one
	mu    struct {
		sync.Mutex
		values []*longValue
	}
}

func (o *openValues) init() {
	o.slots, o.many = make(chan struct{}, maxOpen), make(chan struct{}, 1)
}

// take waits for n places. Who needs more than one takes all at once, one such after the
// other: else two could wait for each other.
func (o *openValues) take(ctx context.Context, n int) error {
	if n > 1 {
		if err := enter(ctx, o.many); err != nil {
			return err
		}
		defer func() { <-o.many }()
	}
	for taken := range n {
		if err := enter(ctx, o.slots); err != nil {
			o.give(taken)
			return err
		}
	}
	return nil
}

// give ends the use of n places.
func (o *openValues) give(n int) {
	for range n {
		<-o.slots
	}
}

// enter waits for one of places.
func enter(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for other long values: %w", ctx.Err())
	}
}

func (o *openValues) find(id uint64) *longValue {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.mu.values {
		if v.ref.ID == id {
			return v
		}
	}
	return nil
}

func (o *openValues) add(v *longValue) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.values = append(o.mu.values, v)
	v.open = true
}

func (o *openValues) remove(v *longValue) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.values = slices.DeleteFunc(o.mu.values, func(w *longValue) bool { return w == v })
}

// all returns the values that are open.
func (o *openValues) all() []*longValue {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.mu.values)
}

// saved returns those that the log has pieces of. The gate is closed.
func (o *openValues) saved() (refs []tree.Ref) {
	for _, v := range o.all() {
		if v.saved.ID != 0 {
			refs = append(refs, v.saved)
		}
	}
	return refs
}

func newLongValue() *longValue {
	id := rand.Uint64()
	for id == 0 {
		id = rand.Uint64()
	}
	return &longValue{ref: tree.Ref{ID: id}}
}

// valuePages is how many pages a value takes.
func valuePages(bytes int) int {
	return (bytes + flusher.ValuePageBytes - 1) / flusher.ValuePageBytes
}

// hold gives v room for n pages in all. It makes room at the end of the data file
// rather than to take what is scattered. The error wraps ErrFull or ErrNoSpace if there
// are not so many, or in too many places.
func (db *DB) hold(ctx context.Context, v *longValue, n int) error {
	grown, err := db.holdNow(v, n)
	if (errors.Is(err, ErrFull) || errors.Is(err, tree.ErrNoRoom)) && db.tree.Cooling() > 0 {
		if err := db.cool(ctx); err != nil {
			return err
		}
		grown, err = db.holdNow(v, n)
	}
	if errors.Is(err, tree.ErrNoRoom) && grown != nil {
		return fmt.Errorf("long value, %d pages: %w", n, grown)
	}
	return err
}

// holdNow is hold of pages that can be had at once. grown is why the file could not
// become longer.
func (db *DB) holdNow(v *longValue, n int) (grown, err error) {
	err = db.tryHold(v, n, false)
	if !errors.Is(err, tree.ErrNoRoom) {
		return nil, err
	}
	if grown = db.makeRoomBehind(n - tree.Pages(v.ref.Extents)); grown == nil {
		err = db.tryHold(v, n, false)
	}
	if errors.Is(err, tree.ErrNoRoom) {
		err = db.tryHold(v, n, true)
	}
	return grown, err
}

// cool makes a round, after which pages can be had that are cooling.
func (db *DB) cool(ctx context.Context) error {
	if db.opts.ReadOnly { // no page of the file is overwritten, so none need be waited for
		db.tree.BeginRound()
		db.tree.EndRound()
		return nil
	}
	return db.orClosed(db.flusher.Checkpoint(ctx))
}

// tryHold is hold of what is free now. With scraps, no run is too short.
func (db *DB) tryHold(v *longValue, n int, scraps bool) error {
	had := v.ref.Extents
	for held := tree.Pages(had); held < n; {
		err := error(ErrFull)
		var e tree.Extent
		if len(v.ref.Extents) < tree.MaxExtents {
			e, err = db.tree.Hold(n-held, scraps)
		}
		if err != nil {
			db.tree.Drop(v.ref.Extents[len(had):]...)
			v.ref.Extents = had
			return fmt.Errorf("long value, %d pages: %w", n, db.readError(err))
		}
		v.ref.Extents = append(v.ref.Extents, e)
		held += int(e.Pages)
	}
	return nil
}

// grow is hold for a value whose length is not known: it doubles what v has, or
// takes as much as there is.
func (db *DB) grow(ctx context.Context, v *longValue, n int) error {
	have := tree.Pages(v.ref.Extents)
	if n <= have {
		return nil
	}
	err := db.hold(ctx, v, min(max(n, 2*have), valuePages(MaxValueBytes)))
	if errors.Is(err, ErrFull) || errors.Is(err, ErrNoSpace) || errors.Is(err, tree.ErrNoRoom) {
		return db.hold(ctx, v, n)
	}
	return err
}

// shrink gives back the pages that v has held in vain.
func (db *DB) shrink(v *longValue) {
	need := valuePages(v.ref.Bytes)
	for i := range v.ref.Extents {
		e := &v.ref.Extents[i]
		if spare := int(e.Pages) - need; spare > 0 {
			db.tree.Drop(tree.Extent{Page: e.End() - pagemeta.PageID(spare), Pages: uint32(spare)})
			e.Pages -= uint32(spare)
		}
		need -= int(e.Pages)
	}
	v.ref.Extents = slices.DeleteFunc(v.ref.Extents, func(e tree.Extent) bool { return e.Pages == 0 })
}

// write puts content, which v has room for, behind what is in its pages: whole
// ones.
func (db *DB) write(v *longValue, content []byte) error {
	index := v.ref.Bytes / flusher.ValuePageBytes
	skip := index
	for _, e := range v.ref.Extents {
		if skip >= int(e.Pages) {
			skip -= int(e.Pages)
			continue
		}
		n := min(len(content), (int(e.Pages)-skip)*flusher.ValuePageBytes)
		if n == 0 {
			break
		}
		if err := db.flusher.WriteValue(e.Page+pagemeta.PageID(skip), v.ref.ID, index, content[:n]); err != nil {
			return db.orClosed(err)
		}
		v.ref.Bytes += n
		content = content[n:]
		index += valuePages(n)
		skip = 0
	}
	return nil
}

// stage writes the long values of b, a batch or a record of the log, to pages that
// are held for them, and finds those that b refers to.
func (db *DB) stage(ctx context.Context, b *Batch) error {
	if b.long == 0 {
		return nil
	}
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		rest = more
		var v *longValue
		switch {
		case w.isOpened():
			if v = db.open.find(w.id); v == nil || v.ref.Bytes != w.bytes {
				return fmt.Errorf("%w: batch: a value of %d bytes that is not there", ErrCorrupt, w.bytes)
			}
			db.shrink(v)
		case w.isLong():
			v = newLongValue()
			if err := db.hold(ctx, v, valuePages(len(w.value))); err != nil {
				return err
			}
		default:
			continue
		}
		b.staged = append(b.staged, v)
		if !w.isOpened() {
			if err := db.write(v, w.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// unstage ends the use of what stage has made. What the tree has not taken is
// given back, unless it is open: then that is left to who has opened it.
func (db *DB) unstage(b *Batch) {
	for _, v := range b.staged {
		if !v.open && !v.taken {
			db.tree.Drop(v.ref.Extents...)
		}
	}
	clear(b.staged)
	b.staged = b.staged[:0]
}

// A piece is a record of the log:
//
//	+------+----------+--------+-- ... --+
//	| 0x10 | value id | offset | content |       offset: 4 bytes
//	+------+----------+--------+-- ... --+
//	+------+----------+
//	| 0x11 | value id |                         drop: no batch will refer to it
//	+------+----------+
const (
	pieceIDAt      = 1
	pieceOffsetAt  = 9
	pieceContentAt = 13
	dropBytes      = 9
)

// isPiece tells whether a record of the log is no batch.
func isPiece(payload []byte) bool {
	return len(payload) > 0 && (payload[0] == opPiece || payload[0] == opDrop)
}

func appendPiece(dst []byte, id uint64, offset int, content []byte) []byte {
	dst = append(dst, opPiece)
	dst = le.AppendUint64(dst, id)
	dst = le.AppendUint32(dst, uint32(offset))
	return append(dst, content...)
}

// save puts content, which is in the pages of v already, into the log.
func (db *DB) save(ctx context.Context, v *longValue, content []byte) error {
	record := records.Get().(*[]byte)
	defer records.Put(record)
	*record = appendPiece((*record)[:0], v.ref.ID, v.ref.Bytes-len(content), content)
	if err := db.reserveLog(ctx, len(*record), false); err != nil {
		return err
	}
	defer db.log.Release(len(*record))
	grant, err := db.begin(ctx, 0, v.ref.ID)
	if err != nil {
		return err
	}
	lsn, err := db.append(*record)
	v.save()
	db.flusher.End(grant, v.ref.ID)
	db.kickFor(lsn)
	return err
}

// save notes that the log has what is in the pages of v. The gate is held.
func (v *longValue) save() {
	v.saved = v.ref
	v.saved.Extents = slices.Clone(v.ref.Extents)
}

var records = sync.Pool{New: func() any { return new([]byte) }}

// abandon drops v, which is open. The log has room for dropBytes: a value that is open
// and never dropped takes a place for ever.
func (db *DB) abandon(v *longValue) {
	if grant, err := db.begin(context.Background(), 0, v.ref.ID); err == nil {
		defer db.flusher.End(grant, v.ref.ID)
		if v.saved.ID != 0 {
			_, _ = db.append(le.AppendUint64([]byte{opDrop}, v.ref.ID)) // else the next recovery drops it
		}
	}
	db.open.remove(v)
	db.tree.Drop(v.ref.Extents...)
}

// stagePiece takes a record of the log that is no batch: it writes a piece to its
// pages, and returns its value, or that which is to be dropped. What the cut has
// already is nothing to do.
func (db *DB) stagePiece(payload []byte, end LSN) (*longValue, error) {
	if !isPiece(payload) || uint64(end) <= db.known {
		return nil, nil
	}
	if len(payload) < dropBytes {
		return nil, fmt.Errorf("%w: piece of %d bytes", ErrCorrupt, len(payload))
	}
	id := le.Uint64(payload[pieceIDAt:])
	v := db.open.find(id)
	if payload[0] == opDrop {
		if v == nil {
			return nil, fmt.Errorf("%w: drop of value %#x, which is not open", ErrCorrupt, id)
		}
		return v, nil
	}
	if len(payload) <= pieceContentAt {
		return nil, fmt.Errorf("%w: piece of %d bytes", ErrCorrupt, len(payload))
	}
	offset, content := int(le.Uint32(payload[pieceOffsetAt:])), payload[pieceContentAt:]
	if v == nil && len(db.open.all()) < maxOpen {
		v = &longValue{ref: tree.Ref{ID: id}}
		db.open.add(v)
	}
	if v == nil || id == 0 || v.ref.Bytes != offset || offset%flusher.ValuePageBytes != 0 || offset+len(content) > MaxValueBytes {
		return nil, fmt.Errorf("%w: piece of value %#x at %d", ErrCorrupt, id, offset)
	}
	if err := db.grow(context.Background(), v, valuePages(offset+len(content))); err != nil {
		return nil, err
	}
	return v, db.write(v, content)
}

// applyPiece completes what stagePiece has begun. The gate is held.
func (db *DB) applyPiece(v *longValue, payload []byte) {
	if payload[0] == opPiece {
		v.save()
		return
	}
	db.open.remove(v)
	db.tree.Drop(v.ref.Extents...)
}
