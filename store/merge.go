package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"faultline/pagemeta"
	"faultline/store/tree"
)

// Writes to leaves that are not in memory are kept beside them (store/tree,
// changes.go). When there is little room for more, or the log is kept for them, or
// someone waits for a checkpoint, the merger has their leaves take them in, zone by
// zone of the file: as writes like any other, but that the log has them already.
type merger struct {
	sync.Mutex // who merges
	kick       chan struct{}
	cramped    chan struct{} // capacity 1, as kick
	quit       chan struct{}
	ended      chan struct{}

	busy atomic.Bool   // there will be room soon
	errs atomic.Uint64 // in the background
}

// mergeLeaves is how many leaves are done in one stay inside the gate.
const mergeLeaves = 128

const (
	// mergeCredits is for how many pages a leaf may make dirty: it may be split, and
	// changes its parent then.
	mergeCredits = 3
	// mergePause comes after an error: each write would have the same page read again.
	mergePause = 100 * time.Millisecond
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
				if db.mergeSome(context.Background()) == nil {
					continue
				}
				m.errs.Add(1) // what it leaves, the log has
				select {
				case <-m.quit:
					return
				case <-time.After(mergePause):
				}
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

const (
	// paceMergeFrom is the share of the memory for changes from which on writers are
	// slowed down.
	paceMergeFrom = 0.85
	// paceMergeMost is the pause of a write that takes the last of it: a few dozen
	// changes are taken in meanwhile.
	paceMergeMost = 2 * time.Millisecond
)

// paceMerge slows down a write of so many bytes to what is merged, so that writers do
// not find the buffer full one day, and every write has a leaf to read. It returns at
// once if no merge is under way.
func (db *DB) paceMerge(ctx context.Context, bytes int) error {
	for db.merger.busy.Load() {
		share := db.tree.DeferredShare(bytes)
		if share < paceMergeFrom {
			return nil
		}
		part := min((share-paceMergeFrom)/(1-paceMergeFrom), 1)
		t := time.NewTimer(time.Duration(part * float64(paceMergeMost)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("wait for changes to be merged: %w", ctx.Err())
		}
		if part < 1 {
			return nil
		}
	}
	return nil
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

// mergeSome merges what there is little room for, and what the log is kept for too
// long: changes that are older than half of what it may grow to.
func (db *DB) mergeSome(ctx context.Context) error {
	m := &db.merger
	m.Lock()
	defer m.Unlock()
	m.busy.Store(true)
	defer m.busy.Store(false)
	var failed error
	var sick tree.Zones // with leaves that cannot take their changes in; others can
	for _, full := db.tree.Deferring(); full; _, full = db.tree.Deferring() {
		zone, ok := db.tree.Fullest(sick)
		if !ok || db.flusher.Err() != nil {
			return failed
		}
		if err := db.mergeZones(ctx, []int{zone}); err != nil {
			failed = err
			sick |= 1 << zone
		}
	}
	reached := db.reached()
	if !db.overdue(reached) {
		return failed
	}
	err := db.mergeZones(ctx, db.tree.ZonesBefore(nil, reached-uint64(db.opts.LogBytes)/2))
	db.flusher.Kick()
	return errors.Join(failed, err)
}

// merge has all leaves take in the changes that were beside them at the call.
func (db *DB) merge(ctx context.Context) error {
	if some, _ := db.tree.Deferring(); !some {
		return nil
	}
	db.merger.Lock()
	defer db.merger.Unlock()
	err := db.mergeZones(ctx, db.tree.ZonesBefore(nil, math.MaxUint64))
	if !db.opts.noHelper {
		db.flusher.Kick() // the log may be trimmed
	}
	return err
}

// mergeZones merges the changes that zones have. It goes on after a leaf that cannot
// be read, or split, and returns the first error. The caller has the merger.
func (db *DB) mergeZones(ctx context.Context, zones []int) error {
	var failed error
	note := func(err error) (end bool) {
		if failed == nil && err != nil {
			failed = fmt.Errorf("merge changes into leaves: %w", db.readError(err))
		}
		return ctx.Err() != nil || db.flusher.Err() != nil
	}
	for _, z := range zones { // what an earlier merge has left
		if db.tree.Closed(z) && note(db.mergeZone(ctx, z)) {
			return failed
		}
	}
	if note(db.flusher.Exclusive(func() error {
		for _, z := range zones {
			db.tree.Turn(z, db.reached())
		}
		return nil
	})) {
		return failed
	}
	for _, z := range zones {
		if note(db.mergeZone(ctx, z)) {
			break
		}
	}
	return failed
}

// absorb has leaves take in their changes, and returns the first error.
func (db *DB) absorb(ctx context.Context, leaves []pagemeta.PageID) (failed error) {
	n := mergeCredits * len(leaves)
	if err := db.flusher.Stand(ctx, n); err != nil {
		return err
	}
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

// mergeZone has the leaves of a zone take in their changes. One that cannot be read,
// or split, keeps them, and with them what the zone has closed, and the log.
func (db *DB) mergeZone(ctx context.Context, zone int) error {
	var failed error
	leaves := db.tree.Leaves(zone)
	most := max(min(mergeLeaves, db.flusher.Credits()/(2*mergeCredits)), 1)
	var ahead readAhead
	ahead.begin(db.tree, leaves[:min(most, len(leaves))])
	defer func() { ahead.wait() }()
	for len(leaves) > 0 {
		n := min(most, len(leaves))
		db.roomier() // nobody else does while this goes on
		ahead.wait()
		ahead.begin(db.tree, leaves[n:min(2*n, len(leaves))])
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
	}
	if failed != nil {
		return failed
	}
	return db.tree.Done(zone)
}

// A readAhead has leaves read that are merged next, while those before take their
// changes in.
type readAhead struct{ ended chan struct{} }

func (a *readAhead) begin(t *tree.Tree, leaves []pagemeta.PageID) {
	ended := make(chan struct{})
	a.ended = ended
	go func() {
		defer close(ended)
		t.AskMany(leaves)
	}()
}

func (a *readAhead) wait() { <-a.ended }
