package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"faultline/store/tree"
)

// The sweeper deletes the keys of generations that no keyspace has any more, whole leaves
// at a time. The log is not told: to it they are gone since the renewal. A replay may bring
// some of them back, where nobody finds them; so Open has them swept, too.
//
//	slot 5     gen 0 .. 6        7       8 .. 255
//	         [ swept           | now   | swept           ]
//
// There are 256 generations, so one comes again. By then nothing must be left of its
// earlier life, in the tree or in the part of the log that a replay would read. Before a
// keyspace enters either half of them that half is swept, and a checkpoint made (turn).
type sweeper struct {
	kick  chan struct{}
	stop  context.CancelFunc
	ended chan struct{}
}

// sweepLeaves is how many leaves go in one stay inside the gate.
const sweepLeaves = 64

// halfTurn is how many generations there are in a half.
const halfTurn = 128

// start lets the sweeper begin, in a store that can be written.
func (s *sweeper) start(db *DB) {
	if db.opts.ReadOnly || db.opts.noHelper { // then a test calls sweep
		return
	}
	s.kick, s.ended = make(chan struct{}, 1), make(chan struct{})
	s.wake()
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() {
		defer close(s.ended)
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.kick:
				_ = db.sweep(ctx) // what it leaves, the next one finds
			}
		}
	}()
}

// wake says that there is something to sweep.
func (s *sweeper) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// end returns when the sweeper does nothing any more.
func (s *sweeper) end() {
	if s.stop != nil {
		s.stop()
		<-s.ended
		s.stop = nil
	}
}

// sweep deletes all keys that are of no current generation.
func (db *DB) sweep(ctx context.Context) error {
	var failed error
	for slot := range tree.MaxSlots {
		if err := db.sweepSlot(ctx, byte(slot)); failed == nil {
			failed = err
		}
	}
	return failed
}

// sweepSlot is sweep of one slot.
func (db *DB) sweepSlot(ctx context.Context, slot byte) error {
	gen := db.tree.Gen(slot)
	err := db.sweepRange(ctx, gen, []byte{slot}, []byte{slot, gen})
	if err == nil && gen < 255 {
		err = db.sweepRange(ctx, gen, []byte{slot, gen + 1}, []byte{slot + 1})
	}
	return err
}

// sweepRange deletes the keys from lower on that are less than upper, which are of one
// slot and not of gen, its generation: if it has another by now, it does nothing.
func (db *DB) sweepRange(ctx context.Context, gen byte, lower, upper []byte) error {
	if some, err := db.hasKeys(lower, upper); err != nil || !some {
		return err
	}
	slot := lower[0]
	for next := lower; next != nil; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("sweep old generations: %w", err)
		}
		db.tree.AskRange(next, upper, sweepLeaves) // not inside the gate
		after, err := db.sweepStep(ctx, slot, gen, next, upper)
		switch {
		case errors.Is(err, tree.ErrNoRoom):
			err = db.makeRoom(tree.EdgePages)
		case err == nil:
			next = after
		}
		if err != nil {
			return db.orFull(err, tree.EdgePages)
		}
	}
	return nil
}

// hasKeys tells whether there is a key from lower on that is less than upper.
func (db *DB) hasKeys(lower, upper []byte) (bool, error) {
	if err := db.usable(); err != nil {
		return false, err
	}
	c := db.tree.NewCursor()
	defer c.Close()
	some := c.SeekGE(lower) && bytes.Compare(c.Key(), upper) < 0
	return some, db.readError(c.Err())
}

// sweepStep is sweepRange of some leaves. No key need be locked: nobody writes to those of
// old generations.
func (db *DB) sweepStep(ctx context.Context, slot, gen byte, lower, upper []byte) (next []byte, err error) {
	grant, err := db.begin(ctx, db.tree.RangeCredits(), uint64(slot))
	if err != nil {
		return nil, err
	}
	defer db.flusher.End(grant, uint64(slot))
	if db.tree.Gen(slot) != gen { // it stays what it is, inside the gate
		return nil, nil
	}
	next, _, err = db.tree.DeleteRange(&tree.Op{}, lower, upper, sweepLeaves)
	return next, db.readError(err)
}

// turn makes the half of the generations fit for use that the one after gen is the first
// of, if it is.
func (db *DB) turn(ctx context.Context, slot, gen byte) error {
	if (gen+1)%halfTurn != 0 {
		return nil
	}
	if err := db.sweepSlot(ctx, slot); err != nil {
		return err
	}
	return db.Checkpoint(ctx)
}
