//go:build linux

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"

	"faultline/store"
)

// A history is all that was ever written: batches 1, 2, ... Each follows from the
// seed, its number, and the life that made it: a life is what lies between two
// power cuts. So a batch that a cut took away is not like the one that a later life
// writes with its number, and cannot come back unseen.
//
// Each batch has an entry for its life: the first and the last batch of it.
type history struct {
	seed  uint64
	lives []span // by number; one that has written nothing is empty
}

// A span is the batches of a life, from first to last.
type span struct{ first, last uint64 }

// A change is one write of a batch.
type change struct {
	key   string
	value []byte // nil: deleted
}

const (
	lifePrefix = "life/"
	lifeEnd    = "life0" // behind all keys with the prefix

	keys      = 5000
	bigOneIn  = 40  // batches, one of which is big
	bigWrites = 250 // in it, at most
)

func lifeKey(life int) string { return fmt.Sprintf("%s%06d", lifePrefix, life) }

// batch returns what the batch n of a life changes, whose first batch was first.
func (h *history) batch(life int, first, n uint64) []change {
	rng := rand.New(rand.NewPCG(h.seed<<20+uint64(life), n))
	writes := 1 + rng.IntN(8)
	if rng.IntN(bigOneIn) == 0 {
		writes = 1 + rng.IntN(bigWrites)
	}
	changes := []change{{lifeKey(life), fmt.Append(nil, first, n)}}
	for range writes {
		id := rng.IntN(keys)
		c := change{key: fmt.Sprintf("key/%0*d", 4+id%40, id)}
		if rng.IntN(4) != 0 {
			c.value = randomValue(rng)
		}
		changes = append(changes, c)
	}
	return changes
}

// randomValue is mostly short.
func randomValue(rng *rand.Rand) []byte {
	length := rng.IntN(100)
	if rng.IntN(8) == 0 {
		length = rng.IntN(2000)
	}
	value := make([]byte, length)
	for i := range value {
		value[i] = byte(rng.Uint32())
	}
	return value
}

// find reads from the store which life has written what, and returns the number of
// the last batch.
func (h *history) find(db *store.DB) (last uint64, err error) {
	for item, err := range db.Range([]byte(lifePrefix), []byte(lifeEnd)) {
		if err != nil {
			return 0, err
		}
		var life int
		var s span
		if _, err := fmt.Sscanf(string(item.Key), lifePrefix+"%d", &life); err != nil {
			return 0, fmt.Errorf("key %q: %w", item.Key, err)
		}
		if _, err := fmt.Sscan(string(item.Value), &s.first, &s.last); err != nil {
			return 0, fmt.Errorf("%s: %q: %w", item.Key, item.Value, err)
		}
		if s.first != last+1 || s.last < s.first {
			return 0, fmt.Errorf("life %d wrote %d to %d, after %d", life, s.first, s.last, last)
		}
		for len(h.lives) < life {
			h.lives = append(h.lives, span{last + 1, last})
		}
		h.lives = append(h.lives, s)
		last = s.last
	}
	return last, nil
}

// compare compares the store, key by key, with what the batches of all lives make.
func (h *history) compare(db *store.DB) error {
	want := map[string][]byte{}
	for life, s := range h.lives {
		for n := s.first; n <= s.last; n++ {
			for _, c := range h.batch(life, s.first, n) {
				if c.value == nil {
					delete(want, c.key)
				} else {
					want[c.key] = c.value
				}
			}
		}
	}
	for item, err := range db.All() {
		if err != nil {
			return err
		}
		key := string(item.Key)
		value, ok := want[key]
		if !ok || string(value) != string(item.Value) {
			return fmt.Errorf("%q is %.40q, want %.40q (there: %t)", key, item.Value, value, ok)
		}
		delete(want, key)
	}
	for key := range maps.Keys(want) {
		return fmt.Errorf("%q is lost, and %d keys more", key, len(want)-1)
	}
	return nil
}
