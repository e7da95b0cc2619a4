package ltm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/meter"
	"faultline/cmd/kvbench/internal/series"
)

// A child is a Spec under way.
type child struct {
	Spec
	counters []counter
	meter    *meter.Meter
	content  content
	result   Result
}

// RunChild does what the Spec on in says and writes the Result to out. The
// process must be one that Run has started.
func RunChild(ctx context.Context, in io.Reader, out io.Writer) error {
	c := new(child)
	d := json.NewDecoder(in)
	if err := d.Decode(&c.Spec); err != nil {
		return fmt.Errorf("specification: %w", err)
	}
	var err error
	if c.counters, err = inheritCounters(); err != nil {
		return fmt.Errorf("counters of the parent: %w", err)
	}
	c.meter = meter.New(c.Dir)
	c.content = newContent(c.ValueBytes, c.Compressible, c.Seed)
	if err := c.onStore(ctx); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(&c.result)
}

// onStore opens the store, does the step, and closes it.
func (c *child) onStore(ctx context.Context) error {
	e := engine.New(c.Engine, c.Setup)
	start := time.Now()
	db, err := e.Open(c.Dir, engine.Mode{Writers: c.Workload.Threads})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	c.result.OpenSeconds = time.Since(start).Seconds()
	err = c.step(ctx, e, db)
	if e := db.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("close: %w", e))
	}
	return err
}

func (c *child) step(ctx context.Context, e engine.Engine, db engine.DB) error {
	var err error
	switch c.Step {
	case stepLoad:
		err = c.load(ctx, db)
	case stepRun:
		err = c.run(ctx, db)
	case stepCheck:
		err = c.check(ctx, e, db)
	default:
		err = fmt.Errorf("unknown step %q", c.Step)
	}
	if err != nil {
		return err
	}
	c.result.PeakRSS, err = meter.PeakRSS()
	return err
}

// measured runs f, then settles the store if f wrote to it, and keeps what both
// took.
func (c *child) measured(ctx context.Context, db engine.DB, writes bool, f func() (seconds float64, from meter.Reading, err error)) error {
	seconds, before, err := f()
	if err != nil {
		return err
	}
	after, err := c.meter.Read()
	if err != nil {
		return err
	}
	c.result.Seconds = seconds
	c.result.Run = meter.Between(before, after)
	if !writes {
		return nil
	}
	if err := db.Settle(ctx); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	settled, err := c.meter.Read()
	c.result.Settle = meter.Between(after, settled)
	return err
}

// load writes every key once, in batches. A latency is that of a batch.
func (c *child) load(ctx context.Context, db engine.DB) error {
	return c.measured(ctx, db, true, func() (float64, meter.Reading, error) {
		before, err := c.meter.Read()
		if err != nil {
			return 0, before, err
		}
		start := time.Now()
		err = c.fill(ctx, db)
		c.result.Puts = c.result.Ops
		return time.Since(start).Seconds(), before, err
	})
}

func (c *child) fill(ctx context.Context, db engine.DB) error {
	order := keys.NewPermutation(c.Space.N, c.Seed)
	key, value := make([]byte, c.Space.Bytes), make([]byte, c.ValueBytes)
	batch, histogram := db.NewBatch(), figure.NewHistogram()
	start := time.Now()
	for n := range c.Space.N {
		i := n
		if !c.Sequential {
			i = order.At(n)
		}
		c.Space.Put(key, i)
		c.content.put(value, i, 0)
		if err := batch.Put(key, value); err != nil {
			return err
		}
		if (n+1)%uint64(c.BatchEntries) != 0 && n+1 < c.Space.N {
			continue
		}
		if err := batch.Commit(); err != nil {
			return fmt.Errorf("batch that ends at %d of %d keys: %w", n+1, c.Space.N, err)
		}
		_ = histogram.RecordValue(min(int64(time.Since(start)), int64(figure.MaxLatency)))
		start = time.Now()
		c.result.Ops = n + 1
		c.counters[0].Store(n + 1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	c.result.Latency = figure.LatencyOf(histogram)
	return nil
}

// check scans the store, and has it check itself if it can.
func (c *child) check(ctx context.Context, e engine.Engine, db engine.DB) error {
	k, err := newChecker(c.Space, c.content, c.History, c.Killed)
	if err != nil {
		return err
	}
	start := time.Now()
	found, err := k.check(ctx, db, e.Survives(), c.counters[0].Store)
	if err != nil {
		return err
	}
	c.result.Seconds = time.Since(start).Seconds()
	c.result.Ops = found.Keys
	c.result.Check = &found
	if self, ok := db.(engine.Checker); ok {
		return self.Check(ctx)
	}
	return nil
}

// run runs the clients of a workload.
func (c *child) run(ctx context.Context, db engine.DB) error {
	k := c.Workload.kind()
	clients := c.newClients(db)
	stop := clients[0].stop
	unwatch := context.AfterFunc(ctx, func() { stop.Store(true) })
	defer unwatch()
	runtime.GC()
	err := c.measured(ctx, db, k.writes(), func() (float64, meter.Reading, error) {
		return c.runClients(clients, db)
	})
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	c.sumUp(clients)
	if k.scan && c.result.Entries != c.Space.N*uint64(len(clients)) {
		return fmt.Errorf("scan met %d entries, want %d", c.result.Entries, c.Space.N*uint64(len(clients)))
	}
	return nil
}

func (c *child) newClients(db engine.DB) []*client {
	k, stop := c.Workload.kind(), new(atomic.Bool)
	clients := make([]*client, c.Workload.Threads)
	for i := range clients {
		seed := c.StepSeed + keys.Mix(uint64(i))
		w := &client{
			db: db, reader: db.NewReader(), step: len(c.History) + 1, index: i,
			space: c.Space, content: c.content,
			key: make([]byte, c.Space.Bytes), value: make([]byte, c.ValueBytes),
			share: k.share(i), coin: keys.NewDraw(coinSides, seed+seedOfCoin),
			writer: newWriter(c.Space.N, c.StepSeed, i, len(clients)),
			stop:   stop, counter: &c.counters[i].Uint64, latency: figure.NewHistogram(),
			warm: int64(c.Warmup), deadline: int64(c.Warmup + c.Duration),
		}
		uniform := keys.NewDraw(c.Space.N, seed+seedOfReads)
		w.reads = &uniform
		if k.zipf {
			zipf := keys.NewZipf(c.Space.N, c.Seed+seedOfRanks, seed+seedOfReads)
			w.reads = &zipf
		}
		if c.Series && k.writes() {
			w.watch = series.NewRecorder()
		}
		clients[i] = w
	}
	return clients
}

// runClients runs all clients at once. It returns how long they were timed, and
// the reading of when that began.
func (c *child) runClients(clients []*client, db engine.DB) (seconds float64, before meter.Reading, err error) {
	scan := c.Workload.kind().scan
	cold, err := c.meter.Read()
	if err != nil {
		return 0, cold, err
	}
	errs := make([]error, len(clients), len(clients)+1)
	epoch := time.Now()
	var ended sync.WaitGroup
	for i, w := range clients {
		w.epoch = epoch
		ended.Go(func() {
			if scan {
				errs[i] = w.scan()
			} else {
				errs[i] = w.run()
			}
			if errs[i] != nil {
				w.stop.Store(true)
			}
		})
	}
	start := epoch
	if !scan {
		time.Sleep(time.Until(epoch.Add(c.Warmup)))
		start = time.Now()
	}
	before, err = c.meter.Read()
	if c.Workload.kind().writes() {
		c.result.Warm.WriteBytes = meter.Between(cold, before).WriteBytes
	}
	if err == nil {
		err = c.collectUntil(clients, db, &ended)
	}
	if err != nil {
		clients[0].stop.Store(true)
	}
	ended.Wait()
	return time.Since(start).Seconds(), before, errors.Join(append(errs, err)...)
}

// collectUntil collects the series, if there is to be one, until the clients end.
func (c *child) collectUntil(clients []*client, db engine.DB, ended *sync.WaitGroup) error {
	if clients[0].watch == nil {
		return nil
	}
	var recorders []*series.Recorder
	for _, w := range clients {
		recorders = append(recorders, w.watch)
	}
	all, err := series.NewCollector(recorders, engine.RoundsOf(db), c.meter.Read)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	go func() {
		ended.Wait()
		close(over)
	}()
	err = all.Until(over, time.Second)
	c.result.Series = all.Series()
	return err
}

func (c *child) sumUp(clients []*client) {
	entryBytes := int64(c.Space.Bytes + c.ValueBytes)
	all := figure.NewHistogram()
	for _, w := range clients {
		c.result.Ops += w.ops
		c.result.Puts += w.puts
		c.result.Found += w.found
		c.result.Entries += w.entries
		if c.Workload.kind().writes() {
			c.result.Done = append(c.result.Done, w.done)
			c.result.Warm.Ops += int(w.warmOps)
			c.result.Warm.PutBytes += int64(w.done-w.puts) * entryBytes
		}
		all.Merge(w.latency)
	}
	c.result.Latency = figure.LatencyOf(all)
}
