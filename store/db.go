package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"faultline/flusher"
	"faultline/internal/disk"
	"faultline/pagemeta"
	"faultline/store/tree"
	"faultline/store/wal"
)

// A DB is an open store. Methods are safe for concurrent use.
type DB struct {
	dir     string
	opts    Options
	lockf   io.Closer
	flusher *flusher.Flusher
	tree    *tree.Tree
	log     *wal.Log

	seed    maphash.Seed
	stripes [stripes]sync.Mutex // step 4 of a write: one for many keys
	claims  [stripes]sync.Mutex // of the keys that calls of Modify name
	wide    atomic.Int64        // commits of several writes that are being made

	open    openValues // long ones that are being written
	spaces  spaces
	clock   clock
	reaper  reaper
	sweeper sweeper

	super     superblock    // as last written; changed with the gate closed
	cutLSN    atomic.Uint64 // of the last round that began
	held      []tree.Ref    // long values that were being written at the cut that Open has found
	known     uint64        // up to where in the log that cut has all long values
	knownLong uint32        // pages of them
	replayed  atomic.Uint64 // during recovery: the LSN up to which the tree has the log
	merger    merger
	moved     atomic.Uint64 // pages, by Compact
	closed    atomic.Bool
	recovery  wal.Stats
}

// Open opens the store in dir, or makes one there if dir is empty or missing. It
// recovers what a crash has left: the result is as if every write up to some
// point had been made and none after it, and no write that was acknowledged as
// durable is missing.
//
// Errors: ErrLocked, ErrNotStore, ErrCorrupt, ErrNoSpace (the next Open, with room,
// finds all that this one found), one wrapping errors.ErrUnsupported
// where the machine gives no userfaultfd, and those of the file system.
func Open(dir string, o *Options) (*DB, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	db := &DB{dir: dir, opts: opts, seed: maphash.MakeSeed()}
	db.open.init()
	db.spaces.init(db)
	db.clock.wall = opts.Clock
	if err := db.openFiles(); err != nil {
		_ = db.release() // what it finds follows from err
		return nil, fmt.Errorf("open %s: %w", dir, disk.NoSpace(err))
	}
	return db, nil
}

func (db *DB) openFiles() error {
	if err := db.claim(); err != nil {
		return err
	}
	empty, err := db.openPages()
	if err != nil {
		return err
	}
	if empty {
		err = db.create()
	} else {
		err = db.load()
	}
	if err != nil {
		return err
	}
	if err := db.recover(); err != nil {
		return err
	}
	if !empty {
		return nil
	}
	if err := db.flusher.Checkpoint(context.Background()); err != nil {
		return err
	}
	if err := db.useRoom(); err != nil {
		return err
	}
	db.roomier()
	return db.flusher.Err()
}

// openPages opens the files of pages; empty tells that there is no page yet.
func (db *DB) openPages() (empty bool, err error) {
	db.flusher, empty, err = flusher.Open(flusher.Config{
		FS:       db.opts.fs,
		Dir:      db.dir,
		Capacity: db.opts.capacity(),
		Memory:   db.opts.roomMemory(),
		Credits:  db.opts.credits(0),
		Lessen:   db.opts.credits,
		Interval: max(db.opts.CheckpointEvery, 0),
		TrapOnly: db.opts.TrapOnly,
		ReadOnly: db.opts.ReadOnly,
	})
	return empty, err
}

// claim makes dir and takes the lock, after a look at what else is there.
func (db *DB) claim() error {
	fsys := db.opts.fs
	if !db.opts.ReadOnly {
		if err := fsys.MkdirAll(db.dir); err != nil {
			return err
		}
	}
	names, err := fsys.List(db.dir)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, name := range names {
		have[name] = true
	}
	if !have["data"] {
		for _, name := range names {
			if name != "LOCK" && name != "rounds" && name != "journal" && name != "wal" && name != "lost+found" {
				return fmt.Errorf("%w: it has %q and no data file", ErrNotStore, name)
			}
		}
		if db.opts.ReadOnly {
			return fmt.Errorf("%w: %w: no data file", ErrNotStore, fs.ErrNotExist)
		}
	}
	db.lockf, err = fsys.Lock(filepath.Join(db.dir, "LOCK"))
	return err
}

// create makes the first pages. They are on disk before Open returns, so a data
// file without pages beside a log with records is not the trace of a crash.
func (db *DB) create() (err error) {
	if db.opts.ReadOnly {
		return fmt.Errorf("%w: the data file is empty", ErrNotStore)
	}
	used, err := db.logUsed()
	if err != nil {
		return err
	}
	if used {
		return &disk.CorruptError{File: filepath.Join(db.dir, "data"), Err: errors.New("empty, but the log is not")}
	}
	db.super = newSuperblock(db.opts.SegmentBytes)
	db.tree, err = tree.New(db.flusher.Pages)
	return err
}

// logUsed tells whether some file of the log begins with anything but zeros.
func (db *DB) logUsed() (bool, error) {
	names, err := db.opts.fs.List(db.walDir())
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	var head [pagemeta.PageBytes]byte
	for _, name := range names {
		f, err := db.opts.fs.OpenRead(filepath.Join(db.walDir(), name))
		if err != nil {
			return false, err
		}
		n, err := f.ReadAt(head[:], 0)
		if err = errors.Join(ignoreEOF(err), f.Close()); err != nil {
			return false, err
		}
		if slices.ContainsFunc(head[:n], func(b byte) bool { return b != 0 }) {
			return true, nil
		}
	}
	return false, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// load finds the tree.
func (db *DB) load() (err error) {
	if err := db.loadSuper(); err != nil {
		return err
	}
	db.tree, err = tree.Open(db.flusher.Pages, db.super.tree)
	for i := 0; err == nil && i < len(db.held); i++ {
		v := &longValue{ref: db.held[i]}
		v.save()
		db.open.add(v)
		err = db.tree.HoldAgain(v.ref.Extents)
	}
	if err != nil {
		return db.readError(err)
	}
	return db.useRoom()
}

// loadSuper reads the superblock.
func (db *DB) loadSuper() error {
	var parseErr error
	err := db.onPage0(pagemeta.ToRead, func(p *pagemeta.Page) { db.held, parseErr = db.super.parse(p) })
	if err = errors.Join(err, parseErr); err != nil {
		return err
	}
	if err := db.super.check(); err != nil {
		return &disk.CorruptError{File: filepath.Join(db.dir, "data"), Err: err}
	}
	db.known, db.knownLong = db.super.through, db.super.tree.Values
	db.spaces.born = db.super.born
	return db.opts.fits(int64(db.super.tree.Pages))
}

func (db *DB) walDir() string { return filepath.Join(db.dir, "wal") }

// Close makes a last checkpoint and gives everything back. Operations under way
// end first; later ones return ErrClosed. An error says that the checkpoint did
// not reach the disk: the next Open recovers from the log. Calling it again does
// nothing.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.reaper.end()
	db.sweeper.end()
	db.merger.end()
	_ = db.merge(context.Background())                    // what it leaves, the log has
	_ = db.flusher.Exclusive(func() error { return nil }) // operations under way have ended
	return db.release()
}

// release gives back what open has taken so far.
func (db *DB) release() error {
	var errs []error
	db.reaper.end()
	db.sweeper.end()
	db.merger.end()
	if db.flusher != nil {
		errs = append(errs, db.flusher.Close(context.Background()))
	}
	if db.log != nil {
		errs = append(errs, db.log.Close())
	}
	if db.tree != nil {
		errs = append(errs, db.tree.Close())
	}
	if db.lockf != nil {
		errs = append(errs, db.lockf.Close())
	}
	return errors.Join(errs...)
}

// usable returns ErrClosed after Close.
func (db *DB) usable() error {
	if db.closed.Load() {
		return ErrClosed
	}
	return nil
}

// Err returns nil while the store takes writes: after that the error, of ErrStopped or
// ErrClosed, that every write gets. A store that has stopped reads on.
func (db *DB) Err() error {
	if err := db.usable(); err != nil {
		return err
	}
	return db.flusher.Err()
}

// orClosed is what err, of a wait for the flusher, means when Close came
// meanwhile.
func (db *DB) orClosed(err error) error {
	if err != nil && db.closed.Load() {
		return ErrClosed
	}
	return err
}

func (db *DB) writable() error {
	if db.opts.ReadOnly {
		return ErrReadOnly
	}
	return db.usable()
}

// cut completes the superblock for the pages as they are. It is called by the
// flusher, with the gate closed.
func (db *DB) cut() (flusher.Cut, error) {
	at := flusher.Cut{Through: db.reached()}
	at.From = db.tree.Oldest(at.Through)
	s := db.super
	s.lsn, s.tree, s.born = at.From, db.tree.State(), db.spaces.born
	s.through = max(s.through, at.Through) // not yet reached again, in a recovery
	at.Pages = db.tree.End()
	db.cutLSN.Store(at.From)
	if s == db.super && db.flusher.Pages.Dirty() == 0 {
		return at, nil
	}
	db.super = s
	db.tree.BeginRound()
	open := db.open.saved()
	return at, db.onPage0(pagemeta.ToWrite, func(p *pagemeta.Page) { s.put(p, open) })
}

// reached is the LSN up to which the tree has the log. With the gate closed it is
// exact.
func (db *DB) reached() uint64 {
	if lsn := db.replayed.Load(); lsn != replayDone {
		return lsn
	}
	return uint64(db.log.Appended())
}

// has is Keyspace.Has of a key of the tree.
func (db *DB) has(key []byte) (bool, error) {
	if db.closed.Load() {
		return false, ErrClosed
	}
	var buf [tree.MaxEntryBytes]byte
	_, found, _, err := db.find(buf[:0], key)
	if db.closed.Load() {
		return false, ErrClosed
	}
	return found != tree.Nothing, db.readError(err)
}

// readError gives an error of the tree its place among the store's errors.
func (db *DB) readError(err error) error {
	switch {
	case errors.Is(err, pagemeta.ErrClosed):
		return ErrClosed
	case errors.Is(err, tree.ErrDamaged):
		return &disk.CorruptError{File: filepath.Join(db.dir, "data"), Err: err}
	}
	return err
}

// Checkpoint returns when all that was written before the call is in the data
// file, durable: Open need not read the log for it.
func (db *DB) Checkpoint(ctx context.Context) error {
	if err := db.writable(); err != nil {
		return err
	}
	if err := db.merge(ctx); err != nil {
		return db.orClosed(err)
	}
	return db.orClosed(db.flusher.Checkpoint(ctx))
}
