package integration

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/machine"
)

// chainCuts is after how many power cuts TestMachinePowerCut begins with a new
// disk: so the making of a store is cut too, and the history that each start
// compares stays short.
const chainCuts = 25

// TestMachinePowerCut cuts the power of a whole machine, again and again, with a
// kernel that is not the host's: internal/guest writes batches to a store on ext4
// and says on the console which are durable; at a random moment the machine is
// ended, and what its disk had in its cache survives in part, by sectors. It starts
// again from that. The store must then be exactly the first n batches, and n not
// less than what was acknowledged: see internal/guest for the comparison, and
// internal/machine for the disk.
func TestMachinePowerCut(t *testing.T) {
	t.Parallel()
	seed := campaign.Seed(t)
	for _, kernel := range kernels(t) {
		t.Run(kernel.Release, func(t *testing.T) {
			if !kernel.AtLeast(6, 1) {
				t.Skip("older than what the store supports; see TestMachineKernel")
			}
			began := time.Now()
			cuts := campaign.Scale(t, 2)
			c := newComputer(t, kernel, nil)
			var sum cutTally
			for chain := uint64(0); cuts > 0; chain++ {
				c.newDisk()
				cutChain(c, seed+chain, min(cuts, chainCuts), &sum)
				cuts -= chainCuts
			}
			t.Logf("%d power cuts, %d of them while the store was opened, %.1f s each; %d batches acknowledged, 0 lost, %d more survived; of %d writes in the cache %d lost, %d torn",
				sum.cuts, sum.opening, time.Since(began).Seconds()/float64(sum.cuts), sum.acknowledged, sum.more, sum.cached, sum.lost, sum.torn)
		})
	}
}

// A cutTally sums up power cuts.
type cutTally struct {
	cuts, opening      int
	acknowledged, more uint64 // batches
	cached, lost, torn int    // writes
}

// add counts a start that was cut.
func (s *cutTally) add(o *start, loss machine.Loss) {
	s.cuts++
	if !o.said["RECOVERED"] {
		s.opening++
	}
	if o.said["ACK"] {
		s.acknowledged += o.acked - o.recovered
	}
	s.cached += loss.Cached()
	s.lost += loss.Lost
	s.torn += loss.Torn
}

// cutChain makes power cuts of one disk, each after a start from what the last has
// left, and one start more, which ends in order.
func cutChain(c *computer, seed uint64, cuts int, sum *cutTally) {
	c.t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	durable := uint64(0) // the last batch that is known to be
	for life := range cuts {
		s := c.start("role=store seed=%d life=%d", seed, life)
		s.runAndCut(rng, (seed+uint64(life))%4 == 2)
		loss := c.disk.Cut(machine.RandomWay(rng), rng)
		sum.more += s.check(durable)
		sum.add(s, loss)
		durable = max(durable, s.recovered, s.acked)
		c.t.Logf("seed %d, cut %d, %s; %v", seed, life, s.progress(), loss)
	}
	s := c.start("role=store seed=%d life=%d then=stop", seed, cuts)
	s.finish()
	sum.more += s.check(durable)
}

// runAndCut lets a machine run for a while, and cuts its power: while the store is
// opened, if opening, else some time after a number of batches were acknowledged.
// The moment is that of a write or a flush of the disk, mostly in the middle of the
// writes of a flush round, which are more than those of a batch.
func (s *start) runAndCut(rng *rand.Rand, opening bool) {
	s.c.t.Helper()
	batches := uint64(10 + rng.IntN(100))
	requests, cached := 1+rng.IntN(400), 1+rng.IntN(16)
	if opening {
		requests = 1 + rng.IntN(30)
		s.readUntil(func() bool { return s.said["OPENING"] })
	} else {
		s.readUntil(func() bool { return s.said["RECOVERED"] && s.acked >= s.recovered+batches })
	}
	s.readUntilClosed(s.c.disk.LosePower(requests, cached))
	s.cut()
}

// progress describes how far a start has come.
func (s *start) progress() string {
	switch {
	case s.said["ACK"]:
		return fmt.Sprintf("recovered %d, acknowledged up to %d", s.recovered, s.acked)
	case s.said["RECOVERED"]:
		return fmt.Sprintf("recovered %d", s.recovered)
	}
	return "while the store was opened"
}

// lost tells whether a start has recovered less than was durable before.
func (s *start) lost(durable uint64) bool { return s.said["RECOVERED"] && s.recovered < durable }

// check fails the test if it has. It returns how many batches have survived that
// nobody knew to be durable.
func (s *start) check(durable uint64) (more uint64) {
	s.c.t.Helper()
	if s.lost(durable) {
		s.c.t.Errorf("recovered %d batches, %d were durable", s.recovered, durable)
	}
	if s.c.t.Failed() {
		s.c.t.FailNow()
	}
	return max(durable, s.recovered) - durable
}

// TestMachinePowerCutControl shows that TestMachinePowerCut can fail: it finds what
// is lost by a disk that acknowledges flushes and does not make them, and by a
// program that acknowledges batches before they are durable.
func TestMachinePowerCutControl(t *testing.T) {
	t.Parallel()
	seed := campaign.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	const batches = 20
	c := newComputer(t, kernels(t)[0], nil)
	c.disk.Lie(true)
	first := c.start("role=store seed=%d life=0", seed)
	first.readUntil(func() bool { return first.acked >= batches })
	first.cut()
	c.disk.Lie(false)
	c.disk.Cut(machine.Forget, rng)

	second := c.start("role=store seed=%d life=1 then=lie", seed)
	second.readUntil(func() bool { return second.acked >= second.recovered+batches })
	second.cut()
	c.disk.Cut(machine.Forget, rng)
	if !second.lost(first.acked) {
		t.Errorf("the disk lied: recovered %d of %d batches, and that is no loss", second.recovered, first.acked)
	}

	third := c.start("role=store seed=%d life=2 then=stop", seed)
	third.finish()
	if !third.lost(second.acked) {
		t.Errorf("the program lied: recovered %d of %d batches, and that is no loss", third.recovered, second.acked)
	}
	t.Logf("2 lies found: the disk's cost %d batches, the program's %d", first.acked-second.recovered, second.acked-third.recovered)
}
