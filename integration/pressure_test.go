//go:build linux && (amd64 || arm64)

package integration

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"faultline/internal/campaign"
	"faultline/internal/sysfault"
	"faultline/server/resp/resptest"
	"faultline/store"
)

const (
	pressureClients = 60  // their keys need more than the first 4 MiB of a data file
	pressureTurns   = 100 // more than any disk or memory here bears
)

// newPressure returns a trial with much data on a new store in dir, with small
// segments.
func newPressure(t *testing.T, dir string, rng *rand.Rand, flags ...string) *trial {
	t.Helper()
	db, err := store.Open(dir, &store.Options{MemoryBudget: 64 << 20, SegmentBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return &trial{t: t, dir: dir, clients: newClients(pressureClients, fewKeys, rng), flags: flags, turns: pressureTurns}
}

// TestFullDisk lets the disk fill up under kvd, at many places: when the log
// grows, the journal, or the data file. kvd must refuse writes with the cause, go
// on reading and deleting, and take writes again once a file of somebody else is
// deleted, without a restart. It is ended or killed, with the disk now full to the
// last block, which is enough to end well, and started again there, where it may
// refuse to open. Once there is room it must open and have every acknowledged write,
// and nothing that was not written, and take writes again.
func TestFullDisk(t *testing.T) {
	seed := campaign.Seed(t)
	full, opened, fills := 0, 0, map[string]int{} // fills: by what met the end of the disk
	for i, fstype := range []string{"tmpfs", "ext4"} {
		t.Run(fstype, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			disk := newSmallDisk(t, fstype)
			most := campaign.Scale(t, 4)
			for n := 0; n < most || i == 1 && len(fills) < 2 && n < 8*most; n++ {
				files, again := fillDisk(t, disk, rng, n)
				for _, file := range files {
					full++
					fills[file]++
				}
				if again {
					opened++
				}
			}
		})
	}
	if t.Failed() {
		return
	}
	t.Logf("%d times a disk was full, by what met it: %v; 0 acknowledged writes were lost; %d times kvd opened with no block free",
		full, fills, opened)
	if len(fills) < 2 && full >= 8 {
		t.Error("always the same file met the end of the disk")
	}
}

var fileWithoutSpace = regexp.MustCompile(`/(data|rounds|journal|wal)\S*: no space left on device`)

// fillDisk is one case of TestFullDisk. It returns which files met the end of the
// disk, and whether kvd has opened on the full disk.
func fillDisk(t *testing.T, disk *smallDisk, rng *rand.Rand, n int) (files []string, opened bool) {
	dir := filepath.Join(disk.dir, "store")
	flags := []string{"--dirty-budget", "4MiB", "--log-bytes", "1MiB"} // data and journal meet the end
	if n%2 == 1 {
		flags = []string{"--dirty-budget", "64MiB", "--log-bytes", "64MiB"} // the log does: no round comes before
	}
	r := newPressure(t, dir, rng, flags...)
	defer os.RemoveAll(dir)
	r.cause = unix.ENOSPC
	r.async = rng.IntN(2) == 0
	sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[rng.IntN(2)]
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v, %v: %v; kvd's log:\n%s", flags, sig, err, r.kvd.log.Bytes())
		}
	}
	fill := func(free int64) {
		t.Helper()
		disk.leave(free)
		r.turns, r.full = pressureTurns, ""
		fatal(errors.Join(r.load(), r.probe()))
		found := fileWithoutSpace.FindStringSubmatch(r.full)
		if r.stopped || found == nil && free > 0 {
			t.Fatalf("%d bytes free, %v: refused with %q, stopped: %t", free, flags, r.full, r.stopped)
		}
		if found != nil {
			files = append(files, found[1])
		}
	}
	served, err := r.start()
	if err != nil || !served {
		fatal(errors.Join(err, errors.New("kvd does not serve")))
	}
	fill(2<<20 + rng.Int64N(6<<20))
	disk.empty()
	r.turns, r.full = 3, ""
	fatal(r.load())
	if r.full != "" {
		t.Errorf("%v: writes are refused after space was freed: %s", flags, r.full)
	}
	fill(0) // what is there may be enough by now
	fatal(errors.Join(r.deleteSome(), r.end(sig)))
	opened = reopenFull(t, r)
	disk.empty()
	r.turns, r.cause, r.full = 3, 0, ""
	fatal(errors.Join(r.recovered(), r.do(syscall.SIGTERM), r.recovered()))
	if r.stopped || r.full != "" {
		t.Error("writes are refused after space was freed")
	}
	check(t, dir)
	return files, opened
}

// deleteSome deletes the first keys of each client, which a full disk must allow.
func (r *trial) deleteSome() error {
	conn, err := resptest.Dial(r.kvd.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, c := range r.clients {
		for _, key := range slices.Sorted(maps.Keys(c.acked))[:len(c.acked)/2] {
			if _, err := conn.Do("DEL", key); err != nil {
				return fmt.Errorf("delete on a full disk: %w", err)
			}
			delete(c.acked, key)
		}
	}
	return nil
}

// reopenFull starts kvd on the full disk. If it opens, it must have what it had,
// and is killed.
func reopenFull(t *testing.T, r *trial) (opened bool) {
	served, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	if !served {
		if err := r.refusedOpen(); err != nil {
			t.Fatalf("open on the full disk: %v; kvd's log:\n%s", err, r.kvd.log.Bytes())
		}
		return false
	}
	all := r.kvd.contents()
	for _, c := range r.clients {
		if err := c.verify(all); err != nil {
			t.Error(err)
		}
	}
	r.kvd.kill()
	return true
}

// TestPressureControl puts an earlier copy of the store in the place of the one
// that kvd has left, as a disk would that forgets: the way in which the tests here
// look for lost writes must find it.
func TestPressureControl(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 3))
	r := newPressure(t, filepath.Join(t.TempDir(), "store"), rng)
	r.turns = 2
	earlier := filepath.Join(t.TempDir(), "earlier")
	if err := errors.Join(r.do(syscall.SIGTERM), os.CopyFS(earlier, os.DirFS(r.dir)), r.do(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	r.dir = earlier
	err := r.recovered()
	if err == nil {
		t.Fatal("an earlier copy of the store passed for the store")
	}
	lost := strings.Count(err.Error(), "in flight:")
	t.Logf("%d of %d clients miss writes in an earlier copy of the store", lost, len(r.clients))
}

// TestFullDiskNew makes a store on a full disk, with less and less room: kvd must
// say why it cannot, and can once there is room.
func TestFullDiskNew(t *testing.T) {
	disk := newSmallDisk(t, "tmpfs")
	dir := filepath.Join(disk.dir, "store")
	refused := 0
	for free := int64(0); free < 6<<20; free += 512 << 10 {
		disk.leave(free)
		r := &trial{t: t, dir: dir, cause: unix.ENOSPC}
		served, err := r.start()
		if err == nil && !served {
			refused++
			err = r.refusedOpen()
		} else if err == nil {
			r.kvd.kill()
		}
		if err != nil {
			t.Fatalf("%d bytes free: %v; kvd's log:\n%s", free, err, r.kvd.log.Bytes())
		}
		disk.empty()
		if err := r.recovered(); err != nil {
			t.Fatalf("%d bytes free, and then more: %v", free, err)
		}
		check(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d new stores refused for want of space", refused)
	if refused == 0 {
		t.Error("no new store was refused: the disk was never full")
	}
}

// A roundWatch sees from the calls of kvd whether it is in a round: from the first
// write of images to the journal to the short one that clears it.
type roundWatch struct {
	in    bool
	write func() // called before each write of images
}

func (w *roundWatch) decide(c sysfault.Call) sysfault.Answer {
	if c.Class() == sysfault.Write && filepath.Base(c.Path) == "journal" {
		w.in = c.Args[2] >= 4096
		if w.in && w.write != nil {
			w.write()
		}
	}
	return sysfault.Run
}

// TestOOM limits the memory of kvd below what it is told to use, and loads it
// until the kernel kills it, again and again. In every other run the limit comes
// down only while there is a round, whose images need memory too. After
// each kill kvd must have every acknowledged write, and nothing that was not
// written. Some kills must fall into rounds; the supervisor sees that by the calls
// on the journal.
func TestOOM(t *testing.T) {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 2))
	var runs, kills, inRound, acked int
	for n := range campaign.Scale(t, 6) {
		t.Run("run", func(t *testing.T) {
			var round roundWatch
			bytes := 8<<20 + rng.Int64N(16<<20)
			if n%2 == 1 {
				bytes = 1 << 30
			}
			limit := newMemoryLimit(t, bytes)
			if n%2 == 1 {
				round.write = func() {
					if err := limit.tighten(); err != nil {
						t.Error(err)
					}
				}
			}
			r := newPressure(t, filepath.Join(t.TempDir(), "store"), rng, "--dirty-budget", "16MiB", "--log-bytes", "64MiB")
			r.async, r.decide, r.inside = rng.IntN(2) == 0, round.decide, limit.put
			r.killed.Store(true) // it will be: that connections end is right
			if err := r.do(syscall.SIGKILL); err != nil {
				t.Fatalf("%v; kvd's log:\n%s", err, r.kvd.log.Bytes())
			}
			runs, acked = runs+1, acked+r.acked
			if limit.kills() > 0 {
				kills++
				if round.in {
					inRound++
				}
			}
			if err := r.recovered(); err != nil {
				t.Fatal(err)
			}
			check(t, r.dir)
		})
	}
	if t.Failed() || runs == 0 {
		return
	}
	t.Logf("%d kills for want of memory in %d runs, %d of them in a round: of %d acknowledged writes 0 were lost",
		kills, runs, inRound, acked)
	if inRound == 0 && runs >= 6 {
		t.Error("no kill fell into a round")
	}
}
