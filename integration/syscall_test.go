//go:build linux && (amd64 || arm64)

package integration

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"faultline/internal/campaign"
	"faultline/internal/sysfault"
	"faultline/store"
)

func init() { sysfault.Shim() }

// A faultKind is what happens to a call, and to all of its class that follow.
type faultKind struct {
	name        string
	first, then sysfault.Answer
	errno       unix.Errno // that the program sees, 0 if none
}

func once(errno unix.Errno) faultKind {
	return faultKind{unix.ErrnoName(errno), sysfault.Fail(errno), sysfault.Run, errno}
}

func always(errno unix.Errno) faultKind {
	return faultKind{unix.ErrnoName(errno) + "-on", sysfault.Fail(errno), sysfault.Fail(errno), errno}
}

var killed = faultKind{"SIGKILL", sysfault.Kill, sysfault.Run, 0}

// faultKinds are the faults that a call of each class can meet. EINTR and EAGAIN
// come once: they ask for another try.
var faultKinds = []struct {
	class sysfault.Class
	kinds []faultKind
}{
	{sysfault.Write, []faultKind{
		once(unix.EIO), always(unix.EIO), once(unix.ENOSPC), always(unix.ENOSPC), once(unix.EDQUOT), once(unix.EINTR),
		{"short", sysfault.Half, sysfault.Run, 0},
		{"short-ENOSPC-on", sysfault.Half, sysfault.Fail(unix.ENOSPC), unix.ENOSPC}, // as a disk fills up
		killed,
	}},
	{sysfault.Sync, []faultKind{
		once(unix.EIO), always(unix.EIO), once(unix.ENOSPC), once(unix.EDQUOT), once(unix.EINTR), killed,
	}},
	{sysfault.Allocate, []faultKind{
		once(unix.EIO), once(unix.ENOSPC), always(unix.ENOSPC), once(unix.EDQUOT), once(unix.EINTR), always(unix.EOPNOTSUPP), killed,
	}},
	{sysfault.Name, []faultKind{
		once(unix.EIO), once(unix.ENOSPC), always(unix.ENOSPC), once(unix.EMFILE), once(unix.EINTR), killed,
	}},
	{sysfault.Read, []faultKind{once(unix.EIO), always(unix.EIO), once(unix.EINTR), killed}},
	{sysfault.Memory, []faultKind{once(unix.ENOMEM), always(unix.ENOMEM), once(unix.EAGAIN), killed}},
}

// A fault is a kind of fault for the at-th call of a class, from 1.
type fault struct {
	class sysfault.Class
	kind  faultKind
	at    int
}

// An origin is the store that a run begins with, and what is in it.
type origin struct {
	dir   string              // copied for each run; "" for none, so that kvd makes a new one
	acked []map[string]string // of each client
	shape shape               // of its clients
	flags []string            // of kvd
	turns int
}

// noOrigin has kvd make a new store. Its budgets make rounds in a short run.
var noOrigin = &origin{shape: fewKeys, turns: 25, flags: []string{"--dirty-budget", "1MiB", "--log-bytes", "64KiB"}}

const faultClients = 2

// newTrial returns a short run on a copy of the origin.
func (o *origin) newTrial(t *testing.T, seed uint64) *trial {
	t.Helper()
	r := &trial{
		t:       t,
		dir:     filepath.Join(t.TempDir(), "store"),
		clients: o.clients(seed),
		flags:   o.flags,
		turns:   o.turns,
	}
	if err := o.copyTo(r.dir); err != nil {
		t.Fatal(err)
	}
	return r
}

// clients returns the clients of a run: they send the same in every run.
func (o *origin) clients(seed uint64) []*client {
	clients := newClients(max(len(o.acked), faultClients), o.shape, rand.New(rand.NewPCG(seed, 0)))
	for i, acked := range o.acked {
		clients[i].acked = maps.Clone(acked)
		clients[i].seq = 1e6 // no value is one that the origin has
	}
	return clients
}

// copyTo makes dir a copy of the origin.
func (o *origin) copyTo(dir string) error {
	if o.dir == "" {
		return nil
	}
	return os.CopyFS(dir, os.DirFS(o.dir))
}

// newOrigin makes a store with small segments and kills kvd in the middle of a
// round, in step C, when the log has grown since the cut: Open has a journal to
// write back and a log to replay. Which calls overlap is not the same in each
// try.
func newOrigin(t *testing.T, seed uint64) *origin {
	for range 20 {
		r := noOrigin.newTrial(t, seed)
		db, err := store.Open(r.dir, &store.Options{MemoryBudget: 64 << 20, SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		r.decide = r.killInRound()
		if err := r.do(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if r.killed.Load() && !strings.Contains(check(t, r.dir), " 0 records replayed") {
			return settled(r)
		}
	}
	t.Fatal("no try ended in a round with something in the log")
	return nil
}

// killInRound kills kvd before it writes to the data file, in the second round or
// later, if it has written to the log since the journal was whole.
func (r *trial) killInRound() func(sysfault.Call) sysfault.Answer {
	rounds, grown := 0, false
	return func(c sysfault.Call) sysfault.Answer {
		switch name := filepath.Base(c.Path); {
		case c.Class() == sysfault.Sync && name == "journal":
			rounds, grown = rounds+1, false
		case c.Class() == sysfault.Write && strings.HasSuffix(name, ".log"):
			grown = true
		case c.Class() == sysfault.Write && name == "data" && rounds > 1 && grown:
			return r.note(c, sysfault.Kill)
		}
		return sysfault.Run
	}
}

// settled returns what a trial has left as an origin. What of the writes in flight
// is there shows in a copy.
func settled(r *trial) *origin {
	r.t.Helper()
	o := &origin{dir: r.dir, shape: r.clients[0].shape, flags: r.flags, turns: r.turns}
	r.dir = filepath.Join(r.t.TempDir(), "copy")
	if err := errors.Join(o.copyTo(r.dir), r.recovered()); err != nil {
		r.t.Fatal(err)
	}
	for _, c := range r.clients {
		o.acked = append(o.acked, c.acked)
	}
	return o
}

// countCalls makes a run without a fault, and returns the calls of each class, in
// order.
func countCalls(t *testing.T, o *origin, seed uint64, async bool) map[sysfault.Class][]string {
	calls := map[sysfault.Class][]string{}
	r := o.newTrial(t, seed)
	r.async = async
	r.decide = func(c sysfault.Call) sysfault.Answer {
		calls[c.Class()] = append(calls[c.Class()], c.Name+" "+c.Path)
		return sysfault.Run
	}
	if err := errors.Join(r.do(syscall.SIGTERM), r.recovered()); err != nil {
		t.Fatal(err)
	}
	return calls
}

// places returns n of the indices of calls, from 1: all, or evenly spread ones.
// Of many calls in a row that are alike, as when a file is zeroed, the first two
// and the last then stand for the others.
func places(calls []string, n int) []int {
	var at []int
	for i, c := range calls {
		if n >= len(calls) || i < 2 || i == len(calls)-1 || c != calls[i-1] || c != calls[i-2] || c != calls[i+1] {
			at = append(at, i+1)
		}
	}
	n = min(n, len(at))
	for i := range n {
		at[i] = at[(2*i+1)*len(at)/(2*n)]
	}
	return at[:n]
}

// A tally counts what became of runs.
type tally struct {
	sync.Mutex
	calls, runs, missed, lost        int
	unopened, refused, killed, whole int // how runs went
}

func (y *tally) String() string {
	return fmt.Sprintf("%d system-call faults, %d runs in which writes were lost; "+
		"kvd went on %d times, refused commands %d, did not open %d, was killed %d; %d runs ended before the fault",
		y.runs, y.lost, y.whole, y.refused, y.unopened, y.killed, y.missed)
}

// add counts a run, and what recovery has said of it.
func (y *tally) add(r *trial, hit bool, recovered error) {
	y.Lock()
	defer y.Unlock()
	if recovered != nil {
		y.lost++
	}
	y.runs++
	switch {
	case !hit: // this run made fewer calls than the one that was counted
		y.runs--
		y.missed++
	case r.killed.Load():
		y.killed++
	case r.kvd.addr == "":
		y.unopened++
	case r.refused > 0:
		y.refused++
	default:
		y.whole++
	}
}

// TestSyscallFaults runs the real kvd, from recovery after a crash in a round, or
// from no store at all, through rounds to SIGTERM, and lets the k-th call of a
// class fail, once or from then on, or be short, or kills the process instead of
// it. kvd must then go on, or refuse with the cause and go on refusing, or not
// open, saying why in one line; after a failed sync of the log it must
// acknowledge nothing as durable. Started again without faults it must have
// every acknowledged write, and nothing that was not written.
//
// FAULTLINE_SCALE=100 tries every k with every kind of fault, but for most of the
// thousand writes that zero the first log file of a new store.
func TestSyscallFaults(t *testing.T) {
	seed := campaign.Seed(t)
	crashed := newOrigin(t, seed)
	variants := []struct {
		name  string
		from  *origin
		async bool
		n     int // places for each kind of fault
	}{
		{"crashed", crashed, false, 2},
		{"crashed-async", crashed, true, 1},
		{"new", noOrigin, false, 1},
	}
	var total tally
	t.Run("run", func(t *testing.T) {
		for _, v := range variants {
			calls := countCalls(t, v.from, seed, v.async)
			for _, group := range faultKinds {
				total.calls += len(calls[group.class])
				for _, kind := range group.kinds {
					for _, at := range places(calls[group.class], campaign.Scale(t, v.n)) {
						f := fault{group.class, kind, at}
						t.Run(fmt.Sprintf("%s/%s/%s/%d", v.name, f.class, kind.name, at), func(t *testing.T) {
							t.Parallel()
							tryFault(t, v.from, seed, v.async, &f, &total)
						})
					}
				}
			}
		}
	})
	t.Logf("%d calls in the %d runs without a fault; %v", total.calls, len(variants), &total)
	if min(total.whole, total.refused, total.unopened, total.killed) == 0 {
		t.Error("an outcome is missing: the faults do not reach what they are for")
	}
}

// tryFault makes one run that meets f, and judges it.
func tryFault(t *testing.T, from *origin, seed uint64, async bool, f *fault, total *tally) {
	r := from.newTrial(t, seed)
	r.async = async
	r.noReads = f.class == sysfault.Read || f.class == sysfault.Memory
	r.cause = f.kind.errno
	hit := f.arm(r)
	if err := r.do(syscall.SIGTERM); err != nil {
		t.Fatalf("%+v: %v; kvd's log:\n%s", hit.Load(), err, r.kvd.log.Bytes())
	}
	if f.at%4 == 0 && from.dir != "" {
		check(t, r.dir) // what the fault has left, without recovery
	}
	err := r.recovered()
	total.add(r, hit.Load() != nil, err)
	if err != nil {
		t.Fatalf("%+v: %v; kvd's log:\n%s", hit.Load(), err, r.kvd.log.Bytes())
	}
	check(t, r.dir)
}

// arm lets a trial meet f, and returns the call that has met it, once it has.
func (f *fault) arm(r *trial) *atomic.Pointer[sysfault.Call] {
	var hit atomic.Pointer[sysfault.Call]
	n := 0
	r.decide = func(c sysfault.Call) sysfault.Answer {
		if c.Class() != f.class {
			return sysfault.Run
		}
		n++
		switch {
		case n < f.at:
			return sysfault.Run
		case n > f.at:
			return r.note(c, f.kind.then)
		}
		hit.Store(&c)
		return r.note(c, f.kind.first)
	}
	return &hit
}

// TestSyscallFaultsControl runs the same with two lies that the test must
// notice: writes to the log that are said to have been made, after which kvd is
// killed; and a sync that is said to have failed to the test alone, so that kvd
// acknowledges what follows.
func TestSyscallFaultsControl(t *testing.T) {
	seed := campaign.Seed(t)
	o := newOrigin(t, seed)
	// ofLog numbers the calls of a class on segments of the log for decide.
	ofLog := func(class sysfault.Class, decide func(n int) sysfault.Answer) func(sysfault.Call) sysfault.Answer {
		n := 0
		return func(c sysfault.Call) sysfault.Answer {
			if c.Class() != class || !strings.HasSuffix(c.Path, ".log") {
				return sysfault.Run
			}
			n++
			return decide(n)
		}
	}
	t.Run("write", func(t *testing.T) {
		for from := 2; from <= 20; from += 6 {
			r := o.newTrial(t, seed)
			r.decide = ofLog(sysfault.Write, func(n int) sysfault.Answer {
				if n < from {
					return sysfault.Run
				}
				return sysfault.Pretend
			})
			if err := r.do(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			// With the tail file Open itself finds out, and refuses.
			if err := os.Remove(filepath.Join(r.dir, "wal", "tail")); err != nil {
				t.Fatal(err)
			}
			if err := r.recovered(); err != nil {
				first, _, _ := strings.Cut(err.Error(), ":")
				t.Logf("write %d of the log and all later ones not made, %d writes acknowledged: noticed, %s", from, r.acked, first)
				return
			}
		}
		t.Error("a disk that makes no writes was not noticed")
	})
	t.Run("sync", func(t *testing.T) {
		r := o.newTrial(t, seed)
		r.decide = ofLog(sysfault.Sync, func(n int) sysfault.Answer {
			if n == 3 {
				r.unsynced.Store(true)
			}
			return sysfault.Run
		})
		if err := r.do(syscall.SIGTERM); err == nil || !strings.Contains(err.Error(), "after the sync of the log had failed") {
			t.Errorf("acknowledged after a failed sync: %v", err)
		}
	})
}
