package store

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
)

// A kept is what a key has.
type kept struct {
	value  string
	expiry time.Time
}

// TestLargeBatches applies batches of many writes to a store with memory for few of its
// pages, and to a map: keys in order and at random, behind all others, that come twice,
// that expire, deletes, long values, changes of expiry. The store crashes after some of
// them, also before the last one was acknowledged: then all of that is there or nothing.
func TestLargeBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 5))
	m, dir := memdisk.New(), t.TempDir()
	have := map[string]kept{}
	next := 0 // the first key behind all others
	beside := uint64(0)
	for life := range campaign.Scale(t, 40) {
		db, err := Open(dir, crowdOptions(m, life%2 == 0))
		if err != nil {
			t.Fatal(err)
		}
		before := have
		for range 1 + rng.IntN(8) {
			b, after := largeBatch(rng, have, &next)
			if _, err := db.Apply(b, Sync); err != nil {
				t.Fatal(err)
			}
			have, before = after, after
		}
		if rng.IntN(3) == 0 {
			var b *Batch
			b, have = largeBatch(rng, have, &next)
			if _, err := db.Apply(b, Deferred); err != nil {
				t.Fatal(err)
			}
		}
		beside += db.Metrics().Changes.Kept
		left := m.Crash(memdisk.Loss(rng.IntN(int(memdisk.NumLoss))), rng)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		m = left
		if db, err = Open(dir, crowdOptions(m, life%2 == 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Verify(context.Background()); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		found := contentOf(t, db)
		if maps.Equal(found, before) {
			have = before
		}
		if !maps.Equal(found, have) {
			t.Fatalf("life %d: %d keys that are not those of the last batch, %d, nor of the one before, %d", life, len(found), len(have), len(before))
		}
		if n := db.Len(); n != uint64(len(have)) {
			t.Fatalf("life %d: %d keys are counted, %d are there", life, n, len(have))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if beside == 0 {
		t.Error("no leaf was ever out of memory")
	}
}

// largeBatch makes a batch, and what there will be after it where there is have.
func largeBatch(rng *rand.Rand, have map[string]kept, next *int) (*Batch, map[string]kept) {
	b, have := &Batch{}, maps.Clone(have)
	keys := slices.Sorted(maps.Keys(have))
	at, kind := rng.IntN(len(keys)+1), rng.IntN(4)
	for i := range 2 + rng.IntN(400) {
		key := fmt.Sprintf("%06d", *next)
		switch {
		case kind == 0 || len(keys) == 0:
			*next += 1 + rng.IntN(3)
		case kind == 1: // neighbours
			key = keys[(at+i)%len(keys)]
		case kind == 2: // new ones between them
			key = fmt.Sprintf("%s.%03d", keys[at%len(keys)][:6], i)
		default:
			key = keys[rng.IntN(len(keys))]
		}
		value := make([]byte, rng.IntN(120))
		if rng.IntN(200) == 0 {
			value = make([]byte, 3000+rng.IntN(9000))
		}
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		var expiry time.Time
		if rng.IntN(4) == 0 {
			expiry = timeOf(1<<50 + rng.Uint64N(1000))
		}
		old, ok := have[key]
		var err error
		switch rng.IntN(12) {
		case 0, 1, 2:
			err = b.Delete([]byte(key))
			delete(have, key)
		case 3:
			err = b.SetExpiry([]byte(key), expiry)
			if ok {
				have[key] = kept{old.value, expiry}
			}
		default:
			err = b.PutExpiring([]byte(key), value, expiry)
			have[key] = kept{string(value), expiry}
		}
		if err != nil {
			panic(err)
		}
	}
	return b, have
}

// contentOf is what db has, by a walk, and by key.
func contentOf(t *testing.T, db *DB) map[string]kept {
	t.Helper()
	found := map[string]kept{}
	for item, err := range db.All() {
		if err != nil {
			t.Fatal(err)
		}
		value, err := db.Get(item.Key)
		if err != nil || string(value) != string(item.Value) {
			t.Fatalf("key %q has %.20q, the walk %.20q: %v", item.Key, value, item.Value, err)
		}
		expiry, err := db.Expiry(item.Key)
		if err != nil {
			t.Fatal(err)
		}
		found[string(item.Key)] = kept{string(value), expiry}
	}
	return found
}
