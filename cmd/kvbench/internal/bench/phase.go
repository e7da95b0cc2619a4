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
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/meter"
	"faultline/cmd/kvbench/internal/progress"
	"faultline/cmd/kvbench/internal/result"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// measure runs a job on an open store, settles what it wrote, and checks that
// all of it came about.
func (r *run) measure(ctx context.Context, db engine.DB, j job) (result.Phase, error) {
	clients := r.newClients(db, j)
	if err := quiesce(r.dir); err != nil {
		return result.Phase{}, err
	}
	warm, err := r.warmUp(ctx, clients, j)
	if err != nil {
		return result.Phase{}, err
	}
	stopProfile, err := r.profile(j)
	if err != nil {
		return result.Phase{}, err
	}
	stopProgress := r.progress(j, foreground(clients, j))
	var elapsed time.Duration
	stopSeries, err := r.watch(clients, db)
	if err != nil {
		return result.Phase{}, err
	}
	usage, err := r.used(db, func() (err error) {
		elapsed, err = runClients(ctx, clients, r.Duration, kindOf(j.Workload))
		return err
	})
	series, seriesErr := stopSeries()
	stopProgress()
	if err := errors.Join(err, seriesErr, stopProfile()); err != nil {
		return result.Phase{}, err
	}
	p := r.sumUp(clients, j)
	p.Warm, p.Seconds, p.Run, p.Series = warm, elapsed.Seconds(), usage, series
	if kindOf(j.Workload).writes {
		stop := progress.Watch(r.Progress, j.String()+", settles", -1, func() int64 { return 0 })
		p.Settle, err = r.used(db, func() error { return db.Settle(ctx) })
		stop()
		if err != nil {
			return result.Phase{}, fmt.Errorf("settle: %w", err)
		}
	}
	return p, r.verify(ctx, db, j, clients, &p)
}

// progress shows how far a job is: by time, if that ends it.
func (r *run) progress(j job, clients []*client) (stop func()) {
	all := int64(opsOf(j.Workload, &r.Config))
	if endless(j.Workload, &r.Config) {
		all = -1
	}
	most, now := progress.Within(r.Duration, all, published(clients))
	return progress.Watch(r.Progress, j.String(), most, now)
}

// warmUp has the clients do for a while what they will be timed at, where they may do it
// for as long as one likes: pools, caches and the branches of the processor are warm then,
// for every engine.
func (r *run) warmUp(ctx context.Context, clients []*client, j job) (warm result.Warm, err error) {
	k := kindOf(j.Workload)
	if r.Warmup == 0 || !k.draws {
		return warm, nil
	}
	before, err := r.meter.Read()
	if err != nil {
		return warm, err
	}
	_, err = runClients(ctx, clients, r.Warmup, k)
	after, meterErr := r.meter.Read()
	if err := errors.Join(err, meterErr); err != nil {
		return warm, fmt.Errorf("warm up: %w", err)
	}
	if k.writes {
		p := r.sumUp(clients, j)
		warm = result.Warm{Ops: p.Ops, PutBytes: p.PutBytes, WriteBytes: meter.Between(before, after).WriteBytes}
	}
	clients[0].stop.Store(false) // which all share; the one beside was stopped
	for _, c := range clients {
		c.forget()
	}
	return warm, nil
}

// foreground are the clients whose operations are counted.
func foreground(clients []*client, j job) []*client { return clients[:j.Threads] }

// sumUp adds up what clients have done. The operations are those of the foreground.
func (r *run) sumUp(clients []*client, j job) result.Phase {
	k := kindOf(j.Workload)
	p := result.Phase{Workload: j.Workload, Engine: j.engine, Rep: j.rep, Place: j.place}
	if k.paced {
		p.Rate = r.Rate
	}
	entryBytes := int64(r.KeyBytes + r.ValueBytes)
	all, parts := figure.NewHistogram(), make([]*hdrhistogram.Histogram, len(k.parts))
	for i := range parts {
		parts[i] = figure.NewHistogram()
	}
	for i, c := range clients {
		p.PutBytes += int64(c.puts) * entryBytes
		p.GotBytes += int64(c.found+c.entries) * entryBytes
		if i < j.Threads {
			p.Ops += c.done * c.per
			p.Found += c.found
			p.Entries += c.entries
		}
		for part, h := range c.latency {
			if i < j.Threads {
				all.Merge(h)
			}
			if len(parts) > 0 {
				parts[part].Merge(h)
			}
		}
	}
	p.Latency = figure.LatencyOf(all)
	if len(parts) > 1 {
		for i, h := range parts {
			p.Parts = append(p.Parts, result.Part{Kind: k.parts[i].name, Ops: int(h.TotalCount()), Latency: figure.LatencyOf(h)})
		}
	}
	return p
}

// used calls f and returns what the process, and that of a store elsewhere, used
// meanwhile.
func (r *run) used(db engine.DB, f func() error) (figure.Usage, error) {
	elsewhere := func() (time.Duration, error) { return 0, nil }
	if timer, ok := db.(engine.CPUTimer); ok {
		elsewhere = timer.CPUTime
	}
	there, err := elsewhere()
	if err != nil {
		return figure.Usage{}, err
	}
	before, err := r.meter.Read()
	if err != nil {
		return figure.Usage{}, err
	}
	if err := f(); err != nil {
		return figure.Usage{}, err
	}
	after, err := r.meter.Read()
	if err != nil {
		return figure.Usage{}, err
	}
	usage := meter.Between(before, after)
	thereAfter, err := elsewhere()
	usage.AddCPU((thereAfter - there).Seconds())
	return usage, err
}

// quiesce lets nothing of what came before run on into the next measurement:
// dirty pages of another store's files, or garbage of its memory. A pool that the
// runtime keeps is empty only after the second collection.
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
