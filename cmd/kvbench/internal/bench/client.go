package bench

import (
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/series"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	cacheLineBytes = 64

	// publishEvery is after how many calls a client says how far it is.
	publishEvery = 256
)

// A client is one goroutine of a phase, with all that it needs to run without
// allocating.
type client struct {
	db      engine.DB
	reader  engine.Reader
	index   int // of this client
	clients int
	calls   int // at most
	per     int // operations that a call does
	nexts   int
	seed    uint64 // the same for all clients
	space   keys.Space
	names   interface{ Put(dst []byte, i uint64) } // the keys
	key     []byte
	values  values

	draw         keys.Draw      // of all keys alike
	scrambled    keys.Scrambled // of YCSB's favourites
	latest       keys.Latest    // of what was inserted last
	coin, length keys.Draw      // of YCSB's actions, and of scans
	distribution Distribution
	inserts      *inserts

	epoch    time.Time // of now
	deadline int64     // by now
	gaps     keys.Draw // between timed calls; zero if each is timed
	interval float64   // nanoseconds between two calls of all clients; 0 = as fast as it can
	stop     *atomic.Bool

	// What it has done.
	done    int // calls
	puts    int
	sought  int // keys that are there and that it looked for
	found   int
	entries int
	sum     uint64 // of what was read, so that reading is not optimised away

	part    int // what the operation is, of parts
	parts   []part
	latency []*hdrhistogram.Histogram // of each part
	watch   *series.Recorder          // or nil

	published atomic.Int64 // done, for the progress line

	_ [cacheLineBytes]byte // the next client's counters are on other lines
}

// place returns the i-th place of this client where all clients take turns.
func (c *client) place(i int) uint64 { return uint64(i*c.clients + c.index) }

func (c *client) put(i uint64) error {
	c.names.Put(c.key, i)
	c.puts++
	return c.db.Put(c.key, c.values.next())
}

// get reads a key that is there.
func (c *client) get(i uint64) error {
	c.names.Put(c.key, i)
	found, err := c.reader.Get(c.key)
	c.sought++
	if found {
		c.found++
	}
	return err
}

// now is the time since the epoch in nanoseconds. time.Since reads one clock
// where time.Now reads two.
func (c *client) now() int64 { return int64(time.Since(c.epoch)) }

// record keeps the latency of an operation, which stands for so many.
func (c *client) record(nanos int64, standsFor int64) {
	// The only error is a value out of range.
	_ = c.latency[c.part].RecordValue(min(nanos, int64(figure.MaxLatency)))
	if c.watch != nil {
		c.watch.Record(c.parts[c.part].writes, nanos, standsFor)
	}
}

// each calls op with 0, 1 and so on until the calls are done. Each is timed, or some
// are, with gaps of random length.
func (c *client) each(op func(i int) error) error {
	all := c.gaps == (keys.Draw{}) && c.interval == 0
	next, stood := 0, int64(1) // the call that is timed next, and for how many it stands
	last := c.now()
	for i := range c.calls {
		if i == next && !all {
			start, ok := c.begin(i)
			if !ok {
				break
			}
			last = start
		}
		if err := op(i); err != nil {
			return fmt.Errorf("call %d of client %d, key %s: %w", i, c.index, c.key, err)
		}
		c.done = i + 1
		if i < next {
			continue
		}
		now := c.now()
		c.record(now-last, stood*int64(c.per))
		last = now
		gap := c.gap()
		next, stood = i+1+gap, int64(1+gap)
		if now > c.deadline || c.done-int(c.published.Load()) >= publishEvery && c.publish() {
			break
		}
	}
	return nil
}

// gap is how many calls are not timed after one that was.
func (c *client) gap() int {
	if c.gaps == (keys.Draw{}) || c.interval > 0 {
		return 0
	}
	return int(c.gaps.Next())
}

// wakeAhead is how long before its time a client that waits is awake: a sleep ends
// late by less.
const wakeAhead = 200 * time.Microsecond

// longestSleep is how long a client that waits does not look whether it is to stop.
const longestSleep = 100 * time.Millisecond

// begin waits for a call to begin, and returns since when it does. At a rate that is when
// it is due, whether or not those before it have let the client go on: what waits behind
// a stall is as late as a user would see it. It reports false where there is no time
// left for the call.
func (c *client) begin(i int) (start int64, ok bool) {
	if c.interval == 0 {
		return c.now(), true
	}
	due := float64(c.place(i)) * c.interval
	if due >= float64(c.deadline) { // it may be beyond an int64
		c.wait(c.deadline)
		return 0, false
	}
	return int64(due), c.wait(int64(due))
}

// wait returns when the moment has come, or reports false when the client is to stop before.
func (c *client) wait(moment int64) bool {
	for {
		switch ahead := time.Duration(moment - c.now()); {
		case ahead <= 0:
			return true
		case c.stop.Load():
			return false
		case ahead > wakeAhead:
			time.Sleep(min(ahead-wakeAhead, longestSleep))
		default:
			runtime.Gosched()
		}
	}
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
			n += c.published.Load() * int64(c.per)
		}
		return n
	}
}
