package ltm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"faultline/cmd/kvbench/internal/cgroup"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/meter"
	"faultline/cmd/kvbench/internal/progress"
)

// A run is a Config under way.
type run struct {
	Config
	dir      string // removed at the end
	shared   *os.File
	counters []counter
	children int // that were started
	report   *Report
}

// A subject is the store of one engine in one repetition.
type subject struct {
	engine  string
	rep     int // from 1
	dir     string
	history history
	failed  bool // it is left alone from then on
}

// Run does all that c says, and reports. What it makes on disk is gone when it
// returns. The error is a *ConfigError or wraps cgroup.ErrUnavailable if nothing
// was run. Where a phase fails, that store is left alone; the report has the
// reason, and what else was measured. When ctx ends it has what was measured before.
func Run(ctx context.Context, c Config) (report *Report, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.tryCgroup(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.Dir, "kvbench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &run{Config: c, dir: dir}
	if r.shared, r.counters, err = shareCounters(); err != nil {
		return nil, err
	}
	defer r.shared.Close()
	if r.report, err = newReport(c, dir); err != nil {
		return nil, err
	}
	for rep := range c.Reps {
		if err := r.repeat(ctx, rep); err != nil {
			r.report.Notes = append(r.report.Notes, fmt.Sprintf("The run ended in repetition %d of %d: what is here was measured before.", rep+1, c.Reps))
			return r.report, err
		}
	}
	return r.report, nil
}

// tryCgroup makes a group and removes it: it would be a pity to find out later.
func (c *Config) tryCgroup() error {
	if c.Cgroup == 0 {
		return nil
	}
	g, err := cgroup.New(fmt.Sprintf("kvbench-%d-try", os.Getpid()), c.Cgroup)
	if err != nil {
		return err
	}
	return g.Remove()
}

// repeat is one repetition, whose number begins at 0 here.
func (r *run) repeat(ctx context.Context, rep int) error {
	var subjects []*subject
	for place := range r.Engines {
		name := r.Engines[(rep+place)%len(r.Engines)]
		dir := filepath.Join(r.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		subjects = append(subjects, &subject{engine: name, rep: rep + 1, dir: dir})
	}
	each := func(step func(context.Context, *subject, *Phase) error, p Phase) error {
		for place, s := range subjects {
			if err := r.phase(ctx, s, place+1, step, p); err != nil {
				return err
			}
		}
		return nil
	}
	if err := each(r.load, Phase{Step: stepLoad, Workload: Workload{stepLoad, 1}}); err != nil {
		return err
	}
	for _, w := range r.Workloads {
		if err := each(r.runWorkload, Phase{Step: stepRun, Workload: w}); err != nil {
			return err
		}
	}
	if err := each(r.check, Phase{Step: stepCheck, Workload: Workload{stepCheck, 1}}); err != nil {
		return err
	}
	if r.KillAfter > 0 {
		if err := each(r.killAndCheck, Phase{Step: stepCheck, Workload: Workload{"kill", killClients}}); err != nil {
			return err
		}
	}
	for _, s := range subjects {
		if err := os.RemoveAll(s.dir); err != nil {
			return err
		}
	}
	return nil
}

// phase does one step on a store, unless that has failed already. The error is
// one that ends the run.
func (r *run) phase(ctx context.Context, s *subject, place int, step func(context.Context, *subject, *Phase) error, p Phase) error {
	if s.failed {
		return nil
	}
	p.Engine, p.Rep, p.Place = s.engine, s.rep, place
	err := step(ctx, s, &p)
	if ctx.Err() != nil {
		return r.report.Interrupted()
	}
	if err != nil {
		s.failed, p.Failed = true, err.Error()
	}
	if p.DiskBytes, err = meter.Allocated(s.dir); err != nil {
		return err
	}
	r.report.add(&r.Config, p)
	if r.Keep != nil {
		r.Keep(r.report.Run)
	}
	return nil
}

func (r *run) spec(s *subject, step string) Spec {
	return Spec{
		Step: step, Engine: s.engine, Setup: r.setup(), Dir: s.dir, Space: r.space(),
		ValueBytes: r.ValueBytes, Compressible: r.Compressible, Seed: r.Seed, History: s.history,
	}
}

func (r *run) load(ctx context.Context, s *subject, p *Phase) error {
	spec := r.spec(s, stepLoad)
	spec.Sequential, spec.BatchEntries = r.Sequential, r.BatchEntries
	limit := r.Cgroup
	if r.FreeLoad {
		limit = 0
	}
	return r.child(ctx, spec, p, limit)
}

// runSpec is a step of clients. Its draws are others in each repetition and each
// step, and the same for each engine.
func (r *run) runSpec(s *subject, w Workload, step uint64) Spec {
	spec := r.spec(s, stepRun)
	spec.Workload, spec.Warmup, spec.Duration, spec.Series = w, r.Warmup, r.Duration, r.Series
	spec.StepSeed = keys.Mix(r.Seed ^ keys.Mix(uint64(s.rep)<<32|step))
	return spec
}

func (r *run) runWorkload(ctx context.Context, s *subject, p *Phase) error {
	step := uint64(0)
	for i, w := range r.Workloads {
		if w == p.Workload {
			step = uint64(i)
		}
	}
	spec := r.runSpec(s, p.Workload, step)
	if err := r.child(ctx, spec, p, r.Cgroup); err != nil {
		return err
	}
	if p.Ops == 0 {
		return errors.New("no operation ended in the time that was given")
	}
	if p.Workload.kind().writes() {
		s.history = append(s.history, writes{spec.StepSeed, p.Done})
	}
	return nil
}

func (r *run) check(ctx context.Context, s *subject, p *Phase) error {
	spec := r.spec(s, stepCheck)
	spec.Killed = p.Workload.Name != stepCheck
	limit := r.Cgroup
	if limit != 0 {
		limit += r.n() * checkerBytes // the checker's own table
	}
	return r.child(ctx, spec, p, limit)
}

// killClients write when they are killed.
const killClients = 4

// killAndCheck kills a child that writes, and checks what it leaves: what the
// counters say that it had acknowledged.
func (r *run) killAndCheck(ctx context.Context, s *subject, p *Phase) error {
	w := Workload{"overwrite", killClients}
	spec := r.runSpec(s, w, uint64(len(r.Workloads)))
	spec.Warmup, spec.Duration, spec.Series = 0, forever, false
	done, err := r.killed(ctx, spec)
	if err != nil {
		return fmt.Errorf("child to kill: %w", err)
	}
	s.history = append(s.history, writes{spec.StepSeed, done})
	return r.check(ctx, s, p)
}

const (
	forever  = 1000 * time.Hour
	lookEach = 10 * time.Millisecond
)

// killed starts a child and kills it once it has written for a while. It returns
// what each client had acknowledged.
func (r *run) killed(ctx context.Context, spec Spec) (done []uint64, err error) {
	k, err := r.start(ctx, spec, r.Cgroup)
	if err != nil {
		return nil, err
	}
	defer progress.Watch(r.Progress, fmt.Sprintf("%s, to be killed", spec.Engine), -1, r.done)()
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	for began := (time.Time{}); began.IsZero() || time.Since(began) < r.KillAfter; {
		select {
		case err := <-k.ended:
			return nil, errors.Join(errors.New("it ended by itself"), err, k.close())
		case <-tick.C:
		}
		if began.IsZero() && sum(r.counters) > 0 {
			began = time.Now()
		}
	}
	err = k.cmd.Process.Kill()
	<-k.ended
	for i := range killClients {
		done = append(done, r.counters[i].Load())
	}
	return done, errors.Join(err, k.close())
}
