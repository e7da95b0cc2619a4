package bench

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/keys"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Kinds of numbers that are drawn from one seed.
const (
	seedOfCoin = iota + 1
	seedOfLength
	seedOfLatest
)

// newClients makes the clients of a job: those that are counted, then the one beside
// them, if there is one.
func (r *run) newClients(db engine.DB, j job) []*client {
	k := kindOf(j.Workload)
	all := j.Threads
	if k.beside != nil {
		all++
	}
	stop, calls := new(atomic.Bool), callsOf(j.Workload, &r.Config)
	inserts := newInserts(r.N)
	clients := make([]*client, all)
	for i := range clients {
		c := r.newClient(db, j, i)
		c.stop, c.inserts = stop, inserts
		c.calls = shareOf(calls, j.Threads, i)
		if i == j.Threads { // the one beside
			c.calls, c.interval = math.MaxInt, 0
		}
		clients[i] = c
	}
	return clients
}

// shareOf is how many of all calls client i makes. What has no end has none for each.
func shareOf(all, clients, i int) int {
	switch {
	case all == math.MaxInt:
		return all
	case i < all%clients:
		return all/clients + 1
	}
	return all / clients
}

func (r *run) newClient(db engine.DB, j job, index int) *client {
	k := kindOf(j.Workload)
	space := r.keySpaceOf(j.Workload)
	// Other draws each repetition, the same for each engine.
	seed := r.Seed + uint64(j.rep)
	mine := seed + keys.Mix(uint64(index))
	most := uint64(r.N + 2*opsOf(j.Workload, &r.Config)*k.insertPercent/100) // records, as YCSB reckons
	c := &client{
		db: db, reader: db.NewReader(), index: index, clients: j.Threads, per: k.perCall(&r.Config), nexts: r.SeekNexts,
		seed: seed, space: space, names: space, key: make([]byte, space.Bytes, space.Bytes+1),
		values:       values{buf: r.values, bytes: r.ValueBytes, at: index * len(r.values) / (j.Threads + 1)},
		draw:         keys.NewDraw(uint64(r.N), mine),
		scrambled:    keys.NewScrambled(most, mine),
		latest:       keys.NewLatest(uint64(r.N), mine+seedOfLatest),
		coin:         keys.NewDraw(100, mine+seedOfCoin),
		length:       keys.NewDraw(maxScanEntries, mine+seedOfLength),
		distribution: r.Distribution,
		parts:        k.parts,
	}
	if k.hashed {
		names := keys.NewScattered(r.KeyBytes)
		c.names = &names
	}
	if k.every > 0 {
		c.gaps = keys.NewDraw(uint64(2*k.every-1), mine)
	}
	if k.paced && r.Rate > 0 {
		c.interval = min(float64(time.Second)*float64(c.per)/r.Rate, math.MaxInt64)
	}
	if len(c.parts) == 0 {
		c.parts = []part{{writes: k.writes}}
	}
	c.forget()
	return c
}

// forget has a client begin anew, and go on with its draws.
func (c *client) forget() {
	c.done, c.puts, c.sought, c.found, c.entries = 0, 0, 0, 0, 0
	c.published.Store(0)
	c.latency = make([]*hdrhistogram.Histogram, len(c.parts))
	for i := range c.latency {
		c.latency[i] = figure.NewHistogram()
	}
}

// runClients runs all clients at once and returns the time from the start of
// the first to the end of the last that is counted. When ctx ends, they do.
func runClients(ctx context.Context, clients []*client, limit time.Duration, k *kind) (time.Duration, error) {
	unwatch := context.AfterFunc(ctx, func() { clients[0].stop.Store(true) })
	defer unwatch()

	counted := len(clients)
	if k.beside != nil {
		counted--
	}
	var ready, ended, besideEnded sync.WaitGroup
	begin := make(chan struct{})
	errs := make([]error, len(clients)+1)
	epoch := new(time.Time)
	for i, c := range clients {
		run, end := k.run, &ended
		if i == counted {
			run, end = k.beside, &besideEnded
		}
		ready.Add(1)
		end.Go(func() {
			ready.Done()
			<-begin
			c.epoch, c.deadline = *epoch, deadlineAfter(limit)
			if errs[i] = run(c); errs[i] != nil {
				c.stop.Store(true)
			}
			c.publish()
		})
	}
	ready.Wait()
	*epoch = time.Now()
	close(begin)
	ended.Wait()
	elapsed := time.Since(*epoch)
	if counted < len(clients) {
		clients[0].stop.Store(true)
		besideEnded.Wait()
	}
	errs[len(clients)] = ctx.Err()
	return elapsed, errors.Join(errs...)
}
