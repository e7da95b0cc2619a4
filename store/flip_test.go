package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// sectorBytes is what a disk reads, writes and loses as a whole.
const sectorBytes = 512

// A damage is a change of a file that no crash makes.
type damage struct {
	kind string
	file string
	at   int    // the byte, or where with goes
	mask byte   // of the bit that is flipped, or 0
	with []byte // what is there instead

	at2   int // where with2 goes
	with2 []byte

	lost bool  // the file is cut off
	size int64 // there; below zero it is removed
}

func (d damage) String() string {
	switch {
	case d.lost:
		return fmt.Sprintf("%s: %s, %d bytes left", d.kind, d.file, d.size)
	case d.mask != 0:
		return fmt.Sprintf("%s: %s at byte %d, mask %#02x", d.kind, d.file, d.at, d.mask)
	}
	return fmt.Sprintf("%s: %s at byte %d, %d bytes", d.kind, d.file, d.at, len(d.with))
}

// do makes the damage, durably.
func (d damage) do(m *memdisk.FS) error {
	path := filepath.Join(victimDir, d.file)
	if d.lost && d.size < 0 {
		m.Put(path, nil)
		return nil
	}
	f, err := m.Open(path, false)
	if err != nil {
		return err
	}
	if d.lost {
		err = f.Truncate(d.size)
	} else {
		err = d.overwrite(f)
	}
	m.Settle()
	return err
}

func (d damage) overwrite(f disk.File) error {
	with := d.with
	if d.mask != 0 {
		with = make([]byte, 1)
		if _, err := f.ReadAt(with, int64(d.at)); err != nil {
			return err
		}
		with[0] ^= d.mask
	}
	_, err := f.WriteAt(with, int64(d.at))
	if err == nil && d.with2 != nil {
		_, err = f.WriteAt(d.with2, int64(d.at2))
	}
	return err
}

// flips draws n bits of the sectors of the victim's files that are not zero, or has
// all of them, and n/100 of the zeros.
func flips(v *victim, rng *rand.Rand, n int) (drawn []damage) {
	var spots []place
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		im := v.files[name]
		for at := range im.data {
			from := at / sectorBytes * sectorBytes
			if !blank(im.data[from:min(from+sectorBytes, len(im.data))]) {
				spots = append(spots, place{name, at})
			}
		}
		for range n / 100 / len(v.files) {
			drawn = append(drawn, flip(place{name, int(rng.Int64N(im.size))}, rng.IntN(8)))
		}
	}
	for i, bit := range rng.Perm(8 * len(spots)) {
		if i == n {
			break
		}
		drawn = append(drawn, flip(spots[bit/8], bit%8))
	}
	return drawn
}

func flip(p place, bit int) damage {
	return damage{kind: "bit", file: p.file, at: p.at, mask: 1 << bit}
}

// pieces are changes of n bytes, a sector or a page: each zeroed, changed with each
// other one of its file, and replaced by what it was before.
func pieces(v *victim, unit string, n int) (all []damage) {
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		data := v.files[name].data
		for at := 0; at+n <= len(data); at += n {
			here := data[at : at+n]
			if !blank(here) {
				all = append(all, damage{kind: unit + " zeroed", file: name, at: at, with: make([]byte, n)})
			}
			for at2 := at + n; at2+n <= len(data); at2 += n {
				if there := data[at2 : at2+n]; !bytes.Equal(here, there) {
					all = append(all, damage{kind: unit + " swapped", file: name, at: at, with: there, at2: at2, with2: here})
				}
			}
			for _, was := range v.before(name, at, n) {
				all = append(all, damage{kind: unit + " of before", file: name, at: at, with: was})
			}
		}
	}
	return all
}

// losses are files removed, emptied, and cut in their middle.
func losses(v *victim) (all []damage) {
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		all = append(all,
			damage{kind: "removed", file: name, lost: true, size: -1},
			damage{kind: "emptied", file: name, lost: true},
			damage{kind: "cut short", file: name, lost: true, size: int64(len(v.files[name].data) / 2)})
	}
	return all
}

// A verdict is what came of a damage.
type verdict int

const (
	right     verdict = iota // all is there, and right
	reported                 // an error with file and offset; what was read is right
	elsewhere                // the same with another file or a later offset than that of the damage
	refused                  // an error that says what the directory, or its version, is not
	cut                      // the end of the log that was never synced is gone
	unclear                  // another error
	silent                   // something is missing or wrong, and no error says so
	panicked
	numVerdicts
)

func (v verdict) String() string {
	return [...]string{"right", "reported", "elsewhere", "refused", "cut", "unclear", "silent", "panicked"}[v]
}

// A reading is what a store gave, by each way of reading.
type reading struct {
	errs     []error
	unread   map[string]bool // keys whose Get failed
	got      map[string]string
	forward  walk
	backward walk
	len      uint64
}

// A walk is what an iterator has come to, and whether it came to the end.
type walk struct {
	items []string
	whole bool
}

// read reads all that db has.
func read(db *DB) (r reading) {
	r.unread, r.got, r.len = map[string]bool{}, map[string]string{}, db.Len()
	for i := range victimKeys {
		k := victimKey(i)
		switch v, err := db.Get([]byte(k)); {
		case err == nil:
			r.got[k] = string(v)
		case !errors.Is(err, ErrNotFound):
			r.unread[k] = true
			r.errs = append(r.errs, err)
		}
	}
	r.forward = r.walk(db, (*Iterator).First, (*Iterator).Next)
	r.backward = r.walk(db, (*Iterator).Last, (*Iterator).Prev)
	return r
}

func (r *reading) walk(db *DB, first, next func(*Iterator) bool) (w walk) {
	it, err := db.NewIterator(nil)
	if err != nil {
		r.errs = append(r.errs, err)
		return w
	}
	for ok := first(it); ok; ok = next(it) {
		w.items = append(w.items, string(it.Key())+"="+string(it.Value()))
	}
	if err := it.Close(); err != nil {
		r.errs = append(r.errs, err)
		return w
	}
	w.whole = true
	return w
}

// differs says where what was read, errors left out, is not want; "" is nowhere.
func (r *reading) differs(want map[string]string) string {
	for i := range victimKeys {
		k := victimKey(i)
		v, ok := want[k]
		if got, found := r.got[k]; !r.unread[k] && (got != v || found != ok) {
			return fmt.Sprintf("get %s: %.20q, %t, want %.20q, %t", k, got, found, v, ok)
		}
	}
	items := sortedItems(want)
	if !r.forward.of(items) {
		return fmt.Sprintf("forward: %d keys, want %d", len(r.forward.items), len(items))
	}
	slices.Reverse(items)
	if !r.backward.of(items) {
		return fmt.Sprintf("backward: %d keys, want %d", len(r.backward.items), len(items))
	}
	if r.len != uint64(len(want)) && len(r.errs) == 0 { // what is beside a leaf that cannot be read is not counted
		return fmt.Sprintf("length %d, want %d", r.len, len(want))
	}
	return ""
}

// of tells whether w is items, or begins as they do if it ended with an error.
func (w walk) of(items []string) bool {
	return len(w.items) <= len(items) && slices.Equal(w.items, items[:len(w.items)]) &&
		(!w.whole || len(w.items) == len(items))
}

// patience is how long one damage may take to be tried; a millisecond is usual, but
// the machine may have much else to do.
const patience = 5 * time.Minute

// A watch ends the process if a damage makes the store hang, and says which.
type watch struct {
	trial atomic.Pointer[string]
	timer *time.Timer
}

func newWatch() *watch {
	w := new(watch)
	w.timer = time.AfterFunc(patience, func() {
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		panic("hangs: " + *w.trial.Load())
	})
	w.timer.Stop()
	return w
}

// try damages a copy of the victim, opens it, and reads all that is there. If again
// is set it writes then, closes, and reads once more.
func (v *victim) try(w *watch, d damage, again bool) (came verdict, err error) {
	text := v.name + ", " + d.String()
	w.trial.Store(&text)
	w.timer.Reset(patience)
	defer func() {
		w.timer.Stop()
		if r := recover(); r != nil {
			came, err = panicked, fmt.Errorf("%v\n%s", r, debug.Stack())
		}
	}()
	m := v.fs.Crash(memdisk.Kill, nil)
	m.Maps = again
	if err := d.do(m); err != nil {
		return unclear, err
	}
	return v.judge(d, m, again)
}

func (v *victim) judge(d damage, m *memdisk.FS, again bool) (verdict, error) {
	db, err := Open(victimDir, victimOptions(m))
	if err != nil {
		return d.report(err)
	}
	defer db.Close()
	r := read(db)
	which := slices.IndexFunc(v.want, func(want map[string]string) bool { return r.differs(want) == "" })
	if which < 0 {
		return silent, fmt.Errorf("%s (errors: %w)", r.differs(v.want[0]), errors.Join(r.errs...))
	}
	if len(r.errs) > 0 {
		return d.report(r.errs[0])
	}
	if again {
		if came, err := d.goOn(db, m, v.want[which]); came != right {
			return came, err
		}
	} else if err := db.Close(); err != nil {
		return d.report(err)
	}
	if which > 0 {
		return cut, nil
	}
	return right, nil
}

// goOn makes writes everywhere, closes the store, and reads it.
func (d damage) goOn(db *DB, m *memdisk.FS, had map[string]string) (verdict, error) {
	want := maps.Clone(had)
	for i := range victimKeys {
		k := victimKey(i)
		if i%3 == 0 {
			delete(want, k)
		} else {
			want[k] = strings.Repeat("again ", i)
		}
		if err := putOrDelete(db, k, want, Async); err != nil {
			return d.report(err)
		}
	}
	if err := db.Close(); err != nil {
		return d.report(err)
	}
	db, err := Open(victimDir, victimOptions(m))
	if err != nil {
		return d.report(err)
	}
	defer db.Close()
	r := read(db)
	if text := r.differs(want); text != "" {
		return silent, fmt.Errorf("after more writes: %s (errors: %w)", text, errors.Join(r.errs...))
	}
	if len(r.errs) > 0 {
		return d.report(r.errs[0])
	}
	return right, nil
}

// report says what kind of error err is.
func (d damage) report(err error) (verdict, error) {
	var c *disk.CorruptError
	switch {
	case errors.As(err, &c) && c.File == filepath.Join(victimDir, d.file) && c.Offset <= int64(max(d.at, d.at2)):
		return reported, err
	case errors.As(err, &c):
		return elsewhere, err
	case errors.Is(err, ErrNotStore) || strings.Contains(err.Error(), "this program knows"):
		return refused, err
	}
	return unclear, err
}

// A tally counts verdicts, by kind of file and of damage.
type tally struct {
	sync.Mutex
	counts   map[[2]string]*counts
	examples map[verdict][]string
}

type counts [numVerdicts]int

func newTally() *tally {
	return &tally{counts: map[[2]string]*counts{}, examples: map[verdict][]string{}}
}

const maxExamples = 12

func (y *tally) add(d damage, came verdict, err error) {
	y.Lock()
	defer y.Unlock()
	key := [2]string{fileKind(d.file), d.kind}
	if y.counts[key] == nil {
		y.counts[key] = new(counts)
	}
	y.counts[key][came]++
	if len(y.examples[came]) < maxExamples {
		y.examples[came] = append(y.examples[came], fmt.Sprintf("%v: %v", d, err))
	}
}

func fileKind(name string) string {
	if strings.HasSuffix(name, ".log") {
		return "log"
	}
	return name
}

// sum adds up the counts of a kind of damage, or of all if kind is "".
func (y *tally) sum(kind string) (n counts) {
	for key, c := range y.counts {
		if kind == "" || kind == key[1] {
			n.add(*c)
		}
	}
	return n
}

func (n *counts) add(c counts) {
	for came := range c {
		n[came] += c[came]
	}
}

func (n counts) String() string {
	tried, text := 0, ""
	for came, c := range n {
		if tried += c; c > 0 {
			text += fmt.Sprintf(", %d %v", c, verdict(came))
		}
	}
	return fmt.Sprintf("%d tried%s", tried, text)
}

// try tries damages of v, in two goroutines, every sixteenth with writes after it.
func (y *tally) try(v *victim, all []damage) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		w := newWatch()
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(all) {
					return
				}
				came, err := v.try(w, all[i], i%16 == 0)
				y.add(all[i], came, err)
			}
		})
	}
	wg.Wait()
}

// log writes the tally as a table.
func (y *tally) log(t *testing.T) {
	order := func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }
	for _, key := range slices.SortedFunc(maps.Keys(y.counts), order) {
		t.Logf("%s, %s: %v", key[0], key[1], y.counts[key])
	}
	n, all := y.sum(""), 0
	for _, came := range n {
		all += came
	}
	t.Logf("%d damages, %d silent", all, n[silent])
}

// refuse fails if one of the verdicts came.
func (y *tally) refuse(t *testing.T, verdicts ...verdict) {
	t.Helper()
	n := y.sum("")
	for _, came := range verdicts {
		if n[came] > 0 {
			t.Errorf("%d %v: %s", n[came], came, strings.Join(y.examples[came], "\n"))
		}
	}
}

// drawn returns n of all, or all.
func drawn(rng *rand.Rand, all []damage, n int) []damage {
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// TestFlips damages small stores, closed or killed at various moments: bits of every
// file, and sectors and pages that are zeroed, change places, or are what they
// were some syncs ago. Opening and reading all keys, by Get and both ways by an
// iterator, must give what was put, or an error that says what is wrong; a kill that
// left writes only in the kernel may lose the last of them. A sixteenth of the stores
// that are still right are written to, closed, and read once more. With
// FAULTLINE_SCALE=100 it tries every bit. TestFlipsControl shows what it would see.
//
// Files that are removed or cut off are tried too, and counted only: TestLostFiles
// says what is possible.
func TestFlips(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 1))
	effort := campaign.Scale(t, 4500) // a store has up to 450,000 bits
	if raceEnabled {
		effort = 1 + effort/10
	}
	var all, bits counts
	for _, made := range victims {
		v := made(t)
		t.Run(v.name, func(t *testing.T) {
			damaged, lost := newTally(), newTally()
			damaged.try(v, flips(v, rng, effort))
			damaged.try(v, drawn(rng, pieces(v, "sector", sectorBytes), 1+effort/4))
			damaged.try(v, drawn(rng, pieces(v, "page", pagemeta.PageBytes), 1+effort/10))
			lost.try(v, losses(v))
			damaged.log(t)
			lost.log(t)
			damaged.refuse(t, unclear, silent, panicked)
			lost.refuse(t, panicked)
			all.add(damaged.sum(""))
			bits.add(damaged.sum("bit"))
		})
	}
	t.Logf("all: %v", all)
	t.Logf("bits: %v", bits)
}

// TestFlipsControl makes damages that nothing can find, for they come with right
// checksums: a bit of a page, a page of before as if the last round had written it,
// and the log of a kill without what shows where it ended. Each must be seen as
// silent at least once.
func TestFlipsControl(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 2))
	for _, c := range []struct {
		name    string
		prepare func() (*victim, []damage)
	}{
		{"bits", func() (*victim, []damage) {
			v := closedVictim(t)
			return v, sealed(v, flips(v, rng, 1000))
		}},
		{"pages", func() (*victim, []damage) {
			v := closedVictim(t)
			return v, sealed(v, pieces(v, "page", pagemeta.PageBytes))
		}},
		{"log", func() (*victim, []damage) {
			v := killedVictim(t)
			v.fs.Put(filepath.Join(victimDir, "wal/tail"), nil)
			delete(v.files, "wal/tail")
			return v, slices.DeleteFunc(pieces(v, "page", pagemeta.PageBytes), func(d damage) bool {
				return fileKind(d.file) != "log" || d.kind != "page zeroed"
			})
		}},
	} {
		y := newTally()
		v, all := c.prepare()
		y.try(v, all)
		t.Logf("%s: %v", c.name, y.sum(""))
		if y.sum("")[silent] == 0 {
			t.Errorf("%s: none is silent", c.name)
		}
	}
}

// sealed returns the damages of pages of the data file but the first, with the
// checksum and the round that make the page pass.
func sealed(v *victim, all []damage) (pages []damage) {
	data := v.files["data"].data
	for _, d := range all {
		if d.file != "data" || d.at < pagemeta.PageBytes || d.at >= len(data) || d.with2 != nil {
			continue
		}
		at := d.at / pagemeta.PageBytes * pagemeta.PageBytes
		was := (*pagemeta.Page)(data[at:])
		page := *was
		page[d.at-at] ^= d.mask
		copy(page[d.at-at:], d.with)
		page.Seal(pagemeta.PageID(at/pagemeta.PageBytes), was.Round())
		pages = append(pages, damage{kind: d.kind + ", sealed", file: "data", at: at, with: page[:]})
	}
	return pages
}
