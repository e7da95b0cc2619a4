package ltm

import (
	"sync"

	"faultline/cmd/kvbench/internal/figure"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Second is what all clients together have done in one second. An operation
// belongs to the second in which it ended: a stall shows as seconds with little
// or nothing in them, and then a large maximum.
type Second struct {
	Second int   `json:"second"` // since the clients were warm, from 0
	Reads  Times `json:"reads"`
	Writes Times `json:"writes"`

	Rounds     uint64 `json:"rounds"`      // see engine.Counter; that ended in this second
	ReadBytes  int64  `json:"read_bytes"`  // see Usage
	WriteBytes int64  `json:"write_bytes"` // see Usage
}

// Times are latencies in nanoseconds; 0 where there is none.
type Times struct {
	Ops  int64 `json:"ops"`
	P50  int64 `json:"p50_ns"`
	P99  int64 `json:"p99_ns"`
	P999 int64 `json:"p99_9_ns"`
	Max  int64 `json:"max_ns"`
}

func timesOf(h *hdrhistogram.Histogram) Times {
	return Times{h.TotalCount(), h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
}

// seriesDigits are fewer than those of a whole phase: a point of a curve shows
// no more, and these histograms are emptied every second.
const seriesDigits = 2

// A recorder is the latencies of one client since the last collection. Its lock
// is taken for every operation, and waited for once a second.
type recorder struct {
	mu            sync.Mutex
	reads, writes *hdrhistogram.Histogram
}

func newRecorder() *recorder {
	h := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(figure.MaxLatency), seriesDigits) }
	return &recorder{reads: h(), writes: h()}
}

func (r *recorder) record(put bool, nanos int64) {
	nanos = min(nanos, int64(figure.MaxLatency))
	r.mu.Lock()
	defer r.mu.Unlock()
	// The only error is a value out of range.
	if put {
		_ = r.writes.RecordValue(nanos)
	} else {
		_ = r.reads.RecordValue(nanos)
	}
}

// moveTo adds what was recorded to all, and begins anew.
func (r *recorder) moveTo(all *recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all.reads.Merge(r.reads)
	all.writes.Merge(r.writes)
	r.reads.Reset()
	r.writes.Reset()
}

// A collector makes a Second of each second.
type collector struct {
	clients []*recorder
	all     *recorder
	rounds  func() uint64
	read    func() (reading, error)

	seconds    []Second
	lastRounds uint64
	last       reading
}

func newCollector(clients []*recorder, rounds func() uint64, read func() (reading, error)) (*collector, error) {
	c := &collector{clients: clients, all: newRecorder(), rounds: rounds, read: read, lastRounds: rounds()}
	var err error
	c.last, err = read()
	return c, err
}

// collect ends a second.
func (c *collector) collect() error {
	for _, r := range c.clients {
		r.moveTo(c.all)
	}
	now, err := c.read()
	if err != nil {
		return err
	}
	rounds := c.rounds()
	c.seconds = append(c.seconds, Second{
		Second: len(c.seconds), Reads: timesOf(c.all.reads), Writes: timesOf(c.all.writes),
		Rounds: rounds - c.lastRounds, ReadBytes: now.read - c.last.read, WriteBytes: now.write - c.last.write,
	})
	c.lastRounds, c.last = rounds, now
	c.all.reads.Reset()
	c.all.writes.Reset()
	return nil
}
