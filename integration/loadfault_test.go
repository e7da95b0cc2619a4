//go:build linux && (amd64 || arm64)

package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"faultline/internal/campaign"
	"faultline/internal/sysfault"
	"faultline/server/resp/resptest"
)

// A loadFault is what happens to reads of the data file, which under a supervisor
// are all made by pread64.
type loadFault struct {
	name    string
	answer  sysfault.Answer
	errno   unix.Errno // that commands show, 0 if none does
	many    int        // reads in a row; 0 for all that follow
	forever bool       // until kvd has ended, not until the load has
}

var loadFaults = []loadFault{
	{"EIO", sysfault.Fail(unix.EIO), unix.EIO, 1, false},
	{"EIO-50", sysfault.Fail(unix.EIO), unix.EIO, 50, false},
	{"EIO-on", sysfault.Fail(unix.EIO), unix.EIO, 0, false},
	{"EIO-forever", sysfault.Fail(unix.EIO), unix.EIO, 0, true},
	{"EINTR", sysfault.Fail(unix.EINTR), 0, 1, false},
	{"SIGKILL", sysfault.Kill, 0, 1, false},
}

// A stage is a part of a run of kvd, whose reads of the data file are counted.
type stage int32

const (
	opening stage = iota
	filling       // memory is filled: no faults
	serving
	over // no more faults
	stages

	noStage = stages
)

// A loadTrial is one run of kvd with little memory that meets a loadFault from the
// at-th read of a stage on.
type loadTrial struct {
	*trial
	fault loadFault
	in    stage
	at    int

	now   atomic.Int32 // the stage
	reads [stages]int  // of each stage; of decide
	hits  atomic.Int64 // reads that met the fault

	// Without a fault:
	calls map[sysfault.Class][]string
	did   map[string]int // what INFO has of inPlay, of the stage serving
}

func (r *loadTrial) decideRead(c sysfault.Call) sysfault.Answer {
	if r.in == noStage {
		r.calls[c.Class()] = append(r.calls[c.Class()], c.Name+" "+c.Path)
	}
	if c.Name != "pread64" || filepath.Base(c.Path) != "data" {
		return sysfault.Run
	}
	now := stage(r.now.Load())
	r.reads[now]++
	after := r.reads[now] - r.at
	if now != r.in || after < 0 || r.fault.many > 0 && after >= r.fault.many {
		return sysfault.Run
	}
	r.hits.Add(1)
	return r.note(c, r.fault.answer)
}

// run makes the run. What cannot be read must cost the commands that need it, and
// nothing else, and only as long as it cannot be read.
func (r *loadTrial) run() error {
	r.decide = r.decideRead
	served, err := r.start()
	if err != nil {
		return err
	}
	if !served {
		return r.refusedOpen()
	}
	r.now.Store(int32(filling))
	if err := r.fill(); err != nil {
		return errors.Join(r.unlessKilled(err), r.end(syscall.SIGKILL))
	}
	before := r.info()
	r.now.Store(int32(serving))
	err = errors.Join(r.load(), r.probe())
	r.did = r.info()
	for name, n := range before {
		r.did[name] -= n
	}
	if failed := int64(r.refused); err == nil && (failed > r.hits.Load() || failed > 0 && r.fault.errno == 0) {
		err = fmt.Errorf("%d commands failed for %d reads", failed, r.hits.Load())
	}
	if err == nil && !r.fault.forever {
		r.now.Store(int32(over))
		err = r.goesOn()
	}
	if err != nil {
		return errors.Join(err, r.end(syscall.SIGKILL))
	}
	return r.end(syscall.SIGTERM)
}

// info is what INFO has of inPlay, if there is no fault.
func (r *loadTrial) info() map[string]int {
	if r.in != noStage {
		return nil
	}
	return r.kvd.info(inPlay...)
}

// fill reads more than there is memory for.
func (r *loadTrial) fill() error {
	conn, err := resptest.Dial(r.kvd.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, c := range r.clients {
		keys := []string{"MGET"}
		for n := 0; n < c.keys; n += 15 { // few in a leaf
			keys = append(keys, c.keyOf(n))
		}
		if _, err := conn.Do(keys...); err != nil {
			return err
		}
	}
	return nil
}

// goesOn has kvd, all of whose reads succeed again, show everything, and take writes.
func (r *loadTrial) goesOn() error {
	if r.killed.Load() {
		return nil
	}
	if r.stopped {
		return errors.New("kvd has stopped for a read that failed")
	}
	failed := r.refused
	r.turns = 3
	if err := errors.Join(r.verify(r.kvd), r.load()); err != nil {
		return err
	}
	if r.refused > failed {
		return fmt.Errorf("%d commands failed after the disk could be read again", r.refused-failed)
	}
	return nil
}

// newLargeCrash makes a store that is larger than memory, in a round of which kvd was
// killed.
func newLargeCrash(t *testing.T, seed uint64) *origin {
	t.Helper()
	large := newLargeOrigin(t, faultClients, seed)
	large.flags = append([]string{"--log-bytes", "128KiB"}, smallMemory...)
	large.turns = 60 // merges and rounds in a short run
	r := large.newTrial(t, seed)
	r.turns *= 10 // it ends before
	r.decide = r.killInRound()
	if err := r.do(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !r.killed.Load() {
		t.Fatal("no second round in the run")
	}
	r.turns = large.turns
	return settled(r)
}

// runWithout makes a run without a fault, to count calls and what is in play.
func runWithout(t *testing.T, o *origin, seed uint64) *loadTrial {
	t.Helper()
	r := &loadTrial{trial: o.newTrial(t, seed), in: noStage, calls: map[sysfault.Class][]string{}}
	if err := errors.Join(r.run(), r.recovered()); err != nil {
		t.Fatal(err)
	}
	t.Logf("without a fault: reads by stage %v; under load %v", r.reads, r.did)
	played(t, r.did, 20)
	return r
}

// TestSyscallFaultsSmallMemory has several times as much data as kvd may have in
// memory, and lets reads of it fail: when it opens, after a kill in a round, and when
// it serves. A command that needs what cannot be read must fail and have changed
// nothing, all others go on, and all is as it should be once reads succeed again, and
// after a restart. Then it lets other calls fail, as TestSyscallFaults does, whose
// judgement is the same.
func TestSyscallFaultsSmallMemory(t *testing.T) {
	seed := campaign.Seed(t)
	from := newLargeCrash(t, seed)
	without := runWithout(t, from, seed)
	var loads, others tally
	t.Run("run", func(t *testing.T) {
		for k, f := range loadFaults {
			for i := range campaign.Scale(t, 1) {
				in := serving
				if (k+i)%3 == 2 {
					in = opening
				}
				at := 1 + (i*7919+k*104729+int(seed)*31)%without.reads[in]
				t.Run(fmt.Sprintf("load/%s/%d/%d", f.name, in, at), func(t *testing.T) {
					t.Parallel()
					tryLoads(t, from, seed, &loadTrial{fault: f, in: in, at: at}, &loads)
				})
			}
		}
		for _, f := range chooseFaults(without.calls, seed, campaign.Scale(t, 4)) {
			t.Run(fmt.Sprintf("%s/%s/%d", f.class, f.kind.name, f.at), func(t *testing.T) {
				t.Parallel()
				tryFault(t, from, seed, false, &f, &others)
			})
		}
	})
	t.Logf("reads of data: %v", &loads)
	t.Logf("other calls: %v", &others)
	if loads.runs >= len(loadFaults) && min(loads.whole, loads.refused) == 0 {
		t.Error("an outcome is missing: the faults do not reach what they are for")
	}
}

// chooseFaults returns n faults of all kinds, evenly spread.
func chooseFaults(calls map[sysfault.Class][]string, seed uint64, n int) (some []fault) {
	const each = 12 // places
	var all []fault
	for _, group := range faultKinds {
		for _, kind := range group.kinds {
			for _, at := range places(calls[group.class], each) {
				all = append(all, fault{group.class, kind, at})
			}
		}
	}
	n = min(n, len(all))
	for i := range n {
		some = append(some, all[(int(seed)*7+i*len(all)/n)%len(all)])
	}
	return some
}

// tryLoads makes one run, and judges what is there after it.
func tryLoads(t *testing.T, from *origin, seed uint64, r *loadTrial, total *tally) {
	r.trial = from.newTrial(t, seed)
	r.async = r.at%2 == 1
	r.noReads = true
	r.cause = r.fault.errno
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%d reads failed, %d commands: %v; kvd's log:\n%s", r.hits.Load(), r.refused, err, r.kvd.log.Bytes())
		}
	}
	fatal(r.run())
	err := r.recovered()
	total.add(r.trial, r.hits.Load() > 0, err)
	fatal(err)
	check(t, r.dir)
	t.Logf("%d reads failed, %d commands", r.hits.Load(), r.refused)
}
