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
	"faultline/cmd/kvbench/internal/progress"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Phase is what one workload on one engine in one repetition came to.
type Phase struct {
	Workload string `json:"workload"`
	Threads  int    `json:"threads"`
	Engine   string `json:"engine"`
	Rep      int    `json:"rep"`   // from 1
	Place    int    `json:"place"` // 1 = this engine was first

	Ops     int `json:"ops"`
	Found   int `json:"found"`   // keys that a get or seek met
	Entries int `json:"entries"` // entries that an iterator returned
	Stored  int `json:"stored"`  // entries in the store afterwards, where it was written

	Seconds      float64 `json:"seconds"`
	OpsPerSecond float64 `json:"ops_per_second"`

	// Of the whole process while the clients ran, and while a written store
	// settled after that.
	UserCPUSeconds   float64 `json:"user_cpu_seconds"`
	SystemCPUSeconds float64 `json:"system_cpu_seconds"`
	CPUMicrosPerOp   float64 `json:"cpu_us_per_op"`
	SettleSeconds    float64 `json:"settle_seconds"`
	SettleCPUSeconds float64 `json:"settle_cpu_seconds"`
	SettleMicros     float64 `json:"settle_cpu_us_per_op"`

	Latency figure.Latency `json:"latency"`

	histogram *hdrhistogram.Histogram
}

// measure runs a job on an open store, settles what it wrote, and checks that
// all of it came about.
func (r *run) measure(ctx context.Context, db engine.DB, j job) (Phase, error) {
	clients := r.newClients(db, j)
	if err := quiesce(r.dir); err != nil {
		return Phase{}, err
	}
	stopProfile, err := r.profile(j)
	if err != nil {
		return Phase{}, err
	}
	stopProgress := progress.Watch(r.Progress, j.String(), int64(j.ops(&r.Config)), published(clients))
	before := cpuNow()
	elapsed, err := runClients(ctx, clients, r.Duration, j.kind().run)
	after := cpuNow()
	stopProgress()
	if err := errors.Join(err, stopProfile()); err != nil {
		return Phase{}, err
	}
	p := sumUp(clients)
	p.Workload, p.Threads, p.Engine, p.Rep, p.Place = j.Name, j.Threads, j.engine, j.rep, j.place
	p.Seconds = elapsed.Seconds()
	p.OpsPerSecond = float64(p.Ops) / p.Seconds
	p.UserCPUSeconds = (after.user - before.user).Seconds()
	p.SystemCPUSeconds = (after.system - before.system).Seconds()
	p.CPUMicrosPerOp = 1e6 * (p.UserCPUSeconds + p.SystemCPUSeconds) / float64(p.Ops)
	p.Latency = figure.LatencyOf(p.histogram)
	if j.kind().writes {
		if err := p.settle(ctx, db); err != nil {
			return Phase{}, err
		}
	}
	return p, r.verify(ctx, db, j, &p)
}

func (r *run) newClients(db engine.DB, j job) []*client {
	space := r.keySpaceOf(j.Workload)
	seed := r.Seed + uint64(j.rep) // other draws each repetition, the same for each engine
	stop, ops := new(atomic.Bool), j.ops(&r.Config)
	clients := make([]*client, j.Threads)
	for i := range clients {
		share := ops / j.Threads
		if i < ops%j.Threads {
			share++
		}
		clients[i] = &client{
			db: db, index: i, clients: j.Threads, ops: share, nexts: r.SeekNexts,
			sync: j.kind().sync || r.Sync, seed: seed,
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

func sumUp(clients []*client) Phase {
	p := Phase{histogram: figure.NewHistogram()}
	for _, c := range clients {
		p.Ops += c.done
		p.Found += c.found
		p.Entries += c.entries
		p.histogram.Merge(c.latency)
	}
	return p
}

// settle has the store do what the writes left for later, and keeps its cost.
func (p *Phase) settle(ctx context.Context, db engine.DB) error {
	before, start := cpuNow(), time.Now()
	if err := db.Settle(ctx); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	after := cpuNow()
	p.SettleSeconds = time.Since(start).Seconds()
	p.SettleCPUSeconds = (after.user - before.user + after.system - before.system).Seconds()
	p.SettleMicros = 1e6 * p.SettleCPUSeconds / float64(p.Ops)
	return nil
}

// verify checks what the clients saw and left: figures of a store that lost
// something are worth nothing.
func (r *run) verify(ctx context.Context, db engine.DB, j job, p *Phase) error {
	k, all := j.kind(), j.ops(&r.Config)
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

// A cpuTime is what the process has used since it began.
type cpuTime struct{ user, system time.Duration }
