package ltm

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/series"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// publishEvery is after how many entries a scan says how far it is.
	publishEvery = 256
	// sampleEvery is of how many entries readseq times one.
	sampleEvery = 32
)

// Kinds of random numbers that are drawn from one seed.
const (
	seedOfReads = iota + 1
	seedOfRanks
	seedOfCoin
)

// A client is one goroutine of a step, with all that it needs to run without
// allocating.
type client struct {
	db      engine.DB
	reader  engine.Reader
	step    int // in the history, from 1
	index   int
	space   keys.Space
	content content
	key     []byte
	value   []byte

	share  float64 // of writes
	coin   keys.Draw
	writer writer
	reads  interface{ Next() uint64 }

	epoch          time.Time // of now
	warm, deadline int64     // by now: the clock starts, and stops
	stop           *atomic.Bool
	counter        *atomic.Uint64   // acknowledged writes, or entries of a scan, for the parent
	watch          *series.Recorder // or nil

	ops, puts, found, entries uint64 // timed
	warmOps                   uint64 // before
	done                      uint64 // all writes
	sum                       uint64 // of what was read, so that reading is not optimised away
	latency                   *hdrhistogram.Histogram

	_ [64]byte // the next client's counters are on other cache lines
}

var errNotFound = errors.New("not found, and is there")

// now is the time since the epoch in nanoseconds.
func (c *client) now() int64 { return int64(time.Since(c.epoch)) }

func (c *client) record(nanos int64) {
	// The only error is a value out of range.
	_ = c.latency.RecordValue(min(nanos, int64(figure.MaxLatency)))
}

// run does operations until the time is over. One that began before the clients
// were warm is not timed.
func (c *client) run() error {
	for last := c.now(); last < c.deadline && !c.stop.Load(); {
		put := c.turn()
		if err := c.operate(put); err != nil {
			return fmt.Errorf("client %d, key %s: %w", c.index, c.key, err)
		}
		now := c.now()
		if last >= c.warm {
			c.note(put, now-last)
		} else {
			c.warmOps++
		}
		last = now
	}
	return nil
}

// coinSides is what a share is a part of.
const coinSides = 1 << 16

// turn decides whether the next operation is a write.
func (c *client) turn() bool {
	switch c.share {
	case 0:
		return false
	case 1:
		return true
	}
	return float64(c.coin.Next()) < c.share*coinSides
}

func (c *client) operate(put bool) error {
	if put {
		return c.put()
	}
	c.space.Put(c.key, c.reads.Next())
	found, err := c.reader.Get(c.key)
	if err == nil && !found {
		err = errNotFound
	}
	return err
}

func (c *client) put() error {
	i := c.writer.key(c.done)
	c.space.Put(c.key, i)
	c.content.put(c.value, i, newWriteID(c.step, c.index, c.done))
	if err := c.db.Put(c.key, c.value); err != nil {
		return err
	}
	c.done++
	c.counter.Store(c.done)
	if c.done == maxWrites {
		return errTooLong
	}
	return nil
}

// note counts an operation that is done.
func (c *client) note(put bool, nanos int64) {
	c.ops++
	if put {
		c.puts++
	} else {
		c.found++
	}
	c.record(nanos)
	if c.watch != nil {
		c.watch.Record(put, nanos, 1)
	}
}

// scan reads the store from first to last. An operation is an entry; some are
// timed, at gaps that are random, so that they do not fall in step with the pages
// of a store.
func (c *client) scan() error {
	it, err := c.db.NewIterator()
	if err != nil {
		return err
	}
	gaps := keys.NewDraw(2*sampleEvery-3, uint64(c.index))
	sampleAt, start := gaps.Next(), c.now()
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		c.sum += uint64(key[len(key)-1]) + engine.Touch(it.Value())
		c.entries++
		if c.entries <= sampleAt {
			continue
		}
		now := c.now()
		if c.entries == sampleAt+1 {
			start = now // the next entry is timed
			continue
		}
		c.record(now - start)
		c.counter.Store(c.entries)
		sampleAt = c.entries + gaps.Next()
		if c.stop.Load() {
			break
		}
	}
	c.ops = c.entries
	return it.Close()
}
