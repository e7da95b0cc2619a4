package store

import (
	"fmt"
	"math"
	"testing"
)

// TestWarm has all pages of a store read as beside a replay, and as many bytes of log as
// it takes; less, or less memory, are the controls.
func TestWarm(t *testing.T) {
	dir := t.TempDir()
	o := smallOptions(false)
	o.MemoryBudget, o.room = 64<<20, 0
	db := open(t, dir, o)
	want := map[string]string{}
	for i := range 5000 {
		k := fmt.Sprintf("key%05d", i)
		want[k] = value(uint64(i))
		if err := db.Put([]byte(k), []byte(want[k]), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		bytes uint64
		room  int
		reads bool
	}{{"long log", math.MaxUint64, 0, true}, {"short log", 1, 0, false}, {"little memory", math.MaxUint64, 16, false}} {
		t.Run(c.name, func(t *testing.T) {
			o := *o
			o.room = c.room
			db := open(t, dir, &o)
			var w warmup
			w.replayed(db, c.bytes)
			w.readers.Wait()
			w.end()
			pages, resident := int64(db.super.tree.Used), db.flusher.Pages.Resident()
			if c.reads != (resident >= pages) {
				t.Errorf("%d pages of %d are in memory", resident, pages)
			}
			wantSame(t, contents(t, db), want)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
