package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"faultline/internal/memdisk"
)

// A state is what a crash has left.
type state struct {
	fs      *memdisk.FS
	led     *ledger
	at      progress // the first batches must be found, from written to begun of them
	how     memdisk.Loss
	settled bool     // all that is there is durable
	trail   []string // the crashes
}

// crashOf returns what a crash before a frame of the film leaves.
func crashOf(f frame, how memdisk.Loss, rng *rand.Rand) *state {
	s := &state{led: f.led, at: f.at}
	return s.crash(f, how, rng)
}

// crash returns what a crash leaves before frame f, of the recovery of s.
func (s *state) crash(f frame, how memdisk.Loss, rng *rand.Rand) *state {
	odds := []int{1, 4, 7}[rng.IntN(3)]
	return &state{
		fs: f.fs.CrashOdds(how, odds, rng), led: s.led, at: s.at.after(how), how: how,
		settled: s.settled || how != memdisk.Kill,
		trail:   append(slices.Clip(s.trail), fmt.Sprintf("%v before %s", how, f.call)),
	}
}

// crashAgain is crash of a recovery that has found the first n batches, or was about
// to; ended tells that Open has returned, after which it must be these for ever.
// Before that it may be more the next time: the zeros of the cut may complete a
// record that was torn.
func (s *state) crashAgain(f frame, ended bool, n int, how memdisk.Loss, rng *rand.Rand) *state {
	next := s.crash(f, how, rng)
	switch {
	case ended:
		next.at, next.settled = progress{n, n, n}, true
	case s.settled || how == memdisk.Keep:
		next.at.durable, next.at.written = n, n
	case how == memdisk.Kill:
		next.at.written = n
	}
	return next
}

// check returns how many batches were found, if that is right.
func (s *state) check(found digest) (int, error) {
	return s.led.find(found, s.at.written, s.at.begun)
}

// A recovery is one Open.
type recovery struct {
	*explorer
	state  *state
	filmed bool
	rng    *rand.Rand

	mu      sync.Mutex // the log's helper may come to the hook
	film    film
	opened  int // the frame from which on Open had returned
	found   digest
	batches int // of which that is the contents
}

// run opens what a crash has left and checks it. What it films may go on to a Close.
func (r *recovery) run() error {
	m := r.state.fs
	if r.spoil != nil {
		r.spoil(m)
	}
	var over atomic.Bool
	if r.filmed {
		m.SetHook(func(op, path string) error {
			if !over.Load() {
				r.frame(op + " " + path)
			}
			return nil
		})
	}
	db, err := Open(filmDir, r.options(m))
	if err != nil {
		return err
	}
	defer r.leave(db)
	r.opened = len(r.film)
	if r.filmed {
		r.frame("anything else")
	}
	if r.found, err = digestOf(db); err == nil {
		r.batches, err = r.state.check(r.found)
	}
	if err == nil && r.rng.IntN(500) == 0 {
		err = r.verify(db)
	}
	switch {
	case err != nil:
	case r.filmed && r.rng.IntN(8) == 0:
		err = db.Close()
		r.frame("anything after Close")
	case !r.filmed && r.rng.IntN(50) == 0:
		err = r.goOn(db)
	}
	over.Store(true)
	return err
}

// leave kills a store, and counts what it has evicted.
func (r *recovery) leave(db *DB) {
	kill(db)
	r.explorer.mu.Lock()
	defer r.explorer.mu.Unlock()
	r.explorer.mu.count.evicted += evicted(db)
}

func (r *recovery) frame(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.film = append(r.film, frame{fs: r.state.fs.Crash(memdisk.Kill, nil), call: call})
}

func (r *recovery) verify(db *DB) error {
	if _, err := db.Verify(context.Background()); err != nil {
		return err
	}
	r.explorer.mu.Lock()
	defer r.explorer.mu.Unlock()
	r.explorer.mu.count.verified++
	return nil
}

// goOn writes to the store that was recovered and loses the power: what was there,
// and what was then acknowledged as durable, must be found.
func (r *recovery) goOn(db *DB) error {
	want := r.found
	for i := range 1 + r.rng.IntN(5) {
		key, value := fmt.Appendf(nil, "later%d", i), make([]byte, r.rng.IntN(900))
		if err := db.Put(key, value, Sync); err != nil {
			return fmt.Errorf("write %d after that: %w", i+1, err)
		}
		want.keys++
		want.sum += entryDigest(key, value)
	}
	if r.rng.IntN(3) == 0 {
		if err := db.Checkpoint(context.Background()); err != nil {
			return err
		}
	}
	again, err := Open(filmDir, r.options(r.state.fs.Crash(memdisk.Drop, nil)))
	if err != nil {
		return fmt.Errorf("after writes after that: %w", err)
	}
	defer r.leave(again)
	found, err := digestOf(again)
	if err == nil && found != want {
		err = fmt.Errorf("after writes after that: found %d keys, want %d", found.keys, want.keys)
	}
	r.explorer.mu.Lock()
	defer r.explorer.mu.Unlock()
	r.explorer.mu.count.wentOn++
	return err
}
