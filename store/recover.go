package store

import (
	"context"
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
		if err := db.tree.Defer(db.opts.changeBytes(), from); err != nil {
			return err
		}
	}
	db.flusher.Start(flusherLog{db.log}, db.cut)
	db.merger.start(db)
	var op tree.Op
	var err error
	db.recovery, err = db.log.Replay(wal.LSN(from), func(payload []byte, end wal.LSN) error {
		return db.replay(&op, payload, end)
	})
	if err != nil {
		err = fmt.Errorf("log: %w", err)
		_ = db.flusher.Stop(err) // no checkpoint of half a recovery
		return err
	}
	db.replayed.Store(replayDone)
	db.tree.KeepSpare()
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

// replayDone stands for a replay that has ended: the log says how far the tree is.
const replayDone = ^uint64(0)

// replay makes the writes of one record of the log.
func (db *DB) replay(op *tree.Op, payload []byte, end wal.LSN) error {
	dirty, _ := db.tree.Credits(len(payload)/4+1, len(payload))
	credits, err := db.flusher.Begin(context.Background(), dirty, 0)
	if err != nil {
		return err
	}
	defer db.flusher.End(credits, 0)
	if _, err := db.apply(op, payload); err != nil {
		return fmt.Errorf("record that ends at %d: %w", end, err)
	}
	db.replayed.Store(uint64(end))
	db.deferred()
	return nil
}

// flusherLog is the log as the flusher sees it.
type flusherLog struct{ *wal.Log }

func (l flusherLog) Sync(ctx context.Context, lsn uint64) error {
	return l.Log.Sync(ctx, wal.LSN(lsn))
}

func (l flusherLog) Trim(lsn uint64) error { return l.Log.Trim(wal.LSN(lsn)) }
