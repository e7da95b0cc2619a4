package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"faultline/pagemeta"
	"faultline/store/tree"
)

// Writes to leaves that are not in memory are kept beside them (store/tree,
// changes.go). When there is little room for more, or the log is kept for them, or
// someone waits for a checkpoint, the merger has their leaves take them in, in the
// order of the file: as writes like any other, but that the log has them already.
type merger struct {
	sync.Mutex // who merges
	kick       chan struct{}
	cramped    chan struct{} // capacity 1, as kick
	quit       chan struct{}
	ended      chan struct{}

	all, left atomic.Int64 // leaves of the running merge
}

// mergeLeaves is how many leaves are done in one stay inside the gate.
const mergeLeaves = 128

const (
	// mergeCredits is for how many pages a leaf may make dirty: it may be split, and
	// changes its parent then.
	mergeCredits = 3
	// fewLeaves is what the journal has room for on any disk.
	fewLeaves = 8
)

func (m *merger) start(db *DB) {
	m.kick, m.cramped = make(chan struct{}, 1), make(chan struct{}, 1)
	m.quit, m.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(m.ended)
		for {
			select {
			case <-m.quit:
				return
			case <-m.cramped:
				db.roomier()
			case <-m.kick:
				_ = db.merge(context.Background()) // what it leaves, the log has
			}
		}
	}()
}

// end returns when no merge is made in the background any more.
func (m *merger) end() {
	if m.quit != nil {
		close(m.quit)
		<-m.ended
		m.quit = nil
	}
}

func (m *merger) wake() { m.wakeFor(m.kick) }

func (m *merger) wakeFor(what chan struct{}) {
	select {
	case what <- struct{}{}:
	default:
	}
}

// roomier makes room in the data file ahead of those who need it. What keeps it from
// that shows when they do.
func (db *DB) roomier() {
	if n, cramped := db.tree.Cramped(); cramped {
		_ = db.makeRoom(n)
	}
}

// mergePace is how long a writer pauses that is ahead of the merge, which takes a
// few dozen changes in meanwhile.
const mergePace = time.Millisecond

// paceMerge slows writers down to what is merged, so that they do not find the
// buffer full one day, and every write has a leaf to read: as much of the open
// generation may be used as of the closed one is done.
func (db *DB) paceMerge(ctx context.Context) error {
	all, left := db.merger.all.Load(), db.merger.left.Load()
	if left == 0 || db.tree.DeferredShare() < 1.05-float64(left)/float64(all) {
		return nil
	}
	t := time.NewTimer(mergePace)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for changes to be merged: %w", ctx.Err())
	}
}

// wakeMerger has a merge made in the background.
func (db *DB) wakeMerger() {
	if !db.opts.noHelper { // else a test wants nothing to happen by itself
		db.merger.wake()
	}
}

// deferred wakes the merger if there is little room for changes beside leaves, in
// memory or, once they are merged, in the data file.
func (db *DB) deferred() {
	switch _, cramped := db.tree.Cramped(); {
	case cramped && db.opts.noHelper:
		db.roomier()
	case cramped:
		db.merger.wakeFor(db.merger.cramped)
	}
	if _, full := db.tree.Deferring(); full {
		db.wakeMerger()
	}
}

// trimSoon has the log trimmed: by a round, after a merge if that is needed.
func (db *DB) trimSoon() {
	if some, _ := db.tree.Deferring(); some {
		db.wakeMerger()
		return
	}
	db.flusher.Kick()
}

// merge has all leaves take in the changes that were beside them at the call.
func (db *DB) merge(ctx context.Context) error {
	if some, _ := db.tree.Deferring(); !some {
		return nil
	}
	db.merger.Lock()
	defer db.merger.Unlock()
	err := db.mergeClosed(ctx) // what an earlier merge has left
	if err == nil {
		err = db.flusher.Exclusive(func() error {
			db.tree.Turn(db.reached())
			return nil
		})
	}
	if err == nil {
		err = db.mergeClosed(ctx)
	}
	if err != nil {
		return fmt.Errorf("merge changes into leaves: %w", db.readError(err))
	}
	if !db.opts.noHelper {
		db.flusher.Kick() // the log may be trimmed
	}
	return nil
}

// absorb has leaves take in their changes, and returns the first error.
func (db *DB) absorb(ctx context.Context, leaves []pagemeta.PageID) (failed error) {
	n := mergeCredits * len(leaves)
	if err := db.flusher.Stand(ctx, n); err != nil {
		return err
	}
	db.tree.AskMany(leaves)
	grant, err := db.flusher.Begin(ctx, n, 0)
	if err != nil {
		return err
	}
	defer db.flusher.End(grant, 0)
	var op tree.Op
	for _, id := range leaves {
		if err := db.tree.Absorb(&op, id); failed == nil {
			failed = err
		}
	}
	return failed
}

// mergeClosed merges the closed generation. A leaf that cannot be read, or split,
// keeps its changes, and with them the generation and the log.
func (db *DB) mergeClosed(ctx context.Context) error {
	var failed error
	leaves := db.tree.Closed()
	db.merger.all.Store(int64(len(leaves)))
	db.merger.left.Store(int64(len(leaves)))
	defer db.merger.left.Store(0) // however it ends, nobody is paced to it any more
	most := max(min(mergeLeaves, db.opts.credits()/(2*mergeCredits)), 1)
	for len(leaves) > 0 {
		n := min(most, len(leaves))
		err := db.absorb(ctx, leaves[:n])
		if errors.Is(err, tree.ErrNoRoom) {
			if err = db.makeRoom(mergeLeaves); err == nil {
				continue // with those that are left of them
			}
		}
		if errors.Is(err, ErrNoSpace) && n > fewLeaves { // for a round of so many
			most = fewLeaves
			continue
		}
		if ctx.Err() != nil || db.flusher.Err() != nil {
			return err
		}
		if failed == nil {
			failed = err
		}
		leaves = leaves[n:]
		db.merger.left.Store(int64(len(leaves)))
	}
	if failed != nil {
		return failed
	}
	return db.tree.Done()
}
