package bench

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/keys"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	cacheLineBytes = 64

	// publishEvery is after how many operations a client says how far it is.
	publishEvery = 256
	// sampleEvery is of how many entries readseq times one, on average.
	sampleEvery = 32
)

// A client is one goroutine of a phase, with all that it needs to run without
// allocating.
type client struct {
	db      engine.DB
	index   int // of this client
	clients int
	ops     int // at most
	nexts   int
	seed    uint64 // the same for all clients
	space   keys.Space
	key     []byte
	values  values
	draw    keys.Draw

	epoch    time.Time // of now
	deadline int64     // by now
	stop     *atomic.Bool

	// What it has done.
	done    int
	found   int
	entries int
	sum     uint64 // of what was read, so that reading is not optimised away
	latency *hdrhistogram.Histogram

	published atomic.Int64 // done, for the progress line

	_ [cacheLineBytes]byte // the next client's counters are on other lines
}

// place returns the i-th place of this client where all clients take turns.
func (c *client) place(i int) uint64 { return uint64(i*c.clients + c.index) }

func (c *client) put(i uint64) error {
	c.space.Put(c.key, i)
	return c.db.Put(c.key, c.values.next())
}

// now is the time since the epoch in nanoseconds. time.Since reads one clock
// where time.Now reads two.
func (c *client) now() int64 { return int64(time.Since(c.epoch)) }

// record keeps the latency of an operation.
func (c *client) record(nanos int64) {
	// The only error is a value out of range.
	_ = c.latency.RecordValue(min(nanos, int64(figure.MaxLatency)))
}

// each calls op with 0, 1 and so on until the operations are done, and times
// every one.
func (c *client) each(op func(i int) error) error {
	last := c.now()
	for i := range c.ops {
		if err := op(i); err != nil {
			return fmt.Errorf("operation %d of client %d, key %s: %w", i, c.index, c.key, err)
		}
		now := c.now()
		c.record(now - last)
		last = now
		c.done = i + 1
		if now > c.deadline || c.done%publishEvery == 0 && c.publish() {
			break
		}
	}
	return nil
}

// sampled reads it from first to last and times some of the entries. The gaps
// are random, so that they do not fall in step with the pages of a store.
func (c *client) sampled(it engine.Iterator) {
	gaps := keys.NewDraw(2*sampleEvery-3, c.seed) // a timed entry and the one before it are no gap
	sampleAt := int(gaps.Next())
	start := c.now() // of the entry that is timed
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		c.sum += uint64(key[len(key)-1]) + engine.Touch(it.Value())
		c.done++
		if c.done <= sampleAt {
			continue
		}
		now := c.now()
		if c.done == sampleAt+1 {
			start = now // the next entry is timed
			continue
		}
		c.record(now - start)
		sampleAt = c.done + int(gaps.Next())
		if now > c.deadline || c.publish() {
			break
		}
	}
	c.entries = c.done
}

// publish says how far the client is, and returns whether it is to stop.
func (c *client) publish() (stop bool) {
	c.published.Store(int64(c.done))
	return c.stop.Load()
}

// deadlineAfter is when a phase that starts now ends at the latest.
func deadlineAfter(d time.Duration) int64 {
	if d == 0 {
		return math.MaxInt64
	}
	return int64(d)
}

// published returns how many operations clients have done.
func published(clients []*client) func() int64 {
	return func() (n int64) {
		for _, c := range clients {
			n += c.published.Load()
		}
		return n
	}
}
