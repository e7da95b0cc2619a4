package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
)

// TestAllocs counts what reads and writes of short entries allocate: nothing, once
// the tree has its pages and the log its buffers.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	o := smallOptions(false)
	o.MemoryBudget, o.DirtyBudget, o.LogBytes, o.SegmentBytes = 64<<20, 16<<20, 1<<30, 16<<20
	db := open(t, t.TempDir(), o)
	key, dst := []byte("key0000"), make([]byte, 0, 200)
	value := bytes.Repeat([]byte("v"), 100)
	next := func() { // without a box
		for i := len(key) - 1; ; i-- {
			if key[i]++; key[i] <= '9' {
				return
			}
			key[i] = '0'
		}
	}
	for range 5000 {
		next()
		if err := db.Put(key, value, Async); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"AppendGet", func() (err error) { dst, err = db.AppendGet(dst[:0], key); return err }},
		{"Has", func() error { _, err := db.Has(key); return err }},
		{"AppendGet of a missing key", func() error {
			_, err := db.AppendGet(dst[:0], value)
			if errors.Is(err, ErrNotFound) {
				err = nil
			}
			return err
		}},
		{"Put, Deferred", func() error { return db.Put(key, value, Deferred) }},
		{"Put, Async", func() error { return db.Put(key, value, Async) }},
	} {
		key = append(key[:0], "key0000"...)
		n := testing.AllocsPerRun(2000, func() {
			next()
			if err := c.do(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

// TestLimits puts entries at the limits of length and just beyond, singly and in
// batches, and finds those that are allowed again in the open store, after a crash
// and after Close.
func TestLimits(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, smallOptions(false))
	want := map[string]string{}
	for i, c := range []struct {
		key, value int
		err        error
	}{
		{1, 0, nil},
		{1, 1, nil},
		{1, MaxEntryBytes - 1, nil},
		{1, MaxEntryBytes, nil},
		{MaxKeyBytes, 0, nil},
		{MaxKeyBytes, MaxEntryBytes - MaxKeyBytes, nil},
		{MaxKeyBytes, MaxEntryBytes - MaxKeyBytes + 1, nil},
		{MaxKeyBytes + 1, 0, ErrTooLarge},
		{MaxKeyBytes - 1, MaxEntryBytes - MaxKeyBytes + 1, nil},
		{100, 1 << 20, nil},
		{0, 10, ErrEmptyKey},
		{2, MaxEntryBytes - 2, nil},
	} {
		key := bytes.Repeat([]byte{byte(i * 23)}, c.key)
		value := bytes.Repeat([]byte{byte(255 - i)}, c.value)
		err := db.Put(key, value, Sync)
		var b Batch
		if e := b.Put(key, value); !errors.Is(e, c.err) || (e == nil) != (c.err == nil) {
			t.Errorf("batch of key of %d, value of %d bytes: %v, want %v", c.key, c.value, e, c.err)
		}
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("key of %d, value of %d bytes: %v, want %v", c.key, c.value, err, c.err)
		}
		if (b.Len() == 1) != (err == nil) || (b.Bytes() > 0) != (err == nil) {
			t.Errorf("key of %d, value of %d bytes: batch of %d writes", c.key, c.value, b.Len())
		}
		if err == nil {
			want[string(key)] = string(value)
		}
	}
	wantSame(t, contents(t, db), want)
	wantSame(t, contents(t, open(t, crashed(t, db), smallOptions(false))), want)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wantSame(t, contents(t, open(t, dir, smallOptions(true))), want)
}

// TestBigBatch fills a Batch up to its limit and applies it, with a dirty budget
// that has room for it, and with one that a round must make room in: it must be
// there as a whole in the open store and after a crash. If the log is damaged
// where it has the batch, none of it may be there, unless a round came after it.
// A write that would take the batch past its limit is refused.
func TestBigBatch(t *testing.T) {
	t.Run("roomy", func(t *testing.T) { testBigBatch(t, 1<<30) })
	if !raceEnabled { // the detector takes ten times as long, and sees no arena
		t.Run("small", func(t *testing.T) { testBigBatch(t, 4<<20) })
	}
}

func testBigBatch(t *testing.T, dirtyBytes int64) {
	o := smallOptions(false)
	o.MemoryBudget, o.DirtyBudget, o.LogBytes, o.SegmentBytes = 4<<30, dirtyBytes, 1<<30, 16<<20
	db := open(t, t.TempDir(), o)
	before := map[string]string{}
	for i := range 500 {
		k := fmt.Sprintf("small%04d", i)
		before[k] = k
		if err := db.Put([]byte(k), []byte(k), Async); err != nil {
			t.Fatal(err)
		}
	}
	var b Batch
	var refused error
	want := maps.Clone(before)
	v := strings.Repeat("big", 1000)
	for i := 0; refused == nil; i++ {
		k := fmt.Sprintf("big%06d", i*7919%100000)
		if refused = b.Put([]byte(k), []byte(v)); refused == nil {
			want[k] = v
		}
	}
	if !errors.Is(refused, ErrTooLarge) || b.Bytes() > MaxBatchBytes || b.Bytes() < MaxBatchBytes-4000 {
		t.Fatalf("batch of %d bytes: %v", b.Bytes(), refused)
	}
	if _, err := db.Apply(&b, Sync); err != nil {
		t.Fatal(err)
	}
	wantSame(t, contents(t, db), want)
	copied := crashed(t, db)
	wantSame(t, contents(t, open(t, copyOf(t, copied), o)), want)

	torn := copyOf(t, copied)
	names := segments(t, torn)
	end := int64(db.LSN())
	edit(t, names[end/o.SegmentBytes-1], func(s []byte) []byte { clear(s[len(s)-100:]); return s })
	edit(t, torn+"/wal/tail", func(b []byte) []byte { clear(b); return b })
	ro := *o
	ro.ReadOnly = true
	switch found, err := readAll(torn, &ro); {
	case errors.Is(err, ErrCorrupt): // a later mark proves that it was there
	case err != nil:
		t.Error(err)
	case dirtyBytes > 2*MaxBatchBytes || len(found) < len(want): // no round, or none after it
		wantSame(t, found, before)
	default:
		wantSame(t, found, want)
	}
}

// TestFullBatch applies batches that need more room than there is, to a store that
// is nearly full: each must fail with ErrFull, and change nothing. Then deletes
// make room, and a batch fits.
func TestFullBatch(t *testing.T) {
	o := &Options{MemoryBudget: MinMemoryBudget, DirtyBudget: 1 << 20, CheckpointEvery: -1, pages: 1800}
	dir := t.TempDir()
	db := open(t, dir, o)
	want := map[string]string{}
	v := strings.Repeat("v", 2000)
	for i := range 2600 { // two a page of some 1800
		k := fmt.Sprintf("key%06d", i)
		if err := db.Put([]byte(k), []byte(v), Async); err != nil {
			t.Fatal(err)
		}
		want[k] = v
	}
	var b Batch
	for i := range 3000 {
		k := fmt.Sprintf("key%06d", i*3)
		if i%5 == 4 {
			if err := b.Delete([]byte(k)); err != nil {
				t.Fatal(err)
			}
		} else if err := b.Put([]byte(k), []byte("new"+v)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := db.Apply(&b, Sync); !errors.Is(err, ErrFull) {
			t.Fatalf("batch of %d bytes: %v", b.Bytes(), err)
		}
	}
	if n := db.Len(); n != uint64(len(want)) {
		t.Errorf("%d keys, want %d", n, len(want))
	}
	wantSame(t, contents(t, db), want)
	if _, err := db.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	for i := range 2000 {
		k := fmt.Sprintf("key%06d", i)
		if err := db.Delete([]byte(k), Async); err != nil {
			t.Fatal(err)
		}
		delete(want, k)
	}
	b.Reset()
	for i := range 200 {
		k := fmt.Sprintf("more%04d", i)
		if err := b.Put([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
		want[k] = v
	}
	if _, err := db.Apply(&b, Sync); err != nil {
		t.Fatalf("batch that fits: %v", err)
	}
	wantSame(t, contents(t, db), want)
	wantSame(t, contents(t, open(t, crashed(t, db), o)), want)
}

// TestFull has writers fill a store until nothing fits any more, and opens what a
// crash leaves: the log must fit again, whatever order the writers came in.
func TestFull(t *testing.T) {
	watchdog(t)
	o := &Options{MemoryBudget: MinMemoryBudget, DirtyBudget: 2 << 20, LogBytes: 1 << 30, CheckpointEvery: -1, pages: 1536}
	for seed := range 3 {
		db := open(t, t.TempDir(), o)
		var wg sync.WaitGroup
		var mu sync.Mutex
		want := map[string]string{}
		for g := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					k := fmt.Sprintf("%05d%d", (i*4+g)*(7919+2*seed)%100000, g)
					v := strings.Repeat("v", (i*97+g*31)%1500)
					err := db.Put([]byte(k), []byte(v), Async)
					if err == nil {
						mu.Lock()
						want[k] = v
						mu.Unlock()
						continue
					}
					if !errors.Is(err, ErrFull) {
						t.Error(err)
					}
					return
				}
			})
		}
		wg.Wait()
		wantSame(t, contents(t, db), want)
		again, err := Open(crashed(t, db), o)
		if err != nil {
			t.Fatalf("%d keys: %v", len(want), err)
		}
		wantSame(t, contents(t, again), want)
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		db.Close()
	}
}

// TestSmallBudget writes a log that is many times the dirty budget that it is
// recovered with: recovery must make rounds on the way, and find all.
func TestSmallBudget(t *testing.T) {
	watchdog(t)
	bothWays(t, func(t *testing.T, trapOnly bool) {
		big := &Options{MemoryBudget: 256 << 20, DirtyBudget: 64 << 20, LogBytes: 1 << 30, SegmentBytes: 1 << 20, CheckpointEvery: -1}
		db := open(t, t.TempDir(), big)
		want := map[string]string{}
		var b Batch
		for i := range 12000 {
			k := fmt.Sprintf("key%06d", i*7919%9000)
			v := value(uint64(i)) + strings.Repeat("w", 600)
			want[k] = v
			if err := b.Put([]byte(k), []byte(v)); err != nil {
				t.Fatal(err)
			}
			if b.Len() == 50 {
				if _, err := db.Apply(&b, Async); err != nil {
					t.Fatal(err)
				}
				b.Reset()
			}
		}
		if _, err := db.Apply(&b, Sync); err != nil {
			t.Fatal(err)
		}
		if n := db.Metrics().Flush.Rounds; n > 1 {
			t.Fatalf("%d rounds: the log is not needed", n)
		}
		small := &Options{MemoryBudget: 32 << 20, DirtyBudget: 1 << 20, CheckpointEvery: -1, TrapOnly: trapOnly}
		again := open(t, crashed(t, db), small)
		m := again.Metrics()
		if m.Flush.Rounds < 5 {
			t.Errorf("%d rounds during recovery", m.Flush.Rounds)
		}
		wantSame(t, contents(t, again), want)
		if _, err := again.Verify(context.Background()); err != nil {
			t.Error(err)
		}
		wantSame(t, contents(t, open(t, crashed(t, again), small)), want)
	})
}
