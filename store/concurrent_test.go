package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/memdisk"
)

// TestTraps compares what pages were made writable by a trap, and what by asking
// before, with what the next round wrote: in a store that only traps every page
// of the round was trapped for once, and none was asked for; in one that prepares
// it is the other way round. Audits run all the time.
func TestTraps(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		o := smallOptions(trapOnly)
		o.MemoryBudget, o.DirtyBudget, o.LogBytes = 64<<20, 16<<20, 1<<30 // no round but by Checkpoint
		db := open(t, t.TempDir(), o)
		var over atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for !over.Load() {
				if err := db.Audit(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
					t.Error(err)
					return
				}
				runtime.Gosched()
			}
		})
		c := crowd{{name: 0, ways: []Durability{Async}, noRanges: true}} // of pages that are free at the end none is written
		last := db.Metrics()
		for round := range 10 {
			for range 50 + round*50 {
				if err := c[0].apply(db, c[0].started.Load()+1); err != nil {
					t.Fatal(err)
				}
			}
			dirty := db.Metrics()
			if n := uint64(dirty.Pages.DirtyPages); n != dirty.Pages.MkwriteTraps+dirty.Pages.MkwritePrepared-last.Pages.MkwriteTraps-last.Pages.MkwritePrepared {
				t.Errorf("round %d: %d pages dirty: %+v, before %+v", round, n, dirty.Pages, last.Pages)
			}
			if err := db.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
			m := db.Metrics()
			pages := m.Flush.PagesWritten - last.Flush.PagesWritten
			traps := m.Pages.MkwriteTraps - last.Pages.MkwriteTraps
			prepared := m.Pages.MkwritePrepared - last.Pages.MkwritePrepared
			want := [2]uint64{0, pages}
			if trapOnly {
				want = [2]uint64{pages, 0}
			}
			if got := [2]uint64{traps, prepared}; got != want || pages == 0 || m.Pages.DirtyPages != 0 {
				t.Errorf("round %d of %d pages: by trap and prepared %d, want %d; dirty %d", round, pages, got, want, m.Pages.DirtyPages)
			}
			last = m
		}
		over.Store(true)
		wg.Wait()
	})
}

// TestRounds has many writers and some checkpoints, with nothing else that could
// start a round: there must be one for each checkpoint at most.
func TestRounds(t *testing.T) {
	watchdog(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // a writer is preempted wherever it is
	o := crowdOptions(memdisk.New(), false)
	o.MemoryBudget, o.DirtyBudget, o.LogBytes, o.room = 128<<20, 32<<20, 1<<30, 0
	db := open(t, t.TempDir(), o)
	rounds := db.Metrics().Flush.Rounds
	c := newCrowd(0)
	for i := range 8 {
		c = append(c, &writer{name: i, ways: []Durability{Deferred}})
	}
	const checkpoints = 100
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer over.Store(true)
		for range checkpoints {
			for goal := c.writes() + 200; c.writes() < goal; {
				runtime.Gosched()
			}
			if err := db.Checkpoint(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	if err := c.run(db, over.Load); err != nil {
		t.Error(err)
	}
	over.Store(true)
	wg.Wait()
	if n := db.Metrics().Flush.Rounds - rounds; n > checkpoints {
		t.Errorf("%d rounds for %d checkpoints", n, checkpoints)
	}
}

// TestStorm has 16 writers on a store that only traps, beside a loop of
// collections, one of audits, one of checkpoints, and a reader, on one, two and
// four processors. The world must not stand still, which the watchdog sees, and
// nothing may be lost: in memory, after a crash, and after Close.
func TestStorm(t *testing.T) {
	watchdog(t)
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			dir := t.TempDir()
			db := open(t, dir, crowdOptions(nil, true))
			c := newCrowd(0)
			for i := range 16 {
				c = append(c, &writer{name: i, ways: []Durability{Async, Deferred}})
			}
			var over atomic.Bool
			var wg sync.WaitGroup
			loop := func(fn func() error) {
				wg.Go(func() {
					for !over.Load() {
						if err := fn(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
							t.Error(err)
							return
						}
						runtime.Gosched()
					}
				})
			}
			loop(func() error { runtime.GC(); return nil })
			loop(db.Audit)
			loop(func() error {
				for item, err := range db.All() {
					if err != nil {
						return err
					}
					if len(item.Key) == 0 {
						return errors.New("key without bytes")
					}
				}
				return nil
			})
			loop(func() error {
				err := db.Checkpoint(context.Background())
				if m := db.Metrics(); c.writes() > 2000 && m.Flush.Rounds > 8 && m.Pages.Captured > 0 && m.Pages.Evicted > 0 {
					over.Store(true)
				}
				return err
			})
			if err := c.run(db, over.Load); err != nil {
				t.Error(err)
			}
			over.Store(true)
			wg.Wait()
			all := c.now(startedBy)
			if err := c.check(db, all, all); err != nil {
				t.Fatal(err)
			}
			if err := db.WaitWritten(db.LSN()); err != nil {
				t.Fatal(err)
			}
			copied := crashed(t, db)
			if err := c.reopenCheck(copied, crowdOptions(nil, false), all, all); err != nil {
				t.Fatalf("after a crash: %v", err)
			}
			for i, w := range c { // reopenCheck has written to the copy
				w.started.Store(all[i])
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.reopenCheck(dir, crowdOptions(nil, true), all, all); err != nil {
				t.Fatalf("after close: %v", err)
			}
			m := db.Metrics().Pages
			if m.MkwritePrepared != 0 || m.MkwriteTraps == 0 || m.Evicted == 0 {
				t.Errorf("%+v", m)
			}
			t.Logf("%d writes, %d traps to write, %d to load, %d pages evicted", all.sum(), m.MkwriteTraps, m.LoadTraps, m.Evicted)
		})
	}
}

// TestClose closes a store while everything that it can do is being done. Each
// call must end with what it is for or with ErrClosed, and all that was
// acknowledged must be there when the store is opened again.
func TestClose(t *testing.T) {
	watchdog(t)
	dir := t.TempDir()
	m := memdisk.New()
	c := newCrowd(6)
	for i := range 15 {
		o := crowdOptions(m, i%2 == 0)
		db, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.check(db, c.now(durableBy), c.now(startedBy)); err != nil {
			t.Fatalf("open %d: %v", i, err)
		}
		var wg sync.WaitGroup
		goal := c.writes() + 100 + uint64(i)*47
		until := func(what string, fn func() error) {
			wg.Go(func() {
				for {
					err := fn()
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, errors.ErrUnsupported) {
						t.Errorf("%s beside close: %v", what, err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		for _, w := range c {
			until("write", func() error { return w.apply(db, w.started.Load()+1) })
		}
		ctx := context.Background()
		until("checkpoint", func() error { return db.Checkpoint(ctx) })
		until("verify", func() error { _, err := db.Verify(ctx); return err })
		until("audit", db.Audit)
		until("get", func() error { _, err := db.Has([]byte("1/left")); return err })
		until("walk", func() error {
			for _, err := range db.All() {
				if err != nil {
					return err
				}
			}
			return nil
		})
		for c.writes() < goal {
			runtime.Gosched()
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for _, w := range c { // a write that got ErrClosed may have been made
			w.durable.Store(max(w.durable.Load(), w.written.Load()))
		}
		if t.Failed() {
			return
		}
	}
}

// TestFail lets one call to the file system fail, each in turn as far as a short
// run goes, while two writers, checkpoints and segments keep it busy. Open may
// fail, or the store stops and says so to whoever writes; it reads on. Opened
// again, everything is there that was acknowledged.
func TestFail(t *testing.T) {
	watchdog(t)
	errDisk := errors.New("the disk does not want to")
	stops := 0
	step := int64(1)
	if raceEnabled {
		step = 3
	}
	for k := int64(1); k < 140; k += step {
		dir := t.TempDir()
		m := memdisk.New()
		var calls atomic.Int64
		var failed atomic.Pointer[string]
		m.SetHook(func(op, path string) error {
			if calls.Add(1) == k {
				what := op + " " + path
				failed.Store(&what)
				return errDisk
			}
			return nil
		})
		o := crowdOptions(m, k%2 == 0)
		o.SegmentBytes = 8 << 10
		c := newCrowd(2)
		db, err := Open(dir, o)
		if err != nil {
			if !errors.Is(err, errDisk) {
				t.Fatalf("call %d, %s: open: %v", k, *failed.Load(), err)
			}
		} else {
			err = nil
			for i := 0; i < 120 && err == nil; i++ {
				w := c[i%2]
				if err = w.apply(db, w.started.Load()+1); err == nil && i%30 == 29 {
					err = db.Checkpoint(context.Background())
				}
			}
			switch {
			case err != nil:
				stops++
				if !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
					t.Fatalf("call %d, %s: %v", k, *failed.Load(), err)
				}
				for what, err := range map[string]error{
					"put":        db.Put([]byte("x"), nil, Deferred),
					"checkpoint": db.Checkpoint(context.Background()),
					"close":      db.Close(),
				} {
					if what == "close" && err == nil {
						t.Errorf("call %d, %s: close is content", k, *failed.Load())
					}
					if what != "close" && !errors.Is(err, ErrStopped) && !errors.Is(err, ErrClosed) {
						t.Errorf("call %d, %s: %s: %v", k, *failed.Load(), what, err)
					}
				}
			default: // what failed was not needed: a segment made ahead
				_ = db.Close()
			}
		}
		m.SetHook(nil)
		how := []memdisk.Loss{memdisk.Kill, memdisk.Drop}[k/2%2]
		left, least := m.Crash(how, nil), c.now(durableBy)
		if how == memdisk.Kill {
			least = c.now(writtenBy)
		}
		left.Settle()
		if err := c.reopenCheck(dir, crowdOptions(left, false), least, c.now(startedBy)); err != nil {
			t.Fatalf("call %d fails, %v: %v", k, how, err)
		}
	}
	if int64(stops) < 50/step {
		t.Errorf("stopped %d times", stops)
	}
}
