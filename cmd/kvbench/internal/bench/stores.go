package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/meter"
	"faultline/cmd/kvbench/internal/progress"
	"faultline/cmd/kvbench/internal/result"
)

// on opens the store that a job begins with, for the time of f. Stores that are read
// only are kept; one that is written to is a copy, or another one, and goes
// afterwards.
func (r *run) on(ctx context.Context, j job, f func(engine.DB) (result.Phase, error)) (p result.Phase, err error) {
	k := kindOf(j.Workload)
	dir, err := r.prepare(ctx, j.engine, k)
	if err != nil {
		return p, err
	}
	if k.writes {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	err = r.with(j.engine, dir, r.mode(j), func(db engine.DB) error {
		if !k.fresh {
			if err := r.warm(ctx, db); err != nil {
				return fmt.Errorf("warm: %w", err)
			}
		}
		if p, err = f(db); err != nil || r.remote(j.engine) {
			return err
		}
		p.DiskBytes, err = meter.Allocated(dir)
		return err
	})
	return p, err
}

// prepare returns a directory with the store that k begins with.
func (r *run) prepare(ctx context.Context, name string, k *kind) (dir string, err error) {
	kept := filepath.Join(r.dir, name+"-loaded")
	if k.hashed {
		kept = filepath.Join(r.dir, name+"-records")
	}
	work := filepath.Join(r.dir, name+"-work")
	if k.fresh {
		return work, r.emptyStore(name, work)
	}
	if _, err := os.Stat(kept); err != nil {
		if err := r.load(ctx, name, kept, k); err != nil {
			return "", fmt.Errorf("load: %w", errors.Join(err, os.RemoveAll(kept)))
		}
	}
	if !k.writes || r.remote(name) {
		return kept, nil
	}
	if err := copyStore(work, kept); err != nil {
		return "", errors.Join(err, os.RemoveAll(work))
	}
	return work, nil
}

func (r *run) remote(name string) bool {
	_, ok := r.stores[name].(engine.Remote)
	return ok
}

// emptyStore makes a directory for a new store. A server has one store only: what was
// there is gone.
func (r *run) emptyStore(name, dir string) error {
	if r.remote(name) {
		others, err := filepath.Glob(filepath.Join(r.dir, name+"-*"))
		for _, other := range others {
			err = errors.Join(err, os.RemoveAll(other))
		}
		if err != nil {
			return err
		}
	}
	return os.Mkdir(dir, 0o700)
}

// leave has servers empty again.
func (r *run) leave() (err error) {
	for _, name := range r.Engines {
		if !r.remote(name) {
			continue
		}
		dir := filepath.Join(r.dir, name+"-end")
		err = errors.Join(err, r.emptyStore(name, dir), r.with(name, dir, engine.Mode{}, func(engine.DB) error { return nil }))
	}
	return err
}

// mode is what a store is opened for.
func (r *run) mode(j job) engine.Mode {
	return engine.Mode{Sync: kindOf(j.Workload).sync || r.Sync, Writers: j.Threads}
}

// with opens the store in dir for the time of f. Where f panics the store is not closed: it
// may hold locks that Close would wait for.
func (r *run) with(name, dir string, m engine.Mode, f func(engine.DB) error) error {
	db, err := r.stores[name].Open(dir, m)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = f(db)
	if e := db.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("close: %w", e))
	}
	return err
}

// copyBytes is how much is copied at once. A piece becomes one folio of the page
// cache, and a store that writes pages of 4 KiB into a large one is slowed down by
// it, which is no property of the store.
const copyBytes = 16 << 10

// copyStore copies the files of a store that is closed.
func copyStore(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.Mkdir(target, 0o700)
		case d.Type().IsRegular():
			return copyFile(target, path)
		}
		return nil
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// Without its own ReadFrom and WriteTo, which copy in one piece.
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, copyBytes))
	return errors.Join(err, out.Close())
}

// A store is loaded in batches of at most this.
const (
	batchEntries = 1000
	batchBytes   = 256 << 10
)

// load makes the store in dir, with all keys, and settles it.
func (r *run) load(ctx context.Context, name, dir string, k *kind) error {
	if err := r.emptyStore(name, dir); err != nil {
		return err
	}
	return r.with(name, dir, engine.Mode{}, func(db engine.DB) error {
		if err := r.fill(ctx, db, name, k); err != nil {
			return err
		}
		return db.Settle(ctx)
	})
}

// fill writes every key once, in random order, in batches.
func (r *run) fill(ctx context.Context, db engine.DB, name string, k *kind) error {
	c := r.newClients(db, job{Workload: Workload{Name: "fillrandom", Threads: 1}})[0]
	if k.hashed {
		names := keys.NewScattered(r.KeyBytes)
		c.names = &names
	}
	defer progress.Watch(r.Progress, "load "+name, int64(r.N), published([]*client{c}))()
	order := keys.NewPermutation(uint64(r.N), r.Seed)
	batch, entries := db.NewBatch(), 0
	limit := min(batchEntries, max(1, batchBytes/(r.KeyBytes+r.ValueBytes)))
	for i := range r.N {
		c.names.Put(c.key, order.At(uint64(i)))
		if err := batch.Put(c.key, c.values.next()); err != nil {
			return err
		}
		if entries++; entries < limit && i+1 < r.N {
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
