package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
)

// A hoard is a store on a disk that fills up, and what must be in it.
type hoard struct {
	t    *testing.T
	fs   *memdisk.FS
	opts *Options
	db   *DB
	want map[string]string
	seq  int
}

func newHoard(t *testing.T, rng *rand.Rand) *hoard {
	m := memdisk.New()
	m.Maps = rng.IntN(2) == 0
	h := &hoard{t: t, fs: m, want: map[string]string{}, opts: &Options{
		MemoryBudget:    64 << 20,
		DirtyBudget:     1<<20 + rng.Int64N(16<<20),
		LogBytes:        64 << 10 << rng.IntN(10),
		SegmentBytes:    []int64{16 << 10, 128 << 10, 1 << 20}[rng.IntN(3)],
		CheckpointEvery: -1,
		fs:              m,
	}}
	if rng.IntN(2) == 0 { // leaves are evicted, and changes are kept beside them
		h.opts.MemoryBudget, h.opts.DirtyBudget = MinMemoryBudget, 1<<20
	}
	h.db = open(t, "/d", h.opts)
	return h
}

// A hoarder writes keys of its own until it was refused some times.
type hoarder struct {
	db   *DB
	rng  *rand.Rand
	name string
	want map[string]string
}

// batch returns a batch, and what it makes of want.
func (w *hoarder) batch() (*Batch, map[string]string, error) {
	b, next := new(Batch), map[string]string{}
	for range 1 + w.rng.IntN(3)*w.rng.IntN(30) {
		key := fmt.Sprintf("%s%06d", w.name, w.rng.IntN(1_000_000))
		value := strings.Repeat(key, w.rng.IntN(500/len(key))+1)
		if err := b.Put([]byte(key), []byte(value)); err != nil {
			return nil, nil, err
		}
		next[key] = value
	}
	return b, next, nil
}

func (w *hoarder) fill(refusals int) error {
	for refused := 0; refused < refusals; {
		b, next, err := w.batch()
		if err != nil {
			return err
		}
		_, err = w.db.Apply(b, []Durability{Sync, Async, Deferred}[w.rng.IntN(3)])
		switch {
		case err == nil:
			maps.Copy(w.want, next)
		case !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrStopped):
			return fmt.Errorf("writer %s: %w", w.name, err)
		default:
			refused++
		}
	}
	return nil
}

// fill has several goroutines write until the disk is full.
func (h *hoard) fill(rng *rand.Rand) {
	h.t.Helper()
	var wg sync.WaitGroup
	var writers [3]*hoarder
	var errs [len(writers)]error
	for i := range writers {
		h.seq++
		writers[i] = &hoarder{h.db, rand.New(rand.NewPCG(rng.Uint64(), 1)), fmt.Sprintf("%c%d/", 'a'+i, h.seq), map[string]string{}}
		wg.Go(func() { errs[i] = writers[i].fill(4) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		h.t.Fatal(err)
	}
	for _, w := range writers {
		maps.Copy(h.want, w.want)
	}
}

// check compares the open store with what must be in it.
func (h *hoard) check() {
	h.t.Helper()
	wantSame(h.t, contents(h.t, h.db), h.want)
	if _, err := h.db.Verify(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// drain deletes one key in every, on a disk that has no block left.
func (h *hoard) drain(every int, rng *rand.Rand) {
	h.t.Helper()
	h.fs.SetQuota(h.fs.Used())
	var b Batch
	for key := range h.want {
		if rng.IntN(every) > 0 {
			continue
		}
		b.Reset()
		if err := b.Delete([]byte(key)); err != nil {
			h.t.Fatal(err)
		}
		if _, err := h.db.Apply(&b, Durability(rng.IntN(3))); err != nil {
			h.t.Fatalf("delete on a full disk: %v; checkpoint: %v", err, h.db.Checkpoint(h.t.Context()))
		}
		delete(h.want, key)
	}
	if err := h.db.Checkpoint(h.t.Context()); err != nil {
		h.t.Fatalf("checkpoint on a full disk: %v", err)
	}
}

// crash opens what a crash has left, on a disk that is full with it, and then on one
// that has room.
func (h *hoard) crash(how memdisk.Loss, rng *rand.Rand) (opened bool) {
	h.t.Helper()
	if err := h.db.WaitDurable(h.t.Context(), h.db.LSN()); err != nil {
		h.t.Fatal(err)
	}
	left := h.fs.Crash(how, rng)
	left.SetQuota(left.Used())
	o := *h.opts
	o.fs = left
	again, err := Open("/d", &o)
	if err == nil {
		wantSame(h.t, contents(h.t, again), h.want)
		kill(again)
	} else if !errors.Is(err, ErrNoSpace) {
		h.t.Fatalf("%v, opened on a full disk: %v", how, err)
	}
	left.SetQuota(0)
	again, err2 := Open("/d", &o)
	if err2 != nil {
		h.t.Fatalf("%v, opened after space was freed: %v; on the full disk: %v", how, err2, err)
	}
	wantSame(h.t, contents(h.t, again), h.want)
	if err := again.Close(); err != nil {
		h.t.Fatal(err)
	}
	return err == nil
}

// TestNoSpace fills disks up under stores, by several writers, at different places:
// when the log grows, the journal, or the data file. What is refused must leave no
// trace, deletes, a checkpoint and Compact must work with no block left, and there is
// room for puts then, if Compact has not given it away; once the disk is larger the
// store goes on, all without a restart. What a crash leaves in between must open, or say
// that it lacks space and open once there is some. Close needs no block.
func TestNoSpace(t *testing.T) {
	watchdog(t)
	seed := campaign.Seed(t)
	var opened, crashes, fills, refilled int
	var evicted uint64
	scale := 4
	if raceEnabled {
		scale = 2
	}
	for n := range campaign.Scale(t, scale) {
		rng := rand.New(rand.NewPCG(seed, uint64(n)))
		h := newHoard(t, rng)
		for range 3 {
			h.fs.SetQuota(h.fs.Used() + rng.Int64N(9<<20))
			h.fill(rng)
			h.check()
			h.drain(2, rng)
			h.check()
			for _, how := range []memdisk.Loss{memdisk.Kill, memdisk.Loss(rng.IntN(int(memdisk.NumLoss)))} {
				if crashes++; h.crash(how, rng) {
					opened++
				}
			}
			if rng.IntN(2) == 0 { // what it frees is gone at once
				if err := h.db.Compact(t.Context()); err != nil {
					t.Fatalf("compact on a full disk: %v", err)
				}
				h.fs.SetQuota(h.fs.Used())
			}
			before := len(h.want)
			h.fill(rng) // into what was deleted
			h.check()
			if fills++; len(h.want) > before {
				refilled++
			}
		}
		evicted += h.db.Metrics().Pages.Evicted
		h.fs.SetQuota(h.fs.Used())
		if err := h.db.Close(); err != nil {
			t.Fatalf("close on a full disk: %v", err)
		}
		h.db = open(t, "/d", h.opts)
		h.check()
	}
	t.Logf("%d full disks; %d times there was room after deletes; %d of %d stores opened without a free block; %d pages evicted",
		fills, refilled, opened, crashes, evicted)
	if fills >= 20 && (refilled < fills/4 || opened < crashes/2) {
		t.Error("that is too seldom")
	}
}
