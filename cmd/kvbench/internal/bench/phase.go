package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/meter"
	"faultline/cmd/kvbench/internal/progress"
	"faultline/cmd/kvbench/internal/result"
)

// measure runs a job on an open store, settles what it wrote, and checks that
// all of it came about.
func (r *run) measure(ctx context.Context, db engine.DB, j job) (result.Phase, error) {
	clients := r.newClients(db, j)
	if err := quiesce(r.dir); err != nil {
		return result.Phase{}, err
	}
	stopProfile, err := r.profile(j)
	if err != nil {
		return result.Phase{}, err
	}
	stopProgress := progress.Watch(r.Progress, j.String(), int64(opsOf(j.Workload, &r.Config)), published(clients))
	var elapsed time.Duration
	usage, err := r.used(func() (err error) {
		elapsed, err = runClients(ctx, clients, r.Duration, kindOf(j.Workload).run)
		return err
	})
	stopProgress()
	if err := errors.Join(err, stopProfile()); err != nil {
		return result.Phase{}, err
	}
	p := sumUp(clients)
	p.Workload, p.Engine, p.Rep, p.Place = j.Workload, j.engine, j.rep, j.place
	p.Seconds, p.Run = elapsed.Seconds(), usage
	if kindOf(j.Workload).writes {
		p.Settle, err = r.used(func() error { return db.Settle(ctx) })
		if err != nil {
			return result.Phase{}, fmt.Errorf("settle: %w", err)
		}
	}
	return p, r.verify(ctx, db, j, &p)
}

func (r *run) newClients(db engine.DB, j job) []*client {
	space := r.keySpaceOf(j.Workload)
	seed := r.Seed + uint64(j.rep) // other draws each repetition, the same for each engine
	stop, ops := new(atomic.Bool), opsOf(j.Workload, &r.Config)
	clients := make([]*client, j.Threads)
	for i := range clients {
		share := ops / j.Threads
		if i < ops%j.Threads {
			share++
		}
		clients[i] = &client{
			db: db, index: i, clients: j.Threads, ops: share, nexts: r.SeekNexts,
			seed:  seed,
			space: space, key: make([]byte, space.Bytes),
			values:  values{buf: r.values, bytes: r.ValueBytes, at: i * len(r.values) / j.Threads},
			draw:    keys.NewDraw(uint64(r.N), seed+keys.Mix(uint64(i))),
			stop:    stop,
			latency: figure.NewHistogram(),
		}
	}
	return clients
}

// runClients runs all clients at once and returns the time from the start of
// the first to the end of the last. When ctx ends, they do.
func runClients(ctx context.Context, clients []*client, limit time.Duration, run func(*client) error) (time.Duration, error) {
	unwatch := context.AfterFunc(ctx, func() { clients[0].stop.Store(true) })
	defer unwatch()

	var ready, ended sync.WaitGroup
	begin := make(chan struct{})
	errs := make([]error, len(clients)+1)
	epoch := new(time.Time)
	for i, c := range clients {
		ready.Add(1)
		ended.Go(func() {
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
	errs[len(clients)] = ctx.Err()
	return elapsed, errors.Join(errs...)
}

func sumUp(clients []*client) (p result.Phase) {
	all := figure.NewHistogram()
	for _, c := range clients {
		p.Ops += c.done
		p.Found += c.found
		p.Entries += c.entries
		all.Merge(c.latency)
	}
	p.Latency = figure.LatencyOf(all)
	return p
}

// used calls f and returns what the process and the machine used meanwhile.
func (r *run) used(f func() error) (figure.Usage, error) {
	before, err := r.meter.Read()
	if err != nil {
		return figure.Usage{}, err
	}
	if err := f(); err != nil {
		return figure.Usage{}, err
	}
	after, err := r.meter.Read()
	return meter.Between(before, after), err
}

// verify checks what the clients saw and left: figures of a store that lost
// something are worth nothing.
func (r *run) verify(ctx context.Context, db engine.DB, j job, p *result.Phase) error {
	k, all := kindOf(j.Workload), opsOf(j.Workload, &r.Config)
	switch {
	case r.Duration == 0 && p.Ops != all:
		return fmt.Errorf("did %d operations, want %d", p.Ops, all)
	case k.finds && p.Found != p.Ops:
		return fmt.Errorf("found %d of %d keys, all of which are there", p.Found, p.Ops)
	case k.writes:
		want := r.N
		if k.fresh {
			want = p.Ops
		}
		var err error
		if p.Stored, err = count(ctx, db); err == nil && p.Stored != want {
			err = fmt.Errorf("store has %d entries, want %d", p.Stored, want)
		}
		return err
	}
	return nil
}

// quiesce lets nothing of what came before run on into the next measurement:
// dirty pages of another store's files, or garbage of its memory.
func quiesce(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syncfs(f); err != nil {
		return fmt.Errorf("syncfs %s: %w", dir, err)
	}
	runtime.GC()
	return nil
}

// profile starts the CPU profile of a faultline phase, if there is to be one.
// What it returns ends it.
func (r *run) profile(j job) (stop func() error, err error) {
	if r.CPUProfile == "" || j.engine != "faultline" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(profilePath(r.CPUProfile, j.Workload, j.rep))
	if err != nil {
		return nil, fmt.Errorf("cpu profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// profilePath is where the profile of a phase goes: for cpu.pprof that is
// cpu-fillsync@16-1.pprof. One file cannot hold several.
func profilePath(path string, w Workload, rep int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%s-%d%s", strings.TrimSuffix(path, ext), w, rep, ext)
}
