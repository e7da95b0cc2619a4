package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// TestScrubBusy scrubs a store again and again while writers, rounds and segments
// keep it busy, on a disk that is slow to write in place: nothing may be reported.
func TestScrubBusy(t *testing.T) {
	watchdog(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // a write in place is preempted wherever it is
	s, _ := newSick()
	s.tear = runtime.Gosched
	db := open(t, t.TempDir(), crowdOptions(s, false))
	c := newCrowd(3)
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		defer over.Store(true)
		from := db.Metrics().Flush.Rounds
		pages, records := uint64(0), uint64(0)
		scrubs, rounds := campaign.Scale(t, 150), uint64(campaign.Scale(t, 60))
		if raceEnabled {
			scrubs, rounds = 1+scrubs/5, 1+rounds/5
		}
		for n := 0; n < scrubs || records == 0 || db.Metrics().Flush.Rounds < from+rounds; n++ {
			r, err := db.Scrub(context.Background(), nil)
			if err != nil {
				t.Errorf("scrub %d: %v\n%v", n, err, r.Damages)
				return
			}
			pages, records = pages+r.Pages, records+r.LogRecords
			scrubs = min(scrubs, n+20*int(rounds)) // of a slow machine
		}
		if pages == 0 {
			t.Error("no page was looked at")
		}
		t.Logf("%d pages and %d records, %d rounds beside", pages, records, db.Metrics().Flush.Rounds-from)
	})
	wg.Go(func() {
		for !over.Load() {
			if err := db.Checkpoint(context.Background()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if err := c.run(db, over.Load); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// An ailing store is one with some hundred pages in the data file and some records
// in the log alone, opened again, so that hardly any page is in memory.
func ailing(t *testing.T, trapOnly bool) (db *DB, s *sickFS, want map[string]string) {
	t.Helper()
	s, m := newSick()
	o := crowdOptions(s, trapOnly)
	o.LogBytes = 16 << 20
	dir := t.TempDir()
	db, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]string{}
	for i := range 2000 {
		k, v := fmt.Sprintf("key%04d", i*7%2000), value(uint64(i))
		if err := db.Put([]byte(k), []byte(v), Deferred); err != nil {
			t.Fatal(err)
		}
		want[k] = v
	}
	for i := range 300 { // free pages among them
		k := fmt.Sprintf("key%04d", 1000+i)
		if err := db.Delete([]byte(k), Deferred); err != nil {
			t.Fatal(err)
		}
		delete(want, k)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	m.Settle()
	return open(t, dir, o), s, want
}

// grow writes n records that no round takes to the data file, and returns where each
// begins.
func grow(t *testing.T, db *DB, n int) (lsns []LSN) {
	t.Helper()
	for i := range n {
		lsns = append(lsns, db.LSN())
		if err := db.Put([]byte("key0000"), []byte(value(uint64(i))), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.WaitDurable(context.Background(), db.LSN()); err != nil {
		t.Fatal(err)
	}
	return lsns
}

// spot names a place as spots does.
func spot(file string, offset int64) string { return fmt.Sprintf("%s:%d", filepath.Base(file), offset) }

// spots names the places of damages, sorted. Each error must name its place too.
func spots(t *testing.T, damages []Damage) (names []string) {
	t.Helper()
	for _, d := range damages {
		if says := fmt.Sprintf("%s at byte %d:", d.File, d.Offset); !strings.Contains(d.Err.Error(), says) {
			t.Errorf("%v, which should say %q", d.Err, says)
		}
		names = append(names, spot(d.File, d.Offset))
	}
	slices.Sort(names)
	return names
}

// duePages tells of each page of the data file whether a scrub must look at it, and
// how many there are: those in use that are not about to be written again.
func duePages(t *testing.T, db *DB) (due []bool, n int) {
	t.Helper()
	due = make([]bool, db.tree.State().Pages)
	if err := db.tree.InUse(0, due); err != nil {
		t.Fatal(err)
	}
	for id := range due {
		if due[id] = due[id] && db.flusher.Pages.State(pagemeta.PageID(id)) != pagemeta.Dirty; due[id] {
			n++
		}
	}
	return due, n
}

// spoil damages page id in one of four ways.
func spoil(p *pagemeta.Page, id int, rng *rand.Rand) {
	switch rng.IntN(4) {
	case 0:
		p[rng.IntN(pagemeta.PageBytes)] ^= 1 << rng.IntN(8)
	case 1:
		clear(p[:])
	case 2:
		p.Seal(pagemeta.PageID(id+1), p.Round()) // another page
	case 3:
		p.Seal(pagemeta.PageID(id), p.Round()-1) // an older version
	}
}

// TestScrubFinds damages pages of data, in use and free, and records of the log, in
// many ways at once: a scrub must report those that are in use, with file and
// offset, and nothing else, and bring hardly any page into memory.
func TestScrubFinds(t *testing.T) {
	db, s, _ := ailing(t, false)
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 21))
	lsns := grow(t, db, 200)
	_, _, err := db.dueNow([]byte{dueKind}) // what the reaper and the sweeper begin with
	if err := errors.Join(err, db.sweep(t.Context())); err != nil {
		t.Fatal(err)
	}
	loads := db.Metrics().Pages.Loads
	clean, err := db.Scrub(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := db.Metrics().Pages.Loads - loads; n > 1 {
		t.Errorf("%d pages were brought into memory", n)
	}
	due, n := duePages(t, db)
	if n == len(due) || clean.Pages != uint64(n)+1 || clean.LogRecords != 200 {
		t.Errorf("%+v, of %d pages", clean, n)
	}

	file := func(name string) []byte {
		return s.FS.(*memdisk.FS).Bytes(filepath.Join(db.dir, name))
	}
	var want []string
	for id := range due {
		if id%3 == 0 || !due[id] {
			spoil((*pagemeta.Page)(file("data")[id*pagemeta.PageBytes:]), id, rng)
		}
		if id%3 == 0 && due[id] {
			want = append(want, spot("data", int64(id)*pagemeta.PageBytes))
		}
	}
	eio := slices.Index(due[1:], true) + 1
	if eio%3 == 0 {
		t.Fatal("page 1 and 2 are dirty")
	}
	s.bad.Store(&sector{filepath.Join(db.dir, "data"), int64(eio)*pagemeta.PageBytes + 5, syscall.EIO})
	want = append(want, spot("data", int64(eio)*pagemeta.PageBytes))
	for _, i := range []int{3, 4, 100, 199} { // 3 and 4 are one gap
		segment, off := fmt.Sprintf("wal/%016x.log", uint64(lsns[i])/uint64(64<<10)), int64(lsns[i]%(64<<10))
		file(segment)[off] ^= 0xff
		if i != 4 {
			want = append(want, spot(segment, off))
		}
	}
	slices.Sort(want)
	r, err := db.Scrub(context.Background(), nil)
	if !errors.Is(err, ErrCorrupt) || r.Damaged != uint64(len(want)) {
		t.Errorf("%d places damaged: %d found, %v", len(want), r.Damaged, err)
	}
	if got := spots(t, r.Damages); !slices.Equal(got, want) {
		t.Errorf("damaged %q\nfound %q", want, got)
	}
	if r.LogRecords != clean.LogRecords-4 || r.Pages != clean.Pages {
		t.Errorf("%+v, before %+v", r, clean)
	}

	// The list is bounded, the count is not.
	clear(file("data"))
	clear(file("rounds"))
	r, err = db.Scrub(context.Background(), nil)
	if !errors.Is(err, ErrCorrupt) || r.Damaged != uint64(n)+1+3 || len(r.Damages) != MaxDamages {
		t.Errorf("all is damaged: %d found, %d listed, %v", r.Damaged, len(r.Damages), err)
	}
}

// TestScrubShort scrubs a store whose data file has been made shorter, whose rounds
// are gone, and whose log has lost a segment.
func TestScrubShort(t *testing.T) {
	db, s, _ := ailing(t, false)
	m := s.FS.(*memdisk.FS)
	lsns := grow(t, db, 800)
	lost := uint64(lsns[400]) / (64 << 10)
	path := func(name string) string { return filepath.Join(db.dir, name) }
	truncate := func(name string, to int64) {
		f, err := m.Open(path(name), false)
		if err == nil {
			err = f.Truncate(to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	due, _ := duePages(t, db)
	end := len(due) - 30
	truncate("data", int64(end)*pagemeta.PageBytes+1)
	truncate("rounds", 0)
	if err := m.Remove(path(fmt.Sprintf("wal/%016x.log", lost))); err != nil {
		t.Fatal(err)
	}
	r, err := db.Scrub(context.Background(), nil)
	if !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	want := []string{spot("rounds", 0), spot(fmt.Sprintf("%016x.log", lost), 0)}
	for id := end; id < len(due); id++ {
		if due[id] {
			want = append(want, spot("data", int64(id)*pagemeta.PageBytes))
		}
	}
	slices.Sort(want)
	if got := spots(t, r.Damages); !slices.Equal(got, want) {
		t.Errorf("found %q\nwant %q", got, want)
	}
	if r.LogRecords == 0 || r.LogRecords > 800-100 {
		t.Errorf("%d records found beside the lost segment", r.LogRecords)
	}
}

// TestScrubDir scrubs what a kill leaves, with a third of the writes in the log only:
// nothing is reported, and nothing written. Then pages are damaged that Open and a
// walk need first, and a record of the log: each must be named.
func TestScrubDir(t *testing.T) {
	dir, _ := filled(t)
	files := func() map[string]string {
		m := map[string]string{}
		for _, name := range append([]string{"data", "rounds", "journal", "wal/tail"}, logFiles(t, dir)...) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			m[name] = string(b)
		}
		return m
	}
	was := files()
	r, err := ScrubDir(context.Background(), dir, smallOptions(false), nil)
	if err != nil || r.Pages < 20 || r.LogRecords < 100 {
		t.Errorf("after a kill: %+v, %v", r, err)
	}
	if !maps.Equal(files(), was) {
		t.Error("files have changed")
	}

	var want []string
	edit(t, filepath.Join(dir, "data"), func(b []byte) []byte {
		for _, id := range []int{1, 2, 3, 7} {
			b[id*pagemeta.PageBytes+100] ^= 1
			want = append(want, spot("data", int64(id)*pagemeta.PageBytes))
		}
		return b
	})
	r, err = ScrubDir(context.Background(), dir, smallOptions(false), nil)
	if got := spots(t, r.Damages); !errors.Is(err, ErrCorrupt) || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("found %q, %v, want %q", got, err, want)
	}

	var super superblock
	if _, err := super.parse((*pagemeta.Page)([]byte(was["data"]))); err != nil {
		t.Fatal(err)
	}
	second := fmt.Sprintf("%016x.log", super.lsn/uint64(super.segmentBytes)+1) // of what a replay reads
	edit(t, filepath.Join(dir, "wal", second), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	r, err = ScrubDir(context.Background(), dir, smallOptions(false), nil)
	if got := spots(t, r.Damages); !errors.Is(err, ErrCorrupt) || len(got) != len(want)+1 || !strings.HasPrefix(got[0], second) {
		t.Errorf("found %q, %v, want %q and a record", got, err, want)
	}

	for what, dir := range map[string]string{"nothing": filepath.Join(dir, "none"), "an empty directory": t.TempDir()} {
		if _, err := ScrubDir(context.Background(), dir, nil, nil); err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("scrub of %s: %v", what, err)
		}
	}
}

// logFiles returns the names of all segments.
func logFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, name := range segments(t, dir) {
		names = append(names, filepath.Join("wal", filepath.Base(name)))
	}
	return names
}

// TestScrubEnds scrubs a store that has stopped, one that is closed meanwhile, and
// one whose context ends.
func TestScrubEnds(t *testing.T) {
	db, _, _ := ailing(t, false)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := db.Scrub(ctx, &ScrubOptions{Progress: func(ScrubProgress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("context ends: %v", err)
	}
	_, err = db.Scrub(context.Background(), &ScrubOptions{Progress: func(ScrubProgress) { db.Close() }})
	if err != ErrClosed {
		t.Errorf("closed meanwhile: %v", err)
	}
	if _, err := db.Scrub(context.Background(), nil); err != ErrClosed {
		t.Errorf("closed: %v", err)
	}
	db, _, _ = ailing(t, false)
	_ = db.flusher.Stop(syscall.EIO)
	if _, err := db.Scrub(context.Background(), nil); !errors.Is(err, ErrStopped) || errors.Is(err, ErrCorrupt) {
		t.Errorf("stopped: %v", err)
	}
}

// TestScrubRate scrubs with a bound of the rate: the time it takes is that of the
// rate, up to the last piece.
func TestScrubRate(t *testing.T) {
	for _, c := range []struct {
		bytes, perSecond int64
		want             time.Duration
	}{
		{1 << 20, 0, 0},
		{0, 1 << 20, 0},
		{1 << 20, 1 << 20, time.Second},
		{1 << 20, 1 << 30, time.Second / 1024},
		{1 << 50, 1 << 20, 1 << 30 * time.Second},
	} {
		if got := due(c.bytes, c.perSecond); got != c.want {
			t.Errorf("%d bytes at %d a second: %v, want %v", c.bytes, c.perSecond, got, c.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := scrub{ctx: t.Context(), db: &DB{}, began: time.Now(), o: ScrubOptions{BytesPerSecond: 1 << 20}}
		for range 30 {
			if err := s.passed(1 << 19); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(s.began); took != 15*time.Second {
			t.Errorf("15 MiB at one a second took %v", took)
		}
	})
}
