package store

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
)

func never() bool { return false }

// filmSteps is how many things a film has: some hundred calls.
const filmSteps = 60

// statesOfFilm is about how many states explore visits in the longest film, with every
// 1.
const statesOfFilm = 20000

// TestExplore films runs of a whole store on memdisk: batches of all durabilities,
// rounds with writes in the middle, Compact, new, recycled and removed segments, Close, kill
// and Open again. It crashes each run before every call, with every loss, recovers,
// crashes the recovery, and once more. What is found must be the state after exactly
// the first n batches, n not less than what was acknowledged and not more than what
// was begun. What a recovery has found that was cut off, the next must find, if the
// disk had it; what one has returned, all others must find, and nothing else.
// TestLedger and TestExploreControl show what would be noticed.
func TestExplore(t *testing.T) {
	seed, goal := campaign.Seed(t), campaign.Scale(t, 25000)
	if raceEnabled {
		goal = max(1, goal/8)
	}
	every := max(1, (len(manners)*statesOfFilm+goal-1)/goal) // each manner has its turn
	began := time.Now()
	x, frames, films, cuts, gone := newExplorer(manner{}), 0, 0, 0, uint64(0)
	for ; x.mu.count.total() < goal && !x.violated(); films++ {
		x.manner = manners[films%len(manners)]
		d := newDirector(x.manner, seed+uint64(films))
		if err := d.shoot(filmSteps); err != nil {
			t.Fatalf("film %d, %v: %v", films, x.manner, err)
		}
		f := d.end()
		frames += len(f)
		gone += d.evicted
		for i := range f {
			if f[i].call == "truncate "+filmDir+"/data" {
				cuts++
			}
		}
		x.forget()
		x.explore(f, every, seed+uint64(films), never)
		if films%10 == 9 {
			t.Logf("%v: %v", time.Since(began).Round(time.Second), &x.mu.count)
		}
	}
	t.Logf("%v, from %d calls in %d films, in which %d pages were evicted and the data file was cut short %d times; %d violations, %v",
		&x.mu.count, frames, films, gone, cuts, len(x.mu.violations), time.Since(began).Round(time.Second))
	for i, v := range x.mu.violations {
		if i < 10 {
			t.Error(v)
		}
	}
	if err := x.mu.count.complete(); err != nil && goal > 1000 {
		t.Error(err)
	}
	if gone == 0 || x.mu.count.evicted == 0 {
		t.Errorf("%d pages were evicted in films, %d in recoveries", gone, x.mu.count.evicted)
	}
}

// TestExploreControl is TestExplore on disks that lie and with recoveries that are
// wrong: each must be noticed. A lie is a sync that does nothing, of each kind of
// file or directory that a film has synced. That of the tail file is left out: it
// matters only to a record that ends where one begins that was cut (see
// wal.TestTailCleared).
func TestExploreControl(t *testing.T) {
	seed := campaign.Seed(t)
	for _, w := range []manner{{mapped: true, alone: true}, {alone: true}} {
		for _, lie := range synced(t, w, seed) {
			if lie == filmDir+"/wal/tail" {
				continue
			}
			w.lies = lie
			noticed(t, fmt.Sprintf("%v, syncs of %s do nothing", w, lie), newExplorer(w), seed)
		}
	}
	x := newExplorer(manner{mapped: true, alone: true})
	x.spoil = func(m *memdisk.FS) { m.Put(filmDir+"/journal", nil) }
	noticed(t, "recovery without the journal", x, seed)
	x = newExplorer(manner{mapped: true, alone: true})
	x.spoil = func(m *memdisk.FS) { m.Put(filmDir+"/wal/tail", nil) }
	noticed(t, "recovery without the tail of the log", x, seed)
}

// synced returns patterns for all that a film syncs: numbers in names are left out.
func synced(t *testing.T, w manner, seed uint64) (patterns []string) {
	d := newDirector(w, seed)
	if err := d.shoot(filmSteps); err != nil {
		t.Fatal(err)
	}
	for _, f := range d.end() {
		op, path, _ := strings.Cut(f.call, " ")
		if op == "sync" || op == "syncdir" {
			patterns = append(patterns, number.ReplaceAllString(path, "*"))
		}
	}
	slices.Sort(patterns)
	return slices.Compact(patterns)
}

var number = regexp.MustCompile("[0-9a-f]{16}")

// noticed looks for a violation, for as long as it takes up to a limit.
func noticed(t *testing.T, what string, x *explorer, seed uint64) {
	t.Helper()
	for film := uint64(0); film < 8 && !x.violated(); film++ {
		d := newDirector(x.manner, seed+film)
		err := d.shoot(filmSteps)
		f := d.end()
		if err != nil {
			t.Logf("%s: the film: %v", what, err)
			return
		}
		x.forget()
		x.explore(f, 1, seed+film, x.violated)
	}
	if !x.violated() {
		t.Errorf("%s: not noticed in %d states", what, x.mu.count.total())
		return
	}
	t.Logf("%s: after %d states, %v", what, x.mu.count.total(), x.mu.violations[0])
}
