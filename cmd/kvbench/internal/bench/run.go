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
// returns. What fails has its reason in the results, and the rest is done all the same. When ctx
// ends, the results are what was measured before. The error is a *ConfigError, and there are no
// results, if c makes no run.
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
			results.Notes = append(results.Notes, fmt.Sprintf("The run ended in repetition %d of %d: what is here was measured before.", rep+1, c.Reps))
			return results, err
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

// repeat is one repetition, whose number begins at 0 here. It returns an error only when
// ctx ends.
func (r *run) repeat(ctx context.Context, results *result.Run, rep int) error {
	for _, j := range r.jobs(rep) {
		p := r.do(ctx, j)
		if ctx.Err() != nil {
			return results.Interrupted()
		}
		results.Phases = append(results.Phases, p)
		r.keep(results)
	}
	if !r.Opens {
		return nil
	}
	for place := range r.Engines {
		name := r.Engines[(rep+place)%len(r.Engines)]
		opens := r.opens(ctx, name, rep+1)
		if ctx.Err() != nil {
			return results.Interrupted()
		}
		results.Opens = append(results.Opens, opens...)
		r.keep(results)
	}
	return nil
}

func (r *run) keep(results *result.Run) {
	if r.Keep != nil {
		r.Keep(results)
	}
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

// do runs one job. What it came to may be that it could not be done, or failed.
func (r *run) do(ctx context.Context, j job) result.Phase {
	p, err := r.on(ctx, j, func(db engine.DB) (result.Phase, error) { return r.measure(ctx, db, j) })
	if err == nil {
		return p
	}
	p = result.Phase{Workload: j.Workload, Engine: j.engine, Rep: j.rep, Place: j.place}
	if cannot := new(engine.CannotError); errors.As(err, &cannot) {
		p.Cannot = cannot.Why
	} else {
		p.Failed = err.Error()
	}
	return p
}
