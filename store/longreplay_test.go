package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"faultline/internal/campaign"
)

// TestLongReplayed makes cuts while writes are kept beside their leaves, so that a
// replay begins before writes that the pages have: short writes over long values and
// the other way round, deletes, also of ranges, streamed values, batches with several writes to a key.
// After a crash the store must have what it had, also when rounds of the recovery came
// in the middle and another crash followed.
func TestLongReplayed(t *testing.T) {
	seed := campaign.Seed(t)
	behind, runs := 0, campaign.Scale(t, 4)
	if raceEnabled {
		runs = 1
	}
	for run := range runs {
		r := rand.New(rand.NewPCG(seed, uint64(run)))
		dir := t.TempDir()
		o := longOptions()
		db := open(t, dir, o)
		want := map[string]string{}
		key := func() string { return fmt.Sprintf("%0*d", 200, r.IntN(60)*100) } // some to a leaf
		for i := range 2000 {
			k, v := fmt.Sprintf("%0200d", i*3), fmt.Sprint(i)
			if err := db.Put([]byte(k), []byte(v), Deferred); err != nil {
				t.Fatal(err)
			}
			want[k] = v
		}
		for range 5 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, dir, o) // no leaf is in memory now
			for step := range 60 {
				var err error
				k, v := key(), longBytes(uint64(1000*run+step), r.IntN(40)*r.IntN(40)*10)
				switch r.IntN(9) {
				case 8:
					upper := key()
					if upper < k {
						k, upper = upper, k
					}
					if r.IntN(4) > 0 { // most are short, so that something is left
						upper = min(upper, fmt.Sprintf("%s%03d", k[:197], 300))
					}
					_, err = db.DeleteRange(t.Context(), []byte(k), []byte(upper), Deferred)
					maps.DeleteFunc(want, func(key, _ string) bool { return k <= key && key < upper })
				case 0:
					if err = db.flusher.Checkpoint(t.Context()); err == nil && db.super.lsn < db.super.through {
						behind++
					}
				case 1:
					err = db.PutReader(t.Context(), []byte(k), bytes.NewReader(v), -1, Deferred)
					want[k] = string(v)
				case 2:
					var b Batch
					for range 1 + r.IntN(5) {
						v := longBytes(uint64(step), r.IntN(2)*6000+r.IntN(100))
						if err = b.Put([]byte(k), v); err != nil {
							break
						}
						want[k] = string(v)
						if r.IntN(2) == 0 {
							k = key()
						}
					}
					if err == nil {
						_, err = db.Apply(&b, Deferred)
					}
				case 3:
					err = db.Delete([]byte(k), Deferred)
					delete(want, k)
				default:
					v = v[:min(len(v), r.IntN(500))]
					err = db.Put([]byte(k), v, Deferred)
					want[k] = string(v)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := db.WaitDurable(t.Context(), db.LSN()); err != nil {
				t.Fatal(err)
			}
			copied := crashed(t, db)
			for range 2 {
				again := open(t, copied, o)
				if got := contents(t, again); !maps.Equal(got, want) {
					t.Fatalf("run %d: %d keys, want %d, or with other values", run, len(got), len(want))
				}
				if err := again.flusher.Checkpoint(t.Context()); err != nil {
					t.Fatal(err)
				}
				copied = crashed(t, again)
			}
			if _, err := open(t, copied, o).Verify(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if behind == 0 {
		t.Error("no cut was made with writes kept beside leaves")
	}
	t.Logf("%d cuts behind the log", behind)
}
