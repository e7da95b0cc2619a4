package integration

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sys/unix"

	"faultline/internal/campaign"
)

const (
	linearClients = 32
	killEvery     = 2500 // operations
	maxHistory    = 100_000
)

// A setting is how a server runs and dies.
type setting struct {
	name  string
	procs int
	flags []string
	fault bool   // every second life ends by a disk that takes no writes, then the kill
	proxy bool   // clients talk to a writeBack
	hold  int    // of the writeBack
	from  string // directory of a filled store to begin with, see newFilled; or ""
}

// keys is how many keys a history has.
func (s setting) keys() int {
	if s.from != "" {
		return fillGaps
	}
	return linearKeys
}

// parties is how many work on the server.
func (s setting) parties() int {
	if s.from != "" {
		return linearClients + sweepers
	}
	return linearClients
}

// A recording makes one history of many lives of a server.
type recording struct {
	setting
	site     *site
	server   *kvd
	between  *writeBack
	lives    int
	did      map[string]int // before the kills, by name in INFO
	answered atomic.Int64
}

// run lets clients work until ops operations are answered, with a kill after each
// killEvery. Last, after one more kill, every key is read.
func (rec *recording) run(t *testing.T, rng *rand.Rand, ops int) (history []porcupine.Operation) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := (&origin{dir: rec.from}).copyTo(dir); err != nil {
		t.Fatal(err)
	}
	rec.site, rec.did = newSite(), map[string]int{}
	due := make(chan bool, ops/killEvery+1) // at the end: false
	answer := func() {
		if n := rec.answered.Add(1); n == int64(ops) {
			due <- false
		} else if n%killEvery == 0 && n < int64(ops) {
			due <- true
		}
	}
	var values atomic.Int64
	began := time.Now()
	clients := make([]*recorder, linearClients+1)
	for id := range clients {
		clients[id] = &recorder{
			id: id, keys: rec.keys(), site: rec.site, began: began, values: &values, answer: answer,
			rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())),
		}
	}
	last := clients[linearClients] // reads at the end
	clients = clients[:linearClients]

	rec.start(t, dir)
	ended := make(chan error, rec.parties())
	for _, c := range clients {
		go func() { ended <- c.run() }()
	}
	for n := range rec.parties() - linearClients {
		s := sweeper{rng: rand.New(rand.NewPCG(rng.Uint64(), uint64(n))), site: rec.site}
		go func() { ended <- s.run() }()
	}
	for running, more := rec.parties(), true; running > 0; {
		select {
		case more = <-due:
			if !more {
				rec.site.close()
				break
			}
			rec.kill(t, rng)
			rec.start(t, dir)
		case err := <-ended:
			if running--; err != nil {
				t.Error(err)
				rec.site.close()
			}
		case <-time.After(watchdog):
			rec.site.close()
			t.Fatalf("%d operations answered, then none", rec.answered.Load())
		}
	}
	rec.kill(t, rng)
	rec.start(t, dir)
	for _, c := range clients {
		history = append(history, c.history...)
	}
	history = append(history, rec.readAll(t, last)...)
	if rec.from != "" {
		verifyFill(t, rec.server)
	}
	return history
}

// start begins a life of the server.
func (rec *recording) start(t *testing.T, dir string) {
	t.Helper()
	rec.server = startKvd(t, dir, rec.procs, rec.flags...)
	if rec.from != "" {
		crowd(t, rec.server)
	}
	addr := rec.server.addr
	if rec.proxy {
		rec.between = startWriteBack(t, addr, rec.hold)
		addr = rec.between.l.Addr().String()
	}
	rec.lives++
	rec.site.open(addr)
}

// kill ends it at a random moment.
func (rec *recording) kill(t *testing.T, rng *rand.Rand) {
	t.Helper()
	for name, n := range rec.server.info(append([]string{flushRounds}, inPlay...)...) {
		rec.did[name] += n
	}
	fault := rec.fault && rec.lives%2 == 1
	rec.site.end(fault)
	if fault {
		none := unix.Rlimit{}
		if err := unix.Prlimit(rec.server.cmd.Process.Pid, unix.RLIMIT_FSIZE, &none, nil); err != nil {
			t.Fatal(err)
		}
		rec.site.awaitWaiting(rec.parties()) // each has met an error
	}
	rec.server.kill()
	if rec.between != nil {
		rec.between.close()
	}
}

// readAll reads every key.
func (rec *recording) readAll(t *testing.T, r *recorder) []porcupine.Operation {
	t.Helper()
	conn := rec.server.dial()
	for n := range rec.keys() {
		q := request{"GET", []input{{key: linearKey(n)}}}
		if err := r.do(conn, rec.site.life, []request{q}); err != nil {
			t.Fatal(err)
		}
	}
	return r.history
}

const flushRounds = "store_flush_rounds"

// search makes histories of so many operations together, and judges them. It returns
// what the servers have done before the kills, by name in INFO.
func (v setting) search(t *testing.T, want int) (did map[string]int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 7))
	did = map[string]int{}
	var histories, ops, open, kills, illegal, found int
	for left := want; left > 0; left -= maxHistory {
		rec := recording{setting: v}
		history := rec.run(t, rng, min(left, maxHistory))
		if t.Failed() {
			t.FailNow()
		}
		histories++
		ops += len(history)
		kills += rec.lives - 1
		for name, n := range rec.did {
			did[name] += n
		}
		for _, op := range history {
			if op.Output.(output).open {
				open++
			}
		}
		if !linearizable(t, history) {
			illegal++
			explain(t, history)
		}
		if !plantStaleRead(history) {
			t.Error("no place for a stale read")
		} else if !linearizable(t, history) {
			found++
		}
	}
	t.Logf("%d operations in %d histories, %d open, %d kills, %d flush rounds: %d illegal; %d of %d stale reads found",
		ops, histories, open, kills, did[flushRounds], illegal, found, histories)
	if illegal > 0 || found < histories {
		t.Fail()
	}
	return did
}

// TestLinearizable lets 32 clients work on few keys, half of the time on four of
// them, kills the server again and again, and asks porcupine whether what they
// saw, before and after the kills, could be the work of one register a key: so
// what was acknowledged is there, and what was read stays. An operation without
// an answer may have happened at any later time, or never.
//
// In a history with faults the disk takes no more writes for some time before a
// kill. What is read then is not counted: it may be taken back, as package server
// says.
//
// The controls: each history must be refused when one read in it is replaced by
// an older value; and a proxy that acknowledges writes before the server has them
// must be found out, by its kills alone, while the same proxy without that bug
// passes.
func TestLinearizable(t *testing.T) {
	small := []string{"--dirty-budget", "1MiB", "--log-bytes", "256KiB"}
	async := []string{"--appendfsync", "no"}
	trap := []string{"--trap-only"}
	for _, v := range []setting{
		{name: "sync/P=1", procs: 1},
		{name: "sync-small/P=4", procs: 4, flags: small},
		{name: "sync-small-trap/P=2", procs: 2, flags: slices.Concat(small, trap)},
		{name: "sync-small-fault/P=2", procs: 2, flags: small, fault: true},
		{name: "async/P=4", procs: 4, flags: async},
		{name: "async-small/P=1", procs: 1, flags: slices.Concat(small, async)},
		{name: "async-small-trap/P=4", procs: 4, flags: slices.Concat(small, trap, async)},
	} {
		t.Run(v.name, func(t *testing.T) {
			did := v.search(t, campaign.Scale(t, 12_000))
			if slices.Contains(v.flags, small[0]) && did[flushRounds] == 0 {
				t.Error("no flush round")
			}
		})
	}
	for _, v := range []setting{
		{name: "control/proxy", procs: 2, flags: async, proxy: true},
		{name: "control/proxy-early", procs: 2, flags: async, proxy: true, hold: 16},
	} {
		t.Run(v.name, func(t *testing.T) {
			rec := recording{setting: v}
			history := rec.run(t, rand.New(rand.NewPCG(campaign.Seed(t), 8)), 3*killEvery)
			if t.Failed() {
				return
			}
			got := linearizable(t, history)
			t.Logf("%d operations, %d kills, %d writes held back: linearizable %t", len(history), rec.lives-1, v.hold, got)
			if want := v.hold == 0; got != want {
				t.Errorf("linearizable %t, want %t", got, want)
			}
		})
	}
}
