package flusher

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"faultline/internal/disk"
	"faultline/kv"
	"faultline/pagemeta"
)

// ErrStopped is wrapped by what every write returns once a write or a sync of
// this store has failed: what is on disk is then in doubt, and a second try
// could not tell. Reads go on. Close the store and open it again, which recovers.
var ErrStopped = kv.ErrStopped

// A Log is what the flusher needs of the write-ahead log. An LSN is a byte
// offset in it.
type Log interface {
	// Sync returns when everything below lsn is durable.
	Sync(ctx context.Context, lsn uint64) error
	// Trim says that nothing below lsn will be read again.
	Trim(lsn uint64) error
}

// A Cut is what the pages of a round are a cut of.
type Cut struct {
	From    uint64 // the pages need not the log for what is below
	Through uint64 // the pages may hold what is below
	Pages   int    // of the data file: those beyond are not in use, and not written
}

// Config is what a Flusher is made of.
type Config struct {
	FS       disk.FS
	Dir      string                          // has the files data, rounds and journal
	Capacity int                             // pages that there can be: address space
	Memory   int64                           // bytes of pages, tables about them and images; 0: no bound
	Credits  int                             // pages that may be Dirty, Frozen or in Flight
	Lessen   func(pages int64) (credits int) // how many of them with so many pages of data; nil: all
	Interval time.Duration                   // a round starts at the latest this long after the last; 0: no timer
	TrapOnly bool                            // see pagemeta.Config
	ReadOnly bool                            // nothing is written; what a journal holds is kept in memory
}

// A Flusher owns the pages: it keeps the journal metadata of those that are
// Dirty, and takes them to the data file in rounds. It implements
// pagemeta.Owner. Methods are safe for concurrent use.
type Flusher struct {
	Config
	Pages *pagemeta.Table

	data    disk.File
	rounds  rounds
	values  values
	journal journal
	round   atomic.Uint32           // the last round that is in the data file
	replay  map[pagemeta.PageID]int // ReadOnly: slots of the journal, which is not written back
	frozen  []pagemeta.FrozenPage   // the cut of the running round, in order; changed with the gate closed
	runs    []disk.Access           // of it, on their way to a file

	// inPlace is held while a round writes in place, until rounds says so: who
	// holds it finds in data and rounds the pages of one round.
	inPlace sync.Mutex

	room    room
	gate    gate
	credits credits
	log     Log
	cut     func() (Cut, error)
	done    func()

	kick    chan struct{} // a round may be wanted; capacity 1
	asked   atomic.Bool   // it is, whatever the credits
	quit    chan struct{}
	ended   chan struct{}
	waiters waiters
	stopped atomic.Pointer[stopError]
	metrics metrics
}

// errClosed is what stops a Flusher that nothing else has stopped.
var errClosed = errors.New("closed")

// A stopError is why a Flusher has stopped.
type stopError struct{ cause error }

func (e *stopError) Error() string   { return fmt.Sprintf("%v: %v", ErrStopped, e.cause) }
func (e *stopError) Unwrap() []error { return []error{ErrStopped, e.cause} }

// Open opens or makes the files in c.Dir, writes in place what a journal still
// holds, and reserves the arena. It starts nothing: Start does, when the log is
// there. empty tells that the data file has no page yet.
func Open(c Config) (f *Flusher, empty bool, err error) {
	f = &Flusher{
		Config: c,
		kick:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		ended:  make(chan struct{}),
	}
	if c.ReadOnly {
		c.Credits = c.Capacity * 4 // no round gives any back
	}
	f.credits.init(c.Credits)
	f.gate.init()
	opened := f
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.closeFiles())
		}
	}()
	if f.Pages, err = pagemeta.New(pagemeta.Config{Pages: c.Capacity, Memory: c.Memory, Owner: f, TrapOnly: c.TrapOnly}); err != nil {
		return nil, false, err
	}
	if err := f.rounds.init(c.Capacity); err != nil {
		return nil, false, err
	}
	if err := f.journal.init(c.Capacity + roundsPages(c.Capacity)); err != nil {
		return nil, false, err
	}
	if err := f.openFiles(); err != nil {
		return nil, false, err
	}
	if !c.ReadOnly {
		if err := c.FS.SyncDir(c.Dir); err != nil {
			return nil, false, err
		}
	}
	if empty, err = f.recover(); err != nil {
		return nil, false, err
	}
	size, err := f.data.Size()
	if err != nil {
		return nil, false, err
	}
	f.lessen(size / pagemeta.PageBytes)
	if c.ReadOnly {
		return f, empty, nil // what was recovered is read from the images
	}
	return f, empty, f.journal.drop(f.Pages)
}

// openFiles opens the files for direct access: the cache of the kernel would only
// have a second copy of what is in memory here.
func (f *Flusher) openFiles() error {
	for _, file := range []struct {
		name string
		to   *disk.File
	}{{"data", &f.data}, {"rounds", &f.rounds.file}, {"journal", &f.journal.file}} {
		var err error
		if f.ReadOnly {
			*file.to, err = f.FS.OpenRead(f.path(file.name))
		} else {
			*file.to, err = f.FS.Open(f.path(file.name), true)
		}
		if err != nil {
			*file.to = nil
			return err
		}
		direct, err := disk.Direct(*file.to)
		if err != nil {
			return err
		}
		*file.to = direct
	}
	return nil
}

func (f *Flusher) path(name string) string { return filepath.Join(f.Dir, name) }

// Start begins to make rounds. cut is called in each with the gate closed: it
// completes the pages that describe the others (the superblock). done is called when
// the pages of the cut are in the data file.
func (f *Flusher) Start(log Log, cut func() (Cut, error), done func()) {
	f.log, f.cut, f.done = log, cut, done
	go f.run()
}

// Close makes a last round, unless the Flusher has stopped, and gives the arena
// back. No operation may be running. It returns what kept the last round from
// the disk.
func (f *Flusher) Close(ctx context.Context) error {
	var err error
	if f.log != nil {
		if !f.ReadOnly {
			err = f.Checkpoint(ctx)
		}
		close(f.quit)
		<-f.ended
		_ = f.Stop(errClosed) // no round will come for those who still wait
		if err == nil && !f.ReadOnly {
			err = f.journal.file.Sync() // that it was cleared, so that Open need not write it again
		}
	}
	return errors.Join(err, f.closeFiles())
}

func (f *Flusher) closeFiles() error {
	var errs []error
	if f.Pages != nil { // first: it waits for those who read pages
		errs = append(errs, f.Pages.Close())
	}
	f.inPlace.Lock() // a scrub sees that the Flusher has stopped before it reads on
	defer f.inPlace.Unlock()
	for _, file := range []disk.File{f.data, f.rounds.file, f.journal.file} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	errs = append(errs, f.rounds.close(), f.journal.close())
	return errors.Join(errs...)
}

// A Grant is what Begin gives to an operation, and End takes back.
type Grant struct {
	credits int
	extra   int // pages beyond what credits there can be for one
}

// Begin reserves credits for n pages, with room in the journal, and enters the gate:
// from here to End no cut is made. It is the store's journal_start: it may wait for a
// round, until ctx ends, and is slowed down when credits run short. It fails with
// disk.ErrNoSpace if the journal cannot be made large enough. shard spreads callers
// that differ in it over cache lines.
func (f *Flusher) Begin(ctx context.Context, n int, shard uint64) (Grant, error) {
	g := Grant{credits: f.credits.clamp(n)}
	g.extra = n - g.credits
	if g.extra > 0 {
		if err := f.growJournal(0, g.extra); err != nil {
			return Grant{}, err
		}
	}
	if err := f.takeCredits(ctx, g.credits); err != nil {
		if g.extra > 0 {
			f.endExtra(g.extra)
		}
		if err == errLessened {
			return f.Begin(ctx, n, shard)
		}
		return Grant{}, err
	}
	f.gate.enter(shard)
	if err := f.Err(); err != nil {
		f.End(g, shard)
		return Grant{}, err
	}
	return g, nil
}

// takeCredits takes n credits, and waits for them if it must.
func (f *Flusher) takeCredits(ctx context.Context, n int) error {
	c := &f.credits
	if c.take(n, c.unhurried()) {
		return nil
	}
	if c.limited(n) && f.growJournal(n, 0) == nil && c.take(n, c.unhurried()) {
		return nil
	}
	return f.awaitCredits(ctx, n)
}

// End leaves the gate and gives back what Begin returned: what became Dirty has
// taken its own.
func (f *Flusher) End(g Grant, shard uint64) {
	f.gate.leave(shard)
	if g.extra > 0 {
		f.endExtra(g.extra)
	}
	f.credits.give(g.credits)
}

// Shards is how many counters the gate has. Operations whose shards are the same modulo
// Shards share one.
const Shards = 16

// Busy tells whether an operation with such a shard is inside the gate; if it says no,
// what they had made visible before the call is whole.
func (f *Flusher) Busy(shard uint64) bool { return f.gate.slot(shard).inside.Load() != 0 }

// Exclusive runs fn with the gate closed: no operation is half done.
func (f *Flusher) Exclusive(fn func() error) error {
	f.gate.close()
	defer f.gate.open()
	return fn()
}

// Stop lets nothing more be written, because of cause. The first cause stays.
func (f *Flusher) Stop(cause error) error {
	f.stopped.CompareAndSwap(nil, &stopError{cause})
	f.credits.wake()
	f.waiters.wake()
	return f.Err()
}

// Err returns why the Flusher has stopped, or nil.
func (f *Flusher) Err() error {
	if e := f.stopped.Load(); e != nil {
		return e
	}
	return nil
}

// Kick asks for a round and does not wait for it.
func (f *Flusher) Kick() {
	f.asked.Store(true)
	f.look()
}

// look has the flusher see whether credits are low.
func (f *Flusher) look() {
	select {
	case f.kick <- struct{}{}:
	default: // one is asked for already
	}
}

// Checkpoint returns when a round that began after the call is in the data file:
// what was written before the call is recovered without the log.
func (f *Flusher) Checkpoint(ctx context.Context) error {
	round := f.waiters.next()
	f.Kick()
	return f.waiters.wait(ctx, round, f.Err)
}

// Shrink is Checkpoint that makes the files as short as they can be.
func (f *Flusher) Shrink(ctx context.Context) error {
	f.room.tight.Store(true)
	return f.Checkpoint(ctx)
}

// run makes rounds until Close, or until one fails.
func (f *Flusher) run() {
	defer close(f.ended)
	var tick <-chan time.Time
	if f.Interval > 0 {
		t := time.NewTicker(f.Interval)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-f.quit:
			return
		case <-tick:
		case <-f.kick:
			if !f.asked.Load() && !f.credits.low() {
				continue // the round before has given back what was missing
			}
		}
		f.asked.Store(false)
		if f.ReadOnly {
			continue
		}
		if f.Err() == nil {
			f.waiters.begin()
			if err := f.makeRound(); err != nil {
				f.Stop(err)
			}
		}
		f.waiters.end()
	}
}

// makeRound makes a round of what is in use, and shortens the files to that.
func (f *Flusher) makeRound() error {
	f.trim()
	tight := f.room.tight.Swap(false)
	pages, err := f.flush()
	if err != nil {
		return err
	}
	return f.shrink(int64(pages), tight)
}

// waiters are those who wait for a round.
type waiters struct {
	mu struct {
		sync.Mutex
		begun, ended uint64
		changed      chan struct{} // closed when a round has ended
	}
}

// next returns the number of the first round that has not begun.
func (w *waiters) next() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.begun + 1
}

func (w *waiters) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.begun++
}

func (w *waiters) end() {
	w.mu.Lock()
	w.mu.ended = w.mu.begun
	w.mu.Unlock()
	w.wake()
}

func (w *waiters) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.changed != nil {
		close(w.mu.changed)
		w.mu.changed = nil
	}
}

// wait returns when round has ended, or with the error of ctx or stopped.
func (w *waiters) wait(ctx context.Context, round uint64, stopped func() error) error {
	for {
		w.mu.Lock()
		ended := w.mu.ended >= round
		if w.mu.changed == nil {
			w.mu.changed = make(chan struct{})
		}
		changed := w.mu.changed
		w.mu.Unlock()
		if err := stopped(); err != nil {
			return err
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for a checkpoint: %w", ctx.Err())
		}
	}
}
