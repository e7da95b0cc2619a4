package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"faultline/store/tree"
)

// A range is deleted in steps, each a stay inside the gate with all keys locked, and a
// record of the log that has the bounds of what it has deleted, keys of the tree:
//
//	+------+--------------+--------------+-------+-------+
//	| 0x13 | lower length | upper length | lower | upper |
//	+------+--------------+--------------+-------+-------+
//
// The lengths are unsigned varints.
const (
	opDeleteRange = 0x13

	// maxRangeBytes is the most that such a record has.
	maxRangeBytes = 1 + 2*binary.MaxVarintLen16 + 2*tree.MaxKeyBytes

	// stepLeaves is how many leaves go in one step, at most: that takes a fraction of
	// a millisecond when they are in memory, and is most of what one parent can have.
	stepLeaves = 256
)

// DeleteRange deletes the keys that are not less than lower and less than upper; nil is
// no bound. deleted is how many there were. Leaves that lie inside the range go whole,
// with their pages: it costs little more than a look at each. Clear costs less still.
//
// It is atomic by steps only: keys go in ascending order, some hundred leaves at a time,
// and other writes come between. A key that is written meanwhile may be deleted or not.
// After an error, or a crash, the keys up to some place are deleted, and none behind it.
// A single step is seen whole or not at all by Get and the like, and is one write for d.
//
// ctx is looked at before each step. Errors as for Put, and those of reads.
func (ks *Keyspace) DeleteRange(ctx context.Context, lower, upper []byte, d Durability) (deleted uint64, err error) {
	db := ks.db
	if err := db.writable(); err != nil {
		return 0, err
	}
	for _, bound := range [][]byte{lower, upper} {
		if len(bound) > MaxKeyBytes {
			return 0, fmt.Errorf("bound of %d bytes: %w: the limit is %d", len(bound), ErrTooLarge, MaxKeyBytes)
		}
	}
	if upper != nil && bytes.Compare(lower, upper) >= 0 {
		return 0, nil
	}
	var last LSN
	for more := true; more && err == nil; {
		var s rangeStep
		s, err = ks.deleteStep(ctx, lower, upper)
		lower, more = s.next, s.next != nil
		deleted += uint64(s.deleted)
		last = max(last, s.lsn)
	}
	if last == 0 { // no step was made
		return deleted, err
	}
	return deleted, errors.Join(err, db.wait(ctx, last, d))
}

// A rangeStep is what one step of DeleteRange has done.
type rangeStep struct {
	next    []byte // where the next one begins; nil: there is none
	deleted int
	lsn     LSN // after its record, or after all that has deleted these keys before
}

// deleteStep deletes keys from lower on.
func (ks *Keyspace) deleteStep(ctx context.Context, lower, upper []byte) (s rangeStep, err error) {
	db := ks.db
	if err := ctx.Err(); err != nil {
		return s, fmt.Errorf("delete a range of keys: %w", err)
	}
	if err := db.reserveLog(ctx, maxRangeBytes, true); err != nil {
		return s, err
	}
	defer db.log.Release(maxRangeBytes)
	if gen, err := ks.generation(); err == nil { // not inside the gate, and with no key locked
		low, high := ks.appendBounds(nil, nil, gen, lower, upper)
		db.tree.AskRange(low, high, stepLeaves)
	}
	for {
		s, err = ks.tryDeleteStep(ctx, lower, upper)
		if !errors.Is(err, tree.ErrNoRoom) {
			break
		}
		if err := db.makeRoom(tree.EdgePages); err != nil {
			return s, db.orFull(err, tree.EdgePages)
		}
	}
	if s.lsn > 0 {
		db.kickFor(s.lsn)
	}
	return s, db.orFull(err, tree.EdgePages)
}

// tryDeleteStep is deleteStep for a data file that has room for a leaf that is split.
func (ks *Keyspace) tryDeleteStep(ctx context.Context, lower, upper []byte) (s rangeStep, err error) {
	db := ks.db
	grant, err := db.begin(ctx, db.tree.RangeCredits(), 0)
	if err != nil {
		return s, err
	}
	defer db.flusher.End(grant, 0)
	gen, err := ks.generation() // it stays that, inside the gate
	if err != nil {
		return s, err
	}
	low, high := ks.appendBounds(nil, nil, gen, lower, upper)
	db.lockAll()
	defer db.unlockAll()
	next, deleted, err := db.tree.DeleteRange(&tree.Op{}, low, high, stepLeaves)
	if err != nil {
		return s, db.readError(err)
	}
	s.deleted = deleted
	if next != nil {
		s.next, high = next[tree.OwnerBytes:], next
	}
	if deleted == 0 {
		s.lsn = db.LSN()
		return s, nil
	}
	s.lsn, err = db.append(appendRange(nil, low, high))
	return s, err
}

// lockAll takes the locks of all keys, in the order of lock.
func (db *DB) lockAll() {
	for i := range db.stripes {
		db.stripes[i].Lock()
	}
}

func (db *DB) unlockAll() {
	for i := range db.stripes {
		db.stripes[i].Unlock()
	}
}

func appendRange(dst, lower, upper []byte) []byte {
	dst = append(dst, opDeleteRange)
	dst = binary.AppendUvarint(dst, uint64(len(lower)))
	dst = binary.AppendUvarint(dst, uint64(len(upper)))
	return append(append(dst, lower...), upper...)
}

// isRange tells whether a record of the log deletes a range.
func isRange(payload []byte) bool { return len(payload) > 0 && payload[0] == opDeleteRange }

// parseRange returns what appendRange has written.
func parseRange(payload []byte) (lower, upper []byte, err error) {
	low, n := binary.Uvarint(payload[1:])
	at := 1 + max(n, 0)
	high, m := binary.Uvarint(payload[at:])
	at += max(m, 0)
	if n <= 0 || m <= 0 || low > tree.MaxKeyBytes || high > tree.MaxKeyBytes || uint64(len(payload)-at) != low+high {
		return nil, nil, fmt.Errorf("%w: range of keys, bounds of %d and %d bytes, %d in all", ErrCorrupt, low, high, len(payload))
	}
	mid := at + int(low)
	lower, upper = payload[at:mid:mid], payload[mid:]
	if bytes.Compare(lower, upper) >= 0 {
		return nil, nil, fmt.Errorf("%w: range of keys from %q to %q", ErrCorrupt, lower, upper)
	}
	return lower, upper, nil
}

// replayRange deletes again what a record of the log has. Where the pages may have what came
// after it, that is made again too; but for long values, which stay.
func (db *DB) replayRange(payload []byte, end LSN) error {
	lower, upper, err := parseRange(payload)
	if err != nil {
		return err
	}
	var op tree.Op
	if uint64(end) <= db.known {
		op.Before = uint64(end)
	}
	for more := true; more; more = lower != nil {
		if lower, err = db.replayRangeStep(&op, lower, upper); err != nil {
			return err
		}
	}
	db.replayed.Store(uint64(end))
	db.deferred()
	return nil
}

// replayRangeStep makes one step, and returns where the next one begins.
func (db *DB) replayRangeStep(op *tree.Op, lower, upper []byte) (next []byte, err error) {
	db.tree.AskRange(lower, upper, stepLeaves)
	for {
		grant, err := db.flusher.Begin(context.Background(), db.tree.RangeCredits(), 0)
		if err != nil {
			return nil, err
		}
		next, _, err = db.tree.DeleteRange(op, lower, upper, stepLeaves)
		db.flusher.End(grant, 0)
		if !errors.Is(err, tree.ErrNoRoom) {
			return next, db.readError(err)
		}
		if err := db.makeRoom(tree.EdgePages); err != nil {
			return nil, err
		}
	}
}
