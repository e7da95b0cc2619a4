package flusher

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// threeRounds is the run that is crashed before every call: three rounds, with
// stores to pages that are Frozen (before the log is synced), in Flight (before
// the data file is), and Dirty. It ends with the first error.
func (r *rig) threeRounds() error {
	for round := range 3 {
		ids := []pagemeta.PageID{1, 2, 3, 4, 5, 6}
		if round > 0 {
			ids = []pagemeta.PageID{1, 3, 4, pagemeta.PageID(4 + round)}
		}
		for _, id := range ids {
			if err := r.tryWrite(id); err != nil {
				return err
			}
		}
		during := func() { _ = r.tryWrite(3, pagemeta.PageID(1+round)) }
		r.when["L"], r.when["d"] = during, during
		if err := r.tryCheckpoint(); err != nil {
			return err
		}
		if err := r.tryWrite(2, 5); err != nil {
			return err
		}
	}
	return nil
}

// TestOrder reads the calls that rounds make: log, journal, pages, rounds, page 0,
// and the other way round never. Letters are those of the rig.
func TestOrder(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.trace.Reset()
	if err := r.threeRounds(); err != nil {
		t.Fatal(err)
	}
	got := r.trace.String()
	//                      A  B    C             D
	round := regexp.MustCompile(`^(LJ+ja*D+dR+rDdJT){3}$`)
	if !round.MatchString(got) {
		t.Errorf("three rounds: %s", got)
	}
	r.close()
	if rest := strings.TrimPrefix(r.trace.String(), got); !regexp.MustCompile(`^LJ+jD+dR+rDdJTj$`).MatchString(rest) {
		t.Errorf("close with dirty pages: %s", rest)
	}
	// A round that finds nothing to do does nothing.
	r = r.reopened(r.fs)
	r.open()
	r.check("after close")
	r.trace.Reset()
	r.done = 0
	if err := r.f.Checkpoint(t.Context()); err != nil || r.trace.Len() > 0 {
		t.Errorf("round without dirty pages: %s, %v", r.trace, err)
	}
	r.close()
}

// crashes runs run on a copy of m, for every call that it makes: before the k-th
// one the power is cut, in some of the ways there are. then is called with what that
// leaves and with the rig that had the crash.
func crashes(t *testing.T, from *rig, m *memdisk.FS, some func() []memdisk.Loss, run func(r *rig) error, then func(r *rig, left *memdisk.FS, when string)) (points int) {
	for k := 0; ; k++ {
		crashed := false
		r := from.reopened(m.Crash(memdisk.Kill, nil))
		ways := some()
		var lefts []*memdisk.FS
		calls := 0
		r.fail = func(string) error {
			if crashed {
				return memdisk.ErrCut
			}
			if calls++; calls <= k {
				return nil
			}
			crashed = true
			for _, how := range ways {
				lefts = append(lefts, r.fs.Crash(how, rand.New(rand.NewPCG(uint64(k), uint64(how)))))
			}
			return memdisk.ErrCut
		}
		err := run(r)
		if !crashed {
			if err != nil {
				t.Fatalf("run without a crash: %v", err)
			}
			return k
		}
		if err == nil {
			t.Fatalf("crash before call %d (after %s): no error", k, r.trace)
		}
		for i, left := range lefts {
			then(r, left, fmt.Sprintf("crash before call %d (after %s), %v", k, r.trace, ways[i]))
		}
	}
}

// running opens r and does run, and closes what may be open at the end.
func running(run func(r *rig) error) func(r *rig) error {
	return func(r *rig) error {
		if err := r.tryOpen(false); err != nil {
			return err
		}
		r.start()
		err := run(r)
		return errors.Join(err, r.f.Close(r.t.Context()))
	}
}

// TestCrash cuts the power before every call that three rounds make, in every
// way, then again before every call that the recovery makes, in one way or more, and
// opens what is left. The pages must be exactly those of one cut: of the last that was
// durable, or of the one that was being made. Then a round must be possible, and found.
// TestCrashControl shows that a broken order is noticed.
func TestCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 0))
	waysAgain := campaign.Scale(t, 1)
	some := func(n int) func() []memdisk.Loss {
		return func() (ways []memdisk.Loss) {
			for _, how := range rng.Perm(int(memdisk.NumLoss))[:min(n, int(memdisk.NumLoss))] {
				ways = append(ways, memdisk.Loss(how))
			}
			return ways
		}
	}
	first := newRig(t, memdisk.New())
	again := 0
	points := crashes(t, first, first.fs, some(int(memdisk.NumLoss)), running((*rig).threeRounds), func(r *rig, left *memdisk.FS, when string) {
		recovered := func(r *rig, left *memdisk.FS, when string) {
			r2 := r.reopened(left)
			r2.open()
			if lsn := r2.check(when); lsn == 0 {
				r2.writeAll()
			} else {
				r2.write(2, 6)
			}
			r2.checkpoint()
			r2.close()
			r3 := r2.reopened(r2.fs.Crash(memdisk.Drop, nil))
			r3.open()
			r3.check(when + ", after another round")
			r3.close()
		}
		recovered(r, left.Crash(memdisk.Kill, nil), when)
		again += crashes(t, r, left, some(waysAgain), func(r *rig) error {
			if err := r.tryOpen(false); err != nil {
				return err
			}
			_, err := r.tryCheck()
			return errors.Join(err, r.f.closeFiles())
		}, func(r *rig, left *memdisk.FS, then string) { recovered(r, left, when+"; "+then) })
	})
	if points < 30 || again < 3*points*int(memdisk.NumLoss) {
		t.Errorf("%d points to crash at, %d of recoveries", points, again)
	}
	t.Logf("%d points to crash at, %d of recoveries", points, again)
}

// TestCrashControl has the file system lie: a sync of the journal, or of the data
// file, returns and does nothing, so that the steps of a round reach the disk in
// any order. The same crashes must then be noticed.
func TestCrashControl(t *testing.T) {
	for _, lie := range []string{"journal", "data"} {
		found := 0
		for seed := range uint64(100) {
			rng := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t, memdisk.New())
			r.open()
			calls, at := 0, 15+rng.IntN(40)
			var left *memdisk.FS
			r.fail = func(string) error {
				if calls++; calls == at {
					left = r.fs.Crash(memdisk.Blocks, rng)
				}
				return nil
			}
			r.fs.Lies = r.path(lie)
			r.writeAll()
			for left == nil {
				r.checkpoint()
				r.write(1, 4, 6)
			}
			r.abandon()
			r = r.reopened(left)
			r.done = 0 // only the mixture is of interest
			if r.tryOpen(false) != nil {
				found++
				continue
			}
			if _, err := r.tryCheck(); err != nil {
				found++
			}
			r.abandon()
		}
		if found == 0 {
			t.Errorf("syncs of the %s do nothing, and nobody notices", lie)
		}
		t.Logf("syncs of the %s do nothing: %d of 100 noticed", lie, found)
	}
}

// TestChain is a life of crashes: rounds with random stores, a power cut at a
// random call, recovery, and on from there, over and over on the same files. What
// an earlier life has left in the journal must never become a part of a later
// one's. Each time the pages must be those of one cut.
func TestChain(t *testing.T) {
	base := campaign.Seed(t)
	chains := campaign.Scale(t, 400)
	for i := range uint64(chains) {
		seed := base + i
		rng := rand.New(rand.NewPCG(seed, 9))
		r := newRig(t, memdisk.New())
		for life := range 8 {
			var left *memdisk.FS
			calls, at := 0, rng.IntN(20)
			how := memdisk.Loss(rng.IntN(int(memdisk.NumLoss)))
			r.fail = func(string) error {
				if calls++; calls > at && left == nil {
					left = r.fs.Crash(how, rng)
				}
				if left != nil {
					return memdisk.ErrCut
				}
				return nil
			}
			err := running(func(r *rig) error {
				lsn, err := r.tryCheck()
				if err != nil {
					t.Fatalf("seed %d, life %d: %v", seed, life, err)
				}
				for range 5 {
					if lsn == 0 || rng.IntN(3) == 0 {
						err = r.tryWrite(1, 2, 3, 4, 5, 6)
						lsn = 1
					} else {
						err = r.tryWrite(1, pagemeta.PageID(1+rng.IntN(6)))
					}
					if err == nil {
						err = r.tryCheckpoint()
					}
					if err != nil {
						return err
					}
				}
				return nil
			})(r)
			if crashed := left != nil; crashed != (err != nil) {
				t.Fatalf("seed %d, life %d: crash %t, error %v", seed, life, crashed, err)
			}
			if left == nil {
				left = r.fs.Crash(how, rng)
			}
			r = r.reopened(left)
		}
	}
}

// TestStaleImages has two rounds fail one after the other, in two lives of the
// store, before the journal is synced: both have the same number, since neither
// was ever complete, and the same pages. What the second leaves on disk is its
// head with some images of its own, and some of the first. That is no journal:
// the pages must be those of the cut before.
func TestStaleImages(t *testing.T) {
	for kept := range 1 << 5 { // images of the second that are on disk
		r := newRig(t, memdisk.New())
		r.open()
		r.writeAll()
		r.checkpoint()
		before := r.fs.Crash(memdisk.Drop, nil).Bytes(r.path("journal"))
		r.write(1, 2, 3)
		first := r.crashAt("sync", "journal", memdisk.Kill)
		copy(first.Bytes(r.path("journal")), before[:headBytes(5)])
		stale := first.Crash(memdisk.Kill, nil).Bytes(r.path("journal"))
		r = r.reopened(first)
		r.open()
		old := r.check("after the first crash")
		r.write(1, 2, 3)
		second := r.crashAt("sync", "journal", memdisk.Kill)
		for slot := range 5 {
			if at := headBytes(5) + slot*pagemeta.PageBytes; kept>>slot&1 == 0 {
				copy(second.Bytes(r.path("journal"))[at:], stale[at:at+pagemeta.PageBytes])
			}
		}
		newest := r.cuts[len(r.cuts)-1]
		r = r.reopened(second)
		r.open()
		want := old
		if kept|1<<4 == 1<<5-1 { // the control: a whole journal, as the page of rounds is the same in both
			want = newest
		}
		if lsn := r.check(fmt.Sprintf("images %05b of the second round", kept)); lsn != want {
			t.Errorf("images %05b of the second round: cut %d, want %d", kept, lsn, want)
		}
		r.close()
	}
}

// TestJournalLost crashes while pages are written in place, with any of them on
// disk, and damages the journal too, which alone could repair that. No page may
// then be served that is not of the cut that page 0 says: what cannot be right is
// reported as corrupt. The control is that both happens: damage that is reported,
// and pages that are right.
func TestJournalLost(t *testing.T) {
	reported, right := 0, 0
	for _, sync := range []int{1, 2} { // of the data file, in the round
		for seed := range uint64(60) {
			rng := rand.New(rand.NewPCG(seed, uint64(sync)))
			r := newRig(t, memdisk.New())
			r.open()
			r.writeAll()
			r.checkpoint()
			r.write(1, 3, 4)
			var left *memdisk.FS
			syncs := 0
			r.fail = func(l string) error {
				if l == "d" {
					if syncs++; syncs == sync {
						left = r.fs.Crash(memdisk.Loss(1+rng.IntN(int(memdisk.NumLoss)-1)), rng)
					}
				}
				if left != nil {
					return memdisk.ErrCut
				}
				return nil
			}
			if err := r.tryCheckpoint(); left == nil {
				t.Fatalf("a round has no sync %d of the data file (%v)", sync, err)
			}
			r.abandon()
			journal := left.Bytes(r.path("journal"))
			journal[rng.IntN(headBytes(5)+5*pagemeta.PageBytes)] ^= 0x10
			r = r.reopened(left)
			if err := r.tryOpen(false); err != nil {
				if !errors.Is(err, disk.ErrCorrupt) {
					t.Fatalf("sync %d, seed %d: open: %v", sync, seed, err)
				}
				reported++
				continue
			}
			lsn, err := r.load(0)
			if err != nil {
				t.Fatal(err)
			}
			for id := range pagemeta.PageID(r.pages) {
				got, err := r.load(id)
				switch want := r.hist[lsn][id]; {
				case errors.Is(err, disk.ErrCorrupt):
					if want := fmt.Sprintf("data at byte %d", int(id)*pagemeta.PageBytes); !strings.Contains(err.Error(), want) {
						t.Errorf("%v: no %q in it", err, want)
					}
					reported++
				case err != nil:
					t.Errorf("sync %d, seed %d: %v", sync, seed, err)
				case got != want:
					t.Errorf("sync %d, seed %d: page %d has %d, at cut %d it had %d", sync, seed, id, got, lsn, want)
				default:
					right++
				}
			}
			r.abandon()
		}
	}
	if reported == 0 || right == 0 {
		t.Errorf("%d reported, %d right: the test shows nothing", reported, right)
	}
}

// TestUnusedPage has a page become Dirty that nobody then stores to, as when an
// operation that has made it writable changes its mind: it has no kind. The round
// must be as good as any, and be recovered from the journal; who reads the page
// is told that there is none.
func TestUnusedPage(t *testing.T) {
	for _, at := range []string{"allocate", ""} {
		r := newRig(t, memdisk.New())
		r.open()
		r.writeAll()
		r.f.Pages.Fresh(9)
		if err := r.f.Pages.Prepare(9); err != nil {
			t.Fatal(err)
		}
		if at == "" {
			r.checkpoint()
			r.close()
			r = r.reopened(r.fs)
		} else {
			r = r.reopened(r.crashAt(at, "data", memdisk.Drop))
		}
		r.open()
		if lsn := r.check("page without a kind"); lsn != r.cuts[0] {
			t.Errorf("crash at %q: cut %d, want %d", at, lsn, r.cuts[0])
		}
		if _, err := r.load(9); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("crash at %q: read of the page: %v", at, err)
		}
		r.abandon()
	}
}
