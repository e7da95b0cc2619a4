package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"faultline/store/tree"
)

// Writes to leaves that are not in memory are kept beside them (store/tree,
// changes.go). When there is little room for more, or the log is kept for them, or
// someone waits for a checkpoint, the merger has their leaves take them in, in the
// order of the file: as writes like any other, but that the log has them already.
type merger struct {
	sync.Mutex // who merges
	kick       chan struct{}
	quit       chan struct{}
	ended      chan struct{}

	all, left atomic.Int64 // leaves of the running merge
}

// mergeLeaves is how many leaves are done in one stay inside the gate.
const mergeLeaves = 128

func (m *merger) start(db *DB) {
	m.kick = make(chan struct{}, 1)
	m.quit, m.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(m.ended)
		for {
			select {
			case <-m.quit:
				return
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

func (m *merger) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
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

// deferred wakes the merger if there is little room for changes beside leaves.
func (db *DB) deferred() {
	if _, full := db.tree.Deferring(); full {
		db.merger.wake()
	}
}

// trimSoon has the log trimmed: by a round, after a merge if that is needed.
func (db *DB) trimSoon() {
	if some, _ := db.tree.Deferring(); some {
		db.merger.wake()
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
	db.flusher.Kick() // the log may be trimmed
	return nil
}

// mergeClosed merges the closed generation. A leaf that cannot be read, or split,
// keeps its changes, and with them the generation and the log.
func (db *DB) mergeClosed(ctx context.Context) error {
	var failed error
	leaves := db.tree.Closed()
	db.merger.all.Store(int64(len(leaves)))
	db.merger.left.Store(int64(len(leaves)))
	for len(leaves) > 0 {
		n := min(mergeLeaves, len(leaves))
		if err := db.flusher.Stand(ctx, n+n/4); err != nil {
			return err
		}
		db.tree.AskMany(leaves[:n])
		credits, err := db.flusher.Begin(ctx, n+n/4, 0)
		if err != nil {
			return err
		}
		var op tree.Op
		for _, id := range leaves[:n] {
			if err := db.tree.Absorb(&op, id); failed == nil {
				failed = err
			}
		}
		db.flusher.End(credits, 0)
		leaves = leaves[n:]
		db.merger.left.Store(int64(len(leaves)))
	}
	if failed != nil {
		return failed
	}
	return db.tree.Done()
}
