package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/disk"
)

// A fault fails the calls from number first on, or only that one.
type fault struct {
	first   int64
	forGood bool
	err     error
	calls   atomic.Int64
	hits    atomic.Int64
}

func (f *fault) String() string {
	if f.forGood {
		return fmt.Sprintf("%v from call %d on", f.err, f.first)
	}
	return fmt.Sprintf("%v of call %d", f.err, f.first)
}

// hit is asked before each call.
func (f *fault) hit() error {
	if f == nil {
		return nil
	}
	n := f.calls.Add(1) - 1
	if n == f.first || f.forGood && n > f.first {
		f.hits.Add(1)
		return f.err
	}
	return nil
}

// refuses checks a store that has failed: it takes no write, and can be read.
func (d *director) refuses() error {
	if d.db == nil {
		return nil // Open has failed
	}
	if err := d.db.Put([]byte("refused"), nil, Deferred); !errors.Is(err, ErrStopped) && err != ErrClosed {
		return fmt.Errorf("a write after the error: %v", err)
	}
	found, err := walkOf(d.db)
	if err == nil {
		_, err = d.mu.led.find(found, max(0, d.begun()-1), d.begun())
	}
	if err == ErrClosed {
		return nil
	}
	return err
}

// drawFault draws a fault for a film.
func drawFault(rng *rand.Rand) *fault {
	f := &fault{first: rng.Int64N(250), forGood: rng.IntN(2) == 0, err: syscall.EIO}
	if rng.IntN(2) == 0 {
		f.err = syscall.ENOSPC
	}
	return f
}

// A failure counts what came of faults.
type failure struct {
	survived, stopped int
	refused           int // an operation, and the store goes on
	x                 *explorer
}

func (c *failure) String() string {
	return fmt.Sprintf("%d failing calls, the store stopped at %d, refused one operation at %d and went on after %d; %v; %d violations",
		c.survived+c.stopped+c.refused, c.stopped, c.refused, c.survived, &c.x.mu.count, len(c.x.mu.violations))
}

// try makes a film in which a call fails, and explores it from there on. The error
// says what was wrong.
func (c *failure) try(seed uint64, rng *rand.Rand) error {
	d := newDirector(c.x.manner, seed)
	d.fault = drawFault(rng)
	err := d.shoot(filmSteps)
	what := fmt.Sprintf("seed %d, %v, %v: %v", seed, c.x.manner, d.fault, err)
	var wrong error
	switch {
	case d.fault.hits.Load() == 0:
		d.end() // it was shorter than that
		return nil
	case err == nil:
		c.survived++
	case !errors.Is(err, d.fault.err):
		wrong = errors.New("another error")
	case d.db != nil && d.db.flusher.Err() == nil:
		c.refused++ // the pages of a long value: nobody refers to them
	default:
		c.stopped++
		wrong = d.refuses()
	}
	f := d.end()[d.fault.first:]
	for i := range f { // what only the kernel had may have gone with a sync that failed
		f[i].at.written = f[i].at.durable
	}
	c.x.forget()
	c.x.explore(f, 1+len(f)/3, seed, never)
	c.x.explore(f[len(f)-1:], 1, seed, never)
	if c.x.violated() {
		wrong = errors.Join(wrong, c.x.mu.violations[0])
	}
	if wrong != nil {
		return fmt.Errorf("%s; then %w", what, wrong)
	}
	return nil
}

// dropped is which files lose what a failed sync was to write.
var dropped = [...]string{"", filmDir + "/wal/*", filmDir + "/*"}

// TestFailingCalls is TestExplore of runs in which the k-th call fails, once or from
// then on, with an I/O error or for want of space; when it is a sync, the kernel may
// forget what it was to write, and still show it. The store must go on, or say so,
// and then refuse writes and go on to serve reads. What was acknowledged before must
// be there after any crash from the failed call on, what was refused must not, and
// what is found then must stay.
func TestFailingCalls(t *testing.T) {
	seed, goal := campaign.Seed(t), campaign.Scale(t, 160)
	if raceEnabled {
		goal = max(1, goal/8)
	}
	rng := rand.New(rand.NewPCG(seed, 11))
	c := failure{x: newExplorer(manner{})}
	for n := 0; c.survived+c.stopped < goal; n++ {
		c.x.manner = manners[n%len(manners)]
		c.x.drops = dropped[n/len(manners)%len(dropped)]
		if err := c.try(seed+uint64(n), rng); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(&c)
}

// A carelessFS is one that is used without care.
type carelessFS struct {
	disk.FS
	deaf bool // errors of syncs are ignored
}

// Open hides that the file can be evicted.
func (c carelessFS) Open(name string, create bool) (disk.File, error) {
	f, err := c.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return carelessFile{f, c.deaf}, nil
}

type carelessFile struct {
	disk.File
	deaf bool
}

func (f carelessFile) Sync() error {
	err := f.File.Sync()
	if f.deaf {
		return nil
	}
	return err
}

// TestFailingCallsControl is TestFailingCalls with stores that do not hear of a sync
// that has failed, or believe what the kernel shows after one: both must be noticed.
func TestFailingCallsControl(t *testing.T) {
	seed := campaign.Seed(t)
	for _, deaf := range []bool{true, false} {
		rng := rand.New(rand.NewPCG(seed, 11))
		w := manner{alone: true, drops: dropped[1], wrap: func(fs disk.FS) disk.FS { return carelessFS{fs, deaf} }}
		c := failure{x: newExplorer(w)}
		var err error
		for n := uint64(0); n < 400 && err == nil; n++ {
			err = c.try(seed+n, rng)
		}
		if err == nil {
			t.Errorf("deaf %t: not noticed: %v", deaf, &c)
		}
		t.Logf("deaf %t: after %d faults: %v", deaf, c.survived+c.stopped, err)
	}
}
