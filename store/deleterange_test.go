package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
)

// TestDeleteRange deletes ranges of all widths from stores that have all of their keys in
// memory, or few, between other writes, with some values long; what is found must be the
// map's, also after a kill, and verify.
func TestDeleteRange(t *testing.T) {
	for _, room := range []int{0, 40} {
		bothWays(t, func(t *testing.T, trapOnly bool) {
			rng := rand.New(rand.NewPCG(campaign.Seed(t), uint64(room)))
			o := smallOptions(trapOnly)
			o.room = room
			dir := t.TempDir()
			db, want := open(t, dir, o), map[string]string{}
			key := func() string { return fmt.Sprintf("key%05d", rng.IntN(5000)) }
			for range campaign.Scale(t, 8) {
				for range 1000 {
					k, v := key(), strings.Repeat("v", rng.IntN(300))
					if rng.IntN(100) == 0 {
						v = strings.Repeat("long", 1500+rng.IntN(5000))
					}
					if err := db.Put([]byte(k), []byte(v), Deferred); err != nil {
						t.Fatal(err)
					}
					want[k] = v
				}
				for range 6 {
					lower, upper := key(), key()
					if rng.IntN(4) > 0 {
						upper = fmt.Sprintf("%s~", lower[:5+rng.IntN(4)])
					}
					n := len(want)
					maps.DeleteFunc(want, func(k, _ string) bool { return lower <= k && k < upper })
					deleted, err := db.DeleteRange(t.Context(), []byte(lower), []byte(upper), Durability(rng.IntN(3)))
					if err != nil || int(deleted) != n-len(want) {
						t.Fatalf("from %s to %s: %d keys, %v; want %d", lower, upper, deleted, err, n-len(want))
					}
				}
				wantSame(t, contents(t, db), want)
				if err := db.WaitWritten(db.LSN()); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(2) == 0 {
					if err := db.Checkpoint(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				again := open(t, crashed(t, db), o)
				wantSame(t, contents(t, again), want)
				if _, err := again.Verify(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := db.DeleteRange(t.Context(), nil, nil, Sync); err != nil || int(n) != len(want) {
				t.Fatalf("all: %d, %v, want %d", n, err, len(want))
			}
			if n := db.Len(); n != 0 {
				t.Fatalf("%d keys are left", n)
			}
			if _, err := db.Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestDeleteRangeErrors has ranges that cannot be deleted, and those in which nothing is.
func TestDeleteRangeErrors(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	for i := range 10_000 {
		if err := db.Put(fmt.Appendf(nil, "key%05d", i), make([]byte, 200), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	long := bytes.Repeat([]byte{'k'}, MaxKeyBytes+1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name         string
		ctx          context.Context
		lower, upper []byte
		want         error
	}{
		{"lower too long", t.Context(), long, nil, ErrTooLarge},
		{"upper too long", t.Context(), nil, long, ErrTooLarge},
		{"context", ended, nil, nil, context.Canceled},
		{"upper first", t.Context(), []byte("key2"), []byte("key1"), nil},
		{"empty", t.Context(), []byte("key2"), []byte("key2"), nil},
		{"no key may be less than none", t.Context(), nil, []byte{}, nil},
		{"between two keys", t.Context(), []byte("key00002a"), []byte("key00003"), nil},
		{"behind all", t.Context(), long[:MaxKeyBytes], nil, nil},
	} {
		if n, err := db.DeleteRange(c.ctx, c.lower, c.upper, Sync); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v, want %v", c.name, n, err, c.want)
		}
	}
	if n := db.Len(); n != 10_000 {
		t.Errorf("%d keys are left", n)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := db.DeleteRange(t.Context(), nil, nil, Sync); n != 0 || !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %d, %v", n, err)
	}
}

// TestDeleteRangeLocked stops a step that has changed the tree and waits for room in the
// log, and has somebody put a key of the range meanwhile: that must wait, so that the
// log has both in the order of the tree. It is TestSameKey for ranges.
func TestDeleteRangeLocked(t *testing.T) {
	watchdog(t)
	m := memdisk.New()
	o := crowdOptions(m, false)
	o.logBuffer, o.noHelper = 4096, true
	db := open(t, "/d", o)
	full, room := holdLog(m)
	var wg sync.WaitGroup
	lower, upper := bytes.Repeat([]byte("a"), 900), bytes.Repeat([]byte("z"), 900)
	put := func(value string) {
		if err := db.Put([]byte("key"), []byte(value), Deferred); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() {
		for range 4 { // one finds the log full
			put("first")
			if _, err := db.DeleteRange(context.Background(), lower, upper, Deferred); err != nil {
				t.Error(err)
			}
		}
	})
	<-full
	var over atomic.Bool
	wg.Go(func() {
		put("second")
		over.Store(true)
	})
	for i := 0; i < 100_000 && !over.Load(); i++ {
		runtime.Gosched()
	}
	if over.Load() {
		t.Error("a write to a key of the range did not wait")
	}
	close(room)
	wg.Wait()
	if err := db.WaitWritten(db.LSN()); err != nil {
		t.Fatal(err)
	}
	want := contents(t, db)
	left := *o
	left.fs = m.Crash(memdisk.Kill, nil)
	wantSame(t, contents(t, open(t, "/d", &left)), want)
}
