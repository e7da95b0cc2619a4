package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"faultline/internal/memdisk"
)

// maxLevels is how many crashes there are in a row, at most: of the run, and of
// recoveries.
const maxLevels = 3

// An explorer recovers from crashes of films. Methods are safe for concurrent use.
type explorer struct {
	manner
	spoil func(m *memdisk.FS) // before each Open, or nil: a recovery that is wrong, for controls

	mu struct {
		sync.Mutex
		known      map[uint64]digest // what was recovered from a state, by its hash
		count      explored
		violations []error
	}
}

func newExplorer(w manner) *explorer {
	x := &explorer{manner: w}
	x.forget()
	return x
}

// forget drops what no other film can come to, for each store has an id of its own.
func (x *explorer) forget() { x.mu.known = map[uint64]digest{} }

// explored counts states.
type explored struct {
	states   [maxLevels][memdisk.NumLoss]int
	distinct int // by the bytes of all files, and what of them is durable
	opened   int // the others were known
	wentOn   int // the store was written to again, crashed again, and was right
	verified int
	evicted  uint64 // pages, during recoveries and after them
}

func (c *explored) total() (n int) {
	for _, level := range c.states {
		for _, k := range level {
			n += k
		}
	}
	return n
}

// complete returns an error if some kind of crash was never tried.
func (c *explored) complete() (err error) {
	for level, by := range c.states {
		for how, n := range by {
			if n == 0 {
				err = errors.Join(err, fmt.Errorf("no state of crash %d, %v", level+1, memdisk.Loss(how)))
			}
		}
	}
	return err
}

func (c *explored) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d crash states, %d of them distinct, %d recoveries run, %d verified, %d written to afterwards, %d pages evicted",
		c.total(), c.distinct, c.opened, c.verified, c.wentOn, c.evicted)
	for level, by := range c.states {
		fmt.Fprintf(&b, "; crash %d:", level+1)
		for how, n := range by {
			fmt.Fprintf(&b, " %v %d", memdisk.Loss(how), n)
		}
	}
	return b.String()
}

// under is how many crashes of its recovery are tried for a state of each level.
func under(level int, rng *rand.Rand) int {
	switch level {
	case 0:
		return 5
	case 1:
		return rng.IntN(2)
	}
	return 0
}

// visit recovers from s, and from crashes of that recovery.
func (x *explorer) visit(s *state, level int, rng *rand.Rand) {
	n := under(level, rng)
	hash := s.fs.Hash()
	x.mu.Lock()
	x.mu.count.states[level][s.how]++
	found, known := x.mu.known[hash]
	x.mu.Unlock()
	if known && (n == 0 || s.settled) {
		if _, err := s.check(found); err != nil {
			x.violation(s, err)
		}
		return
	}
	r := recovery{explorer: x, state: s, filmed: n > 0, rng: rng}
	if err := r.run(); err != nil {
		x.violation(s, err)
		return
	}
	x.mu.Lock()
	if x.mu.count.opened++; !known {
		x.mu.known[hash] = r.found
		x.mu.count.distinct++
	}
	x.mu.Unlock()
	for range n {
		i := rng.IntN(len(r.film))
		how := memdisk.Loss(rng.IntN(int(memdisk.NumLoss)))
		x.visit(s.crashAgain(r.film[i], i >= r.opened, r.batches, how, rng), level+1, rng)
	}
}

func (x *explorer) violation(s *state, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mu.violations = append(x.mu.violations, fmt.Errorf("%s: %w", strings.Join(s.trail, ", then "), err))
}

func (x *explorer) violated() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.mu.violations) > 0
}

// workers is how many recoveries run at a time.
const workers = 2

// explore visits crashes of every frame of f with every loss, one in every of them.
// It ends early when stop says so.
func (x *explorer) explore(f film, every int, seed uint64, stop func() bool) {
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for n := worker; n < len(f)*int(memdisk.NumLoss) && !stop(); n += workers {
				rng := rand.New(rand.NewPCG(seed, uint64(n)))
				if rng.IntN(every) == 0 {
					x.visit(crashOf(f[n/int(memdisk.NumLoss)], memdisk.Loss(n%int(memdisk.NumLoss)), rng), 0, rng)
				}
			}
		})
	}
	wg.Wait()
}
