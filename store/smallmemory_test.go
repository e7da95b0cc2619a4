package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/campaign"
	"faultline/pagemeta"
)

// A shared store is one for writers that own keys, and readers that know what a value
// may be: each has its key and a count in it, and the counts of a key only grow.
type shared struct {
	t    *testing.T
	db   *DB
	keys int
	over atomic.Bool

	made []atomic.Uint64 // by key: the last count that is known to be visible
}

func sharedKey(n int) []byte { return fmt.Appendf(nil, "%08d", n*2654435761%99_999_989) }

func (s *shared) value(n int, count uint64) []byte {
	v := binary.LittleEndian.AppendUint64(sharedKey(n), count)
	return append(v, bytes.Repeat([]byte{byte(count)}, int(count*131+uint64(n))%700)...)
}

// parse returns the count of a value, which must be whole and of its key.
func (s *shared) parse(n int, v []byte) (count uint64, err error) {
	if len(v) < 16 {
		return 0, fmt.Errorf("key %d: value of %d bytes", n, len(v))
	}
	if count = binary.LittleEndian.Uint64(v[8:]); !bytes.Equal(v, s.value(n, count)) {
		return 0, fmt.Errorf("key %d: value %.24x is not that of count %d", n, v, count)
	}
	return count, nil
}

// write has one writer of some put counts to its keys, at random.
func (s *shared) write(w, writers int) error {
	r := rand.New(rand.NewPCG(1, uint64(w)))
	for !s.over.Load() {
		n := r.IntN(s.keys/writers)*writers + w
		count := s.made[n].Load() + 1
		if err := s.db.Put(sharedKey(n), s.value(n, count), Deferred); err != nil {
			return err
		}
		s.made[n].Store(count)
	}
	return nil
}

// read gets keys at random: no count may be older than what was there before.
func (s *shared) read(seed uint64) error {
	r := rand.New(rand.NewPCG(2, seed))
	var v []byte
	for i := 0; !s.over.Load(); i++ {
		n := r.IntN(s.keys)
		least := s.made[n].Load()
		var err error
		if v, err = s.db.AppendGet(v[:0], sharedKey(n)); err != nil {
			return fmt.Errorf("key %d: %w", n, err)
		}
		count, err := s.parse(n, v)
		if err == nil && count < least {
			err = fmt.Errorf("key %d: count %d, it was %d before", n, count, least)
		}
		if err != nil {
			return err
		}
		if i%64 == 0 {
			runtime.Gosched()
		}
	}
	return nil
}

// scan walks over all keys, either way: each must be there, once.
func (s *shared) scan(back bool) error {
	it, err := s.db.NewIterator(nil)
	if err != nil {
		return err
	}
	first, next := it.First, it.Next
	if back {
		first, next = it.Last, it.Prev
	}
	seen := 0
	for ok := first(); ok && !s.over.Load(); ok = next() {
		seen++
	}
	if err := it.Close(); err != nil {
		return err
	}
	if seen != s.keys && !s.over.Load() {
		return fmt.Errorf("a scan came by %d keys of %d", seen, s.keys)
	}
	return nil
}

// TestSmallMemory has a store of many times the pages that it may have in memory, with
// the smallest budget: readers, writers, scans both ways, rounds and audits beside
// each other. No value may be torn, older than one that was there, or missing, in
// memory and after Close; there may not be more pages in memory than the budget has
// room for.
func TestSmallMemory(t *testing.T) {
	watchdog(t)
	bothWays(t, func(t *testing.T, trapOnly bool) {
		const writers = 4
		dir, keys := t.TempDir(), 40_000
		reads := uint64(campaign.Scale(t, 10_000)) // pages, until it is over
		if raceEnabled || trapOnly {
			keys, reads = keys/4, reads/4
		}
		o := &Options{MemoryBudget: MinMemoryBudget, DirtyBudget: 1 << 20, LogBytes: 2 << 20, TrapOnly: trapOnly}
		if trapOnly || raceEnabled {
			o.room = 400
		}
		db := open(t, dir, o)
		s := &shared{t: t, db: db, keys: keys, made: make([]atomic.Uint64, keys)}
		for n := range keys {
			if err := db.Put(sharedKey(n), s.value(n, 1), Deferred); err != nil {
				t.Fatal(err)
			}
			s.made[n].Store(1)
		}
		var wg sync.WaitGroup
		until := func(what string, fn func() error) {
			wg.Go(func() {
				defer s.over.Store(true)
				for !s.over.Load() {
					if err := fn(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
						t.Errorf("%s: %v", what, err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		for w := range writers {
			until("write", func() error { return s.write(w, writers) })
			until("read", func() error { return s.read(uint64(w)) })
		}
		until("scan", func() error { return s.scan(false) })
		until("scan back", func() error { return s.scan(true) })
		until("audit", db.Audit)
		most, room := 0, int(o.roomMemory()/pagemeta.PageBytes)
		until("checkpoint", func() error {
			m := db.Metrics().Pages
			if most = max(most, m.ResidentPages); m.Loads > reads+uint64(keys)/4 {
				s.over.Store(true)
			}
			return db.Checkpoint(context.Background())
		})
		wg.Wait()
		m := db.Metrics().Pages
		t.Logf("%d keys, room for %d pages, %d at most; %+v", keys, room, most, m)
		if most > room+2*writers+4 || m.Evicted == 0 { // each may be about to load one
			t.Errorf("%d pages in memory, room for %d: %+v", most, room, m)
		}
		if _, err := db.Verify(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, o)
		s.db = again
		for n := range keys {
			v, err := again.Get(sharedKey(n))
			if err != nil {
				t.Fatal(err)
			}
			if count, err := s.parse(n, v); err != nil || count != s.made[n].Load() {
				t.Fatalf("key %d: count %d, want %d, %v", n, count, s.made[n].Load(), err)
			}
		}
		if err := again.Audit(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	})
}
