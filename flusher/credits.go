package flusher

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"faultline/internal/disk"
)

// Credits bound the memory of dirty pages, not correctness: a page that becomes
// Dirty takes one, and gives it back when its image is in the data file. An
// operation reserves as many as it may need before it enters the gate, so that
// nobody waits inside for what only a round can give (as journal_start comes
// before the page lock). A page that takes more than was foreseen overdraws.
type credits struct {
	total atomic.Int64
	used  atomic.Int64 // how many are out: more than total if they are overdrawn
	limit atomic.Int64 // how many of total the journal has room for, see UseRoom
	short atomic.Int64 // operations that wait for more
	hold  atomic.Bool  // see Hold
	owed  atomic.Int64 // nanoseconds of pauses that are due and not made
	naps  atomic.Bool  // somebody is in nap
	mu    struct {
		sync.Mutex
		more chan struct{} // closed when credits have been given back
	}
}

func (c *credits) init(total int) {
	c.total.Store(int64(total))
	c.limit.Store(int64(total))
}

// clamp bounds what one operation may reserve, so that two can run.
func (c *credits) clamp(n int) int { return min(n, int(c.total.Load()/2)) }

// lessen leaves total credits at most.
func (c *credits) lessen(total int) { c.total.Store(min(c.total.Load(), int64(total))) }

// take takes n credits if floor are left then, and the journal has room for all that
// are out. It never takes some and gives them back: another who fails meanwhile would
// wait for a wake-up that does not come.
func (c *credits) take(n int, floor int64) bool {
	for {
		used := c.used.Load()
		if used+int64(n) > min(c.total.Load()-floor, c.limit.Load()) {
			return false
		}
		if c.used.CompareAndSwap(used, used+int64(n)) {
			return true
		}
	}
}

// free is how many credits are left; it is negative if they are overdrawn.
func (c *credits) free() int64 { return c.total.Load() - c.used.Load() }

// limited tells that the journal has no room for n credits more.
func (c *credits) limited(n int) bool {
	limit := c.limit.Load()
	return limit < c.total.Load() && c.used.Load()+int64(n) > limit
}

// unhurried is what must be left so that nobody is slowed down.
func (c *credits) unhurried() int64 {
	if c.hold.Load() {
		return 0
	}
	return c.total.Load() / paceShare
}

func (c *credits) give(n int) {
	c.used.Add(-int64(n))
	if c.short.Load() > 0 {
		c.wake()
	}
}

// low tells that a round should start.
func (c *credits) low() bool { return !c.hold.Load() && c.free() < c.total.Load()/2 }

// Hold has no round start before somebody needs one, and slows nobody down until then; with
// false it ends that. It is for a recovery, which changes the same pages again and again,
// and beside which nobody writes.
func (f *Flusher) Hold(on bool) {
	f.credits.hold.Store(on)
	if f.credits.low() {
		f.look()
	}
}

func (c *credits) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.more != nil {
		close(c.mu.more)
		c.mu.more = nil
	}
}

func (c *credits) changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.more == nil {
		c.mu.more = make(chan struct{})
	}
	return c.mu.more
}

const (
	// paceShare is the part of all credits (a quarter) below which writers are
	// slowed down, so that they meet the end of them gradually.
	paceShare = 4
	// paceMax is the pause of one operation when there are no credits left.
	paceMax = 2 * time.Millisecond
	// paceLeast is the least pause that is made: a sleep takes some 60 us more than it
	// is for, and pauses of a few microseconds are due at first.
	paceLeast = 200 * time.Microsecond
)

// pace is how long an operation pauses that finds free of total credits: it
// grows with the square of what is missing of a quarter.
func pace(free, total int64) time.Duration {
	share := total / paceShare
	if free >= share || share == 0 {
		return 0
	}
	missing := float64(share-max(free, 0)) / float64(share)
	return time.Duration(missing * missing * float64(paceMax))
}

// owe adds a pause of d to those that are due, and returns how long the caller pauses:
// for all of them, or not at all.
func (c *credits) owe(d time.Duration) time.Duration {
	owed := c.owed.Add(int64(d))
	if owed < int64(paceLeast) || !c.owed.CompareAndSwap(owed, 0) {
		return 0 // or another pauses for both
	}
	return time.Duration(owed)
}

// pause sleeps for d. One goroutine at a time does so in nap, which is more exact and
// keeps its P: were there no other, who waits for the disk could not go on.
func (c *credits) pause(d time.Duration) {
	switch {
	case d <= 0:
	case runtime.GOMAXPROCS(0) > 1 && c.naps.CompareAndSwap(false, true):
		nap(d)
		c.naps.Store(false)
	default:
		time.Sleep(d)
	}
}

// Credits is how many there are now, taken or not: see Config.Lessen.
func (f *Flusher) Credits() int { return int(f.credits.total.Load()) }

// Stand returns when there are so many credits that n more, taken in the background,
// slow nobody down: three eighths are left then. Half used starts a round, so it goes
// on beside one for a while.
func (f *Flusher) Stand(ctx context.Context, n int) error {
	c := &f.credits
	c.short.Add(1)
	defer c.short.Add(-1)
	for {
		more := c.changed()
		if err := f.Err(); err != nil {
			return err
		}
		if total := c.total.Load(); c.free()-min(int64(n), total/8) >= total*3/8 {
			return nil
		}
		f.look()
		if err := await(ctx, more); err != nil {
			return err
		}
	}
}

// await returns when c has something to say, or with the error of ctx.
func await[T any](ctx context.Context, c <-chan T) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for dirty pages to be written: %w", ctx.Err())
	}
}

// errLessened tells that there are no longer so many credits that one operation may
// have as many as it waits for.
var errLessened = errors.New("fewer credits")

// awaitCredits takes n credits when they are short: it asks for a round, pauses,
// and waits as long as there are none.
func (f *Flusher) awaitCredits(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for dirty pages to be written: %w", err)
	}
	began := time.Now()
	defer func() { f.metrics.paced.Add(int64(time.Since(began))) }()
	f.Kick()
	c := &f.credits
	c.short.Add(1)
	defer c.short.Add(-1)
	c.pause(c.owe(pace(c.free()-int64(n), c.total.Load())))
	for {
		more := c.changed()
		if err := f.Err(); err != nil {
			return err
		}
		err := f.growJournal(n, 0)
		if c.take(n, 0) {
			return nil
		}
		if n > c.clamp(n) {
			return errLessened
		}
		// On a full disk a round can still make room, if the journal is not too short
		// even for these alone.
		if err != nil && (!disk.Full(err) || int64(n) > c.limit.Load()) {
			return err
		}
		f.Kick()
		if err := await(ctx, more); err != nil {
			return err
		}
	}
}
