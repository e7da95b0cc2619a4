//go:build linux && (amd64 || arm64)

package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"faultline/internal/campaign"
	"faultline/store"
)

// smallMemory gives kvd the least memory that it takes.
var smallMemory = []string{"--memory", fmt.Sprint(store.MinMemoryBudget)}

const manyClients = 4

// manyKeys, of manyClients, are more than 20 MiB of data. Most of the values are short
// enough to be kept beside a leaf, and a few have pages of their own.
var manyKeys = shape{keys: 11_000, valueBytes: 400, longBytes: 20_000, reads: true}

// newLargeOrigin makes a store with all keys of so many clients, and closes it.
func newLargeOrigin(t *testing.T, clients int, seed uint64) *origin {
	t.Helper()
	o := &origin{dir: filepath.Join(t.TempDir(), "large"), shape: manyKeys}
	db, err := store.Open(o.dir, &store.Options{MemoryBudget: 128 << 20, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newClients(clients, o.shape, rand.New(rand.NewPCG(seed, 4))) {
		for n := range c.keys {
			c.acked[c.keyOf(n)] = c.value()
		}
		o.acked = append(o.acked, c.acked)
		putAll(t, db, c.acked)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// putAll puts what is in m.
func putAll(t *testing.T, db *store.DB, m map[string]string) {
	t.Helper()
	var b store.Batch
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(m)), 200) {
		b.Reset()
		for _, key := range keys {
			if err := b.Put([]byte(key), []byte(m[key])); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Apply(&b, store.Deferred); err != nil {
			t.Fatal(err)
		}
	}
}

// inPlay are what INFO has of stores that are larger than memory.
var inPlay = []string{"store_pages_loads", "store_pages_evicted", "store_changes_kept", "store_changes_taken_in"}

// played checks that each of inPlay was in play, least times or more.
func played(t *testing.T, did map[string]int, least int) {
	t.Helper()
	for _, name := range inPlay {
		if did[name] < least {
			t.Errorf("%s: %d, want %d at least: the store was not larger than its memory", name, did[name], least)
		}
	}
}

// TestKillSmallMemory is TestKill with several times as much data as kvd may have in
// memory: so that pages are evicted and loaded, and writes are kept beside leaves and
// merged, when the kill comes, and in the recovery.
func TestKillSmallMemory(t *testing.T) {
	from := newLargeOrigin(t, manyClients, campaign.Seed(t))
	async := []string{"--appendfsync", "no"}
	merging := []string{"--log-bytes", "64KiB"} // for otherwise the change buffer must be full
	variants := []struct {
		name  string
		procs int
		flags []string
		most  int64 // pipelines
	}{
		{"sync-merging/P=4", 4, merging, 400},
		{"async-merging/P=1", 1, slices.Concat(async, merging), 400},
		{"sync/P=1", 1, nil, 2000},
		{"async/P=4", 4, async, 2000},
		{"trap-merging/P=4", 4, slices.Concat(merging, []string{"--trap-only"}), 400},
	}
	for i, v := range variants {
		n := 2 * share(campaign.Scale(t, 2), i, len(variants))
		if n == 0 {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if err := from.copyTo(dir); err != nil {
				t.Fatal(err)
			}
			rng := newRand(t)
			did := killLoop(t, dir, v.procs, slices.Concat(smallMemory, v.flags), from.clients(rng.Uint64()), n, v.most/3, v.most, rng, inPlay...)
			t.Logf("%d rounds; before the kills %v", n, did)
			played(t, did, 50*n)
		})
	}
}
