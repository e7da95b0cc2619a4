package bench

import (
	"context"
	"errors"
	"fmt"
	"os"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/meter"
	"faultline/cmd/kvbench/internal/result"
)

// A run is a Config under way.
type run struct {
	Config
	dir    string // removed at the end
	values []byte // shared by all clients
	stores map[string]engine.Engine
	meter  *meter.Meter
}

// A job is one workload on one engine in one repetition.
type job struct {
	Workload
	engine string
	rep    int // from 1
	place  int // 1 = this engine goes first
	reps   int
}

func (j job) String() string {
	return fmt.Sprintf("%s %s, repetition %d of %d", j.engine, j.Workload, j.rep, j.reps)
}

// Run does all that c says, and returns what it measured. What it makes on disk is gone when it
// returns. The error is a *ConfigError if nothing was run.
func Run(ctx context.Context, c Config) (results *result.Run, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.Dir, "kvbench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	r := &run{
		Config: c,
		dir:    dir,
		values: newValueBuffer(c.ValueBytes, c.Seed),
		stores: map[string]engine.Engine{},
		meter:  meter.New(dir),
	}
	if err := r.reach(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.leave()) }()
	if results, err = r.newResults(); err != nil {
		return nil, err
	}
	for rep := range c.Reps {
		if err := r.repeat(ctx, results, rep); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// reach makes the engines, and asks those that are elsewhere.
func (r *run) reach(ctx context.Context) error {
	for _, name := range r.Engines {
		r.stores[name] = engine.New(name, r.setup())
		if elsewhere, ok := r.stores[name].(engine.Remote); ok {
			if err := elsewhere.Reach(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// repeat is one repetition, whose number begins at 0 here.
func (r *run) repeat(ctx context.Context, results *result.Run, rep int) error {
	for _, j := range r.jobs(rep) {
		p, err := r.do(ctx, j)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", j, err)
		}
		results.Phases = append(results.Phases, p)
	}
	if !r.Opens {
		return nil
	}
	for place := range r.Engines {
		name := r.Engines[(rep+place)%len(r.Engines)]
		opens, err := r.opens(ctx, name, rep+1)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			return fmt.Errorf("%s, time to open: %w", name, err)
		}
		results.Opens = append(results.Opens, opens...)
	}
	return nil
}

// jobs lists what there is to do in a repetition, in the order of doing it: the engine
// that goes first changes from one repetition to the next.
func (r *run) jobs(rep int) []job {
	var jobs []job
	for _, w := range r.Workloads {
		for place := range r.Engines {
			engine := r.Engines[(rep+place)%len(r.Engines)]
			jobs = append(jobs, job{w, engine, rep + 1, place + 1, r.Reps})
		}
	}
	return jobs
}

// do runs one job.
func (r *run) do(ctx context.Context, j job) (result.Phase, error) {
	p, err := r.on(ctx, j, func(db engine.DB) (result.Phase, error) { return r.measure(ctx, db, j) })
	if cannot := new(engine.CannotError); errors.As(err, &cannot) {
		return result.Phase{Workload: j.Workload, Engine: j.engine, Rep: j.rep, Place: j.place, Cannot: cannot.Why}, nil
	}
	return p, err
}
