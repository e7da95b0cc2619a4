// Package series records what clients do over time.
package series

import (
	"sync"
	"time"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/meter"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// digits are fewer than those of a whole phase: a point of a curve shows no more,
// and these histograms are emptied at every interval.
const digits = 2

// A Recorder is the latencies of one client since the last collection. Its lock
// is taken for every operation, and waited for once an interval.
type Recorder struct {
	mu            sync.Mutex
	reads, writes *hdrhistogram.Histogram
}

// NewRecorder returns one that is empty.
func NewRecorder() *Recorder {
	h := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(figure.MaxLatency), digits) }
	return &Recorder{reads: h(), writes: h()}
}

// Record keeps the latency of a write or of a read, which stands for n operations.
func (r *Recorder) Record(write bool, nanos, n int64) {
	nanos = min(nanos, int64(figure.MaxLatency))
	r.mu.Lock()
	defer r.mu.Unlock()
	// The only error is a value out of range.
	if write {
		_ = r.writes.RecordValues(nanos, n)
	} else {
		_ = r.reads.RecordValues(nanos, n)
	}
}

// moveTo adds what was recorded to all, and begins anew.
func (r *Recorder) moveTo(all *Recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all.reads.Merge(r.reads)
	all.writes.Merge(r.writes)
	r.reads.Reset()
	r.writes.Reset()
}

// A Collector makes a figure.Point of each interval. It belongs to one goroutine.
type Collector struct {
	clients []*Recorder
	all     *Recorder
	rounds  func() uint64
	read    func() (meter.Reading, error)

	points      figure.Series
	lastRounds  uint64
	first, last meter.Reading
}

// NewCollector begins the first interval. rounds counts the background work of the
// store, read is a meter's.
func NewCollector(clients []*Recorder, rounds func() uint64, read func() (meter.Reading, error)) (*Collector, error) {
	c := &Collector{clients: clients, all: NewRecorder(), rounds: rounds, read: read, lastRounds: rounds()}
	var err error
	c.first, err = read()
	c.last = c.first
	return c, err
}

// Collect ends an interval and begins the next.
func (c *Collector) Collect() error {
	for _, r := range c.clients {
		r.moveTo(c.all)
	}
	now, err := c.read()
	if err != nil {
		return err
	}
	rounds := c.rounds()
	since := meter.Between(c.last, now)
	c.points = append(c.points, figure.Point{
		End:   meter.Between(c.first, now).Seconds,
		Reads: figure.TimesOf(c.all.reads), Writes: figure.TimesOf(c.all.writes),
		Rounds: rounds - c.lastRounds, ReadBytes: since.ReadBytes, WriteBytes: since.WriteBytes,
	})
	c.lastRounds, c.last = rounds, now
	c.all.reads.Reset()
	c.all.writes.Reset()
	return nil
}

// Until collects every so often until over is closed, and once more then: what is left is
// part of an interval.
func (c *Collector) Until(over <-chan struct{}, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
		case <-over:
			running = false
		}
		if err := c.Collect(); err != nil {
			return err
		}
	}
	return nil
}

// Series returns what was collected.
func (c *Collector) Series() figure.Series { return c.points }
