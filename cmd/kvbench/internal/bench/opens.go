package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/progress"
	"faultline/cmd/kvbench/internal/result"
	"faultline/cmd/kvbench/internal/self"
)

const (
	// opensEach is how often a store is opened after each ending.
	opensEach = 3

	// childWrites is how long a child overwrites at most before it is killed: until
	// then, or until it has written every key once on average.
	childWrites = 10 * time.Second
)

// opens measures how long a loaded store takes to open, up to its first read: after it
// was closed, and after the process that wrote to it was killed. What the kernel
// caches stays. The first failure ends it.
func (r *run) opens(ctx context.Context, name string, rep int) (opens []result.Open) {
	cannot := func(why string) []result.Open {
		return []result.Open{
			{Engine: name, Rep: rep, After: result.Closed, Cannot: why}, {Engine: name, Rep: rep, After: result.Killed, Cannot: why},
		}
	}
	if r.remote(name) {
		return cannot("the store is another process's")
	}
	dir, err := r.prepare(ctx, name, kindOf(Workload{Name: "overwrite"}))
	if why := new(engine.CannotError); errors.As(err, &why) {
		return cannot(why.Why)
	}
	if err != nil {
		return []result.Open{{Engine: name, Rep: rep, After: result.Closed, Failed: err.Error()}}
	}
	defer os.RemoveAll(dir) // again with all others, if it fails
	var done atomic.Int64
	defer progress.Watch(r.Progress, fmt.Sprintf("%s opens, repetition %d of %d", name, rep, r.Reps), 2*opensEach, done.Load)()
	for i := range 2 * opensEach {
		one := result.Open{Engine: name, Rep: rep, After: result.Closed}
		if i >= opensEach {
			one.After = result.Killed
			err = r.killOne(ctx, name, dir, r.Seed+uint64(rep*opensEach+i))
		}
		if err == nil {
			one.Seconds, err = r.openOnce(ctx, name, dir)
		}
		if err != nil {
			one.Seconds, one.Failed = 0, err.Error()
			return append(opens, one)
		}
		opens = append(opens, one)
		done.Store(int64(len(opens)))
	}
	return opens
}

// openOnce opens a store, reads a key, and checks that all keys are there.
func (r *run) openOnce(ctx context.Context, name, dir string) (seconds float64, err error) {
	if err := quiesce(r.dir); err != nil {
		return 0, err
	}
	key := make([]byte, r.KeyBytes)
	keys.Space{N: uint64(r.N), Bytes: r.KeyBytes}.Put(key, uint64(r.N/2))
	start := time.Now()
	err = r.with(name, dir, engine.Mode{}, func(db engine.DB) error {
		found, err := db.NewReader().Get(key)
		seconds = time.Since(start).Seconds()
		if err == nil && !found {
			err = fmt.Errorf("key %s is not there", key)
		}
		if err != nil {
			return err
		}
		return r.warm(ctx, db) // which counts them
	})
	return seconds, err
}

// A victim is what a child that will be killed gets to do: overwrite keys of a loaded
// store.
type victim struct {
	Engine string        `json:"engine"`
	Setup  engine.Setup  `json:"setup"`
	Dir    string        `json:"dir"`
	Space  keys.Space    `json:"space"`
	Values int           `json:"value_bytes"`
	Seed   uint64        `json:"seed"`
	Writes int           `json:"writes"`
	Limit  time.Duration `json:"limit"`
}

// ready is what a child prints when it has written enough. It goes on.
const ready = "ready\n"

// killOne has a child write to the store, and kills it while it does.
func (r *run) killOne(ctx context.Context, name, dir string, seed uint64) (err error) {
	text, err := json.Marshal(victim{
		Engine: name, Setup: r.setup(), Dir: dir, Space: keys.Space{N: uint64(r.N), Bytes: r.KeyBytes},
		Values: r.ValueBytes, Seed: seed, Writes: r.N, Limit: childWrites,
	})
	if err != nil {
		return err
	}
	cmd := self.Command(ctx, r.Child)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = in.Write(append(text, '\n'))
	said, readErr := bufio.NewReader(out).ReadString('\n')
	err = errors.Join(err, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	if said != ready {
		err = errors.Join(fmt.Errorf("a child that writes ended by itself, after %q", said), readErr, err)
	}
	return err
}

// RunChild does what the line on in says, until it is killed or in ends.
func RunChild(in io.Reader, out io.Writer) error {
	var v victim
	input := json.NewDecoder(in)
	if err := input.Decode(&v); err != nil {
		return fmt.Errorf("what to do: %w", err)
	}
	db, err := engine.New(v.Engine, v.Setup).Open(filepath.Clean(v.Dir), engine.Mode{})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	key, draw := make([]byte, v.Space.Bytes), keys.NewDraw(v.Space.N, v.Seed)
	values := values{buf: newValueBuffer(v.Values, v.Seed), bytes: v.Values}
	over := time.Now().Add(v.Limit)
	for i, said := 0, false; ; i++ {
		v.Space.Put(key, draw.Next())
		if err := db.Put(key, values.next()); err != nil {
			return err
		}
		if !said && (i >= v.Writes || i%publishEvery == 0 && time.Now().After(over)) {
			said = true
			if _, err := io.WriteString(out, ready); err != nil {
				return err
			}
		}
	}
}
