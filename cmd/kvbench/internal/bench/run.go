package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/meter"
	"faultline/cmd/kvbench/internal/progress"
	"faultline/cmd/kvbench/internal/result"
)

// A run is a Config under way.
type run struct {
	Config
	dir    string // removed at the end
	values []byte // shared by all clients
	loaded map[string]bool
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
		loaded: map[string]bool{},
		meter:  meter.New(dir),
	}
	results, err = newResults(c, dir)
	if err != nil {
		return nil, err
	}
	for _, j := range r.jobs() {
		p, err := r.do(ctx, j)
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j, err)
		}
		results.Phases = append(results.Phases, p)
	}
	return results, nil
}

// jobs lists what there is to do, in the order of doing it: the engine that
// goes first changes from one repetition to the next.
func (r *run) jobs() []job {
	var jobs []job
	for rep := range r.Reps {
		for _, w := range r.Workloads {
			for place := range r.Engines {
				engine := r.Engines[(rep+place)%len(r.Engines)]
				jobs = append(jobs, job{w, engine, rep + 1, place + 1, r.Reps})
			}
		}
	}
	return jobs
}

// do runs one job on a store of its kind, which it opens and closes.
func (r *run) do(ctx context.Context, j job) (p result.Phase, err error) {
	if kindOf(j.Workload).fresh {
		return r.doFresh(ctx, j)
	}
	return r.doLoaded(ctx, j)
}

func (r *run) doFresh(ctx context.Context, j job) (p result.Phase, err error) {
	dir := filepath.Join(r.dir, j.engine+"-fresh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return result.Phase{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = r.with(j.engine, dir, r.mode(j), func(db engine.DB) error {
		p, err = r.measure(ctx, db, j)
		return err
	})
	return p, err
}

func (r *run) doLoaded(ctx context.Context, j job) (p result.Phase, err error) {
	dir := filepath.Join(r.dir, j.engine+"-loaded")
	if !r.loaded[j.engine] {
		if err := r.load(ctx, j.engine, dir); err != nil {
			return result.Phase{}, fmt.Errorf("load: %w", err)
		}
	}
	r.loaded[j.engine] = !kindOf(j.Workload).writes
	err = r.with(j.engine, dir, r.mode(j), func(db engine.DB) error {
		if err := r.warm(ctx, db); err != nil {
			return fmt.Errorf("warm: %w", err)
		}
		p, err = r.measure(ctx, db, j)
		return err
	})
	return p, err
}

// mode is what a store is opened for.
func (r *run) mode(j job) engine.Mode {
	return engine.Mode{Sync: kindOf(j.Workload).sync || r.Sync, Writers: j.Threads}
}

// with opens the store in dir for the time of f.
func (r *run) with(name, dir string, m engine.Mode, f func(engine.DB) error) (err error) {
	db, err := r.engine(name).Open(dir, m)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() {
		if e := db.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("close: %w", e))
		}
	}()
	return f(db)
}

// A store is loaded in batches of at most this.
const (
	batchEntries = 1000
	batchBytes   = 256 << 10
)

// load makes the store in dir anew, with all keys, and settles it.
func (r *run) load(ctx context.Context, name, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return r.with(name, dir, engine.Mode{}, func(db engine.DB) error {
		if err := r.fill(ctx, db, name); err != nil {
			return err
		}
		return db.Settle(ctx)
	})
}

// fill writes every key once, in random order, in batches.
func (r *run) fill(ctx context.Context, db engine.DB, name string) error {
	c := r.newClients(db, job{Workload: Workload{Name: "fillrandom", Threads: 1}})[0]
	defer progress.Watch(r.Progress, "load "+name, int64(r.N), published([]*client{c}))()
	order := keys.NewPermutation(c.space.N, c.seed)
	batch, entries := db.NewBatch(), 0
	limit := min(batchEntries, max(1, batchBytes/(r.KeyBytes+r.ValueBytes)))
	for i := range c.ops {
		c.space.Put(c.key, order.At(uint64(i)))
		if err := batch.Put(c.key, c.values.next()); err != nil {
			return err
		}
		if entries++; entries < limit && i+1 < c.ops {
			continue
		}
		if err := batch.Commit(); err != nil {
			return err
		}
		c.done, entries = i+1, 0
		c.publish()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// warm reads a loaded store once, so that its caches hold what fits.
func (r *run) warm(ctx context.Context, db engine.DB) error {
	n, err := count(ctx, db)
	if err == nil && n != r.N {
		err = fmt.Errorf("store has %d entries, want %d", n, r.N)
	}
	return err
}

// count reads a store from first to last, every value too.
func count(ctx context.Context, db engine.DB) (n int, err error) {
	it, err := db.NewIterator()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for ok := it.First(); ok; ok = it.Next() {
		sum += engine.Touch(it.Value())
		if n++; n%publishEvery == 0 && ctx.Err() != nil {
			return n, errors.Join(ctx.Err(), it.Close())
		}
	}
	return n, it.Close()
}
