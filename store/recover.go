package store

import (
	"context"
	"errors"
	"fmt"

	"faultline/store/tree"
	"faultline/store/wal"
)

// recover brings the tree from the cut of the superblock to the end of the log,
// and starts the flusher, which may make rounds on the way: a log larger than
// the dirty budget is replayed like writes that come in.
func (db *DB) recover() error {
	if err := db.openLog(); err != nil {
		return err
	}
	from := db.super.lsn
	db.cutLSN.Store(from)
	db.replayed.Store(from)
	if !db.opts.ReadOnly { // where nothing is written, nothing can be merged
		if err := db.tree.Defer(db.opts.changeBytes(0), from); err != nil {
			return err
		}
		db.tree.DeferLess(db.opts.changeBytes(int64(db.super.tree.Pages)))
	}
	db.flusher.Hold(true)
	db.flusher.Start(flusherLog{db.log}, db.cut, db.tree.EndRound)
	db.merger.start(db)
	r := db.startReplay(wal.LSN(from))
	var err error
	show := db.progress(wal.LSN(from))
	db.recovery, err = db.log.Replay(wal.LSN(from), func(payload []byte, end wal.LSN) error {
		if err := r.add(payload, end); err != nil {
			return err
		}
		show(end)
		return nil
	})
	if err = r.end(err); err != nil {
		err = fmt.Errorf("log: %w", err)
		_ = db.flusher.Stop(err) // no checkpoint of half a recovery
		return err
	}
	db.flusher.Hold(false)
	show(replayedAll)
	db.replayed.Store(replayDone)
	db.tree.KeepSpare()
	if !db.opts.ReadOnly {
		for _, v := range db.open.all() {
			if err := db.reserveLog(context.Background(), dropBytes, true); err != nil {
				return err
			}
			db.abandon(v)
			db.log.Release(dropBytes)
		}
	}
	if err := db.spaces.load(db); err != nil {
		return err
	}
	db.reaper.start(db)
	db.sweeper.start(db)
	return nil
}

// openLog finds the files of the log.
func (db *DB) openLog() (err error) {
	db.log, err = wal.Open(wal.Options{
		FS:           db.opts.fs,
		Dir:          db.walDir(),
		SegmentBytes: db.super.segmentBytes,
		Spares:       int(db.opts.LogBytes/db.super.segmentBytes) + 1, // one round's worth
		Salt:         db.super.salt(),
		ReadOnly:     db.opts.ReadOnly,
		BufferBytes:  db.opts.logBuffer,
		NoHelper:     db.opts.noHelper,
	})
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// progressBytes of the log lie between two calls of Options.Progress.
const progressBytes = 1 << 20

// replayedAll is what show is given at the end.
const replayedAll = wal.LSN(replayDone)

// progress returns what tells Options.Progress of a replay from LSN from on that it has
// come to end.
func (db *DB) progress(from wal.LSN) (show func(end wal.LSN)) {
	if db.opts.Progress == nil {
		return func(wal.LSN) {}
	}
	total := uint64(max(db.log.FilesEnd(), from) - from)
	db.opts.Progress(0, total)
	shown := from
	return func(end wal.LSN) {
		switch {
		case end == replayedAll:
			db.opts.Progress(total, total)
		case end-shown >= progressBytes:
			shown = end
			db.opts.Progress(min(uint64(end-from), total), total)
		}
	}
}

// replayDone stands for a replay that has ended: the log says how far the tree is.
const replayDone = ^uint64(0)

// recordError is err with the record of the log it is about.
func recordError(err error, end wal.LSN) error {
	if err != nil {
		return fmt.Errorf("record that ends at %d: %w", end, err)
	}
	return nil
}

// replayRecord makes the writes of one record of the log.
func (db *DB) replayRecord(b *Batch, payload []byte, end wal.LSN) error {
	switch {
	case isRenewal(payload):
		return db.replayRenewal(payload, end)
	case isRange(payload):
		return db.replayRange(payload, end)
	}
	v, err := db.stagePiece(payload, end)
	if err != nil {
		return err
	}
	if b.data = payload; isPiece(payload) {
		b.data = nil
	} else if uint64(end) <= db.known {
		if b.data, err = db.withoutLong(payload, end); err != nil {
			return err
		}
	}
	if err := db.replayBatch(b, func() error {
		if v != nil {
			db.applyPiece(v, payload)
			return nil
		}
		_, err := db.apply(b)
		return err
	}); err != nil {
		return err
	}
	db.replayed.Store(uint64(end))
	db.deferred()
	return nil
}

// replayBatch calls apply with what the writes of b may need. They may need less room than
// is reckoned: where there is not so much, it is tried all the same.
func (db *DB) replayBatch(b *Batch, apply func() error) error {
	if err := b.collectStripes(db, false); err != nil {
		return err
	}
	defer db.unstage(b)
	if err := db.paceMerge(context.Background(), len(b.data)); err != nil {
		return err
	}
	if err := db.stage(context.Background(), b); err != nil {
		return err
	}
	dirty, grow := db.tree.Credits(b.steps, b.inTree)
	short := db.promise(b, grow)
	if errors.Is(short, ErrFull) && db.merge(context.Background()) == nil {
		short = db.promise(b, grow) // what was kept for changes beside leaves is known now
	}
	if short != nil && !errors.Is(short, ErrNoSpace) && !errors.Is(short, ErrFull) {
		return short
	}
	defer db.tree.Release(&b.op)
	grant, err := db.flusher.Begin(context.Background(), dirty, 0)
	if err != nil {
		return err
	}
	defer db.flusher.End(grant, 0)
	if err := apply(); err != nil {
		return errors.Join(err, short)
	}
	return nil
}

// withoutLong returns what of a batch is to be replayed whose long values are in the
// pages, or were and have been replaced: nothing of these, and no older write to a key
// that has one, but for their entries in the index, which may be in no page. The others
// may be in the pages or not. It costs a read of every leaf, unless there was no long
// value at all.
func (db *DB) withoutLong(payload []byte, end wal.LSN) (rest []byte, err error) {
	last := map[string]int{} // the last long one of a key: how much of payload is left then
	for left := payload; len(left) > 0; {
		w, more, err := nextWrite(left)
		if err != nil {
			return nil, err
		}
		if left = more; w.isLong() {
			last[string(w.key)] = len(left)
		}
	}
	for left := payload; len(left) > 0; {
		w, more, err := nextWrite(left)
		if err != nil {
			return nil, err
		}
		at, again := last[string(w.key)]
		if again = !again || len(more) < at; again {
			newer, err := db.hasNewer(w.key, end)
			if err != nil {
				return nil, err
			}
			again = !newer
		}
		switch {
		case again:
			rest = append(rest, left[:len(left)-len(more)]...)
		case w.expiry != 0:
			rest = appendDueAgain(rest, &w)
		}
		left = more
	}
	return rest, nil
}

// hasNewer tells whether key has a long value that came after the record that ends at
// end.
func (db *DB) hasNewer(key []byte, end wal.LSN) (bool, error) {
	if db.knownLong == 0 {
		return false, nil
	}
	var buf [tree.MaxEntryBytes]byte
	raw, found, err := db.tree.Get(buf[:0], key)
	if err != nil || found != tree.Long {
		return false, db.readError(err)
	}
	ref, err := db.parseRef(raw)
	return ref.LSN >= uint64(end), err
}

// recovering tells whether the log is being replayed.
func (db *DB) recovering() bool { return db.replayed.Load() != replayDone }

// flusherLog is the log as the flusher sees it.
type flusherLog struct{ *wal.Log }

func (l flusherLog) Sync(ctx context.Context, lsn uint64) error {
	return l.Log.Sync(ctx, wal.LSN(lsn))
}

func (l flusherLog) Trim(lsn uint64) error { return l.Log.Trim(wal.LSN(lsn)) }
