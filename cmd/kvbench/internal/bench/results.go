package bench

import (
	"fmt"
	"os"
	"strings"
	"time"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"

	"github.com/dustin/go-humanize"
)

// newResults returns what is known before the first phase.
func newResults(c Config, dir string) (*result.Run, error) {
	m, err := figure.NewMachine(dir)
	if err != nil {
		return nil, err
	}
	r := &result.Run{
		Format: result.Format, Time: time.Now().UTC(), Command: os.Args[1:], Machine: m,
		Setup: result.Setup{
			Keys: int64(c.N), KeyBytes: c.KeyBytes, ValueBytes: c.ValueBytes, MemoryBytes: c.Memory,
			Sync: c.Sync, Duration: c.Duration, Reps: c.Reps, Seed: c.Seed, Baseline: baselineEngine,
		},
		Notes: notes(&c),
	}
	for _, name := range c.Engines {
		e := c.engine(name)
		r.Engines = append(r.Engines, result.Engine{Name: name, Version: e.Version(), Settings: e.Settings()})
	}
	return r, nil
}

// notes says what the workloads do, and how they are timed.
func notes(c *Config) []string {
	synced := "not synced, except fillsync's"
	if c.Sync {
		synced = "synced"
	}
	var ops []string
	for _, w := range c.Workloads {
		ops = append(ops, fmt.Sprintf("%s %s", w, humanize.Comma(int64(opsOf(w, c)))))
	}
	limit := ""
	if c.Duration > 0 {
		limit = fmt.Sprintf(", or as many as it does in %v", c.Duration)
	}
	return []string{
		"Writes are " + synced + "; values compress to half. The engine that goes first alternates.",
		"Operations of all threads together: " + strings.Join(ops, ", ") + limit + ".",
		"fill* write each key once into an empty store; the others run on a store loaded with all keys in random order, " +
			"settled, opened again and read once. overwrite, readrandom and seekrandom draw keys with replacement. " +
			fmt.Sprintf("seekrandom makes an iterator, seeks and reads %d entries. An operation of readseq is an entry.", c.SeekNexts),
		"A latency includes making the key and one read of the clock; every operation is timed, of readseq one entry in 32.",
	}
}
