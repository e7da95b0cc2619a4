package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/result"
	"faultline/store"

	"github.com/dustin/go-humanize"
)

// Config is what a run is made of.
type Config struct {
	Engines    []string
	Workloads  []Workload
	N          int // keys in a loaded store
	KeyBytes   int
	ValueBytes int
	Sync       bool // every write is synced, not only fillsync's
	SeekNexts  int
	Memory     int64 // for each engine
	Reps       int
	Seed       uint64
	Duration   time.Duration // a workload ends after this, 0 = only when it is done
	Warmup     time.Duration // of workloads that can be done for a while before they are timed
	Rate       float64       // operations a second that all clients together begin, 0 = as fast as they can
	Opens      bool          // measure how long stores take to open; needs Child

	BatchEntries int          // of fillbatch
	Distribution Distribution // of YCSB's workloads

	Dir       string // where a directory is made and removed
	RedisAddr string // of the engine redis

	PebbleBloom    bool
	PebbleMemTable uint64 // bytes, 0 = Pebble's default

	CPUProfile string            // see profilePath
	Progress   io.Writer         // a terminal, or nil
	Keep       func(*result.Run) // called with what there is after each step, or nil
	Child      []string          // the command that runs RunChild
}

// A ConfigError says which part of a Config does not make a run.
type ConfigError struct{ Reason string }

func (e *ConfigError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &ConfigError{fmt.Sprintf(format, args...)}
}

const (
	maxThreads     = 1024
	maxRate        = 1e9
	maxInsertRate  = 1e7 // records a second that no store takes
	minMemoryBytes = 16 << 20

	// A batch of Faultline is 32 MiB at most, with what it has beside keys and values;
	// a store is loaded in batches of one entry or more.
	maxBatchBytes = 24 << 20
	maxValueBytes = 16 << 20
)

func (c *Config) check() error {
	if err := engine.CheckNames(c.Engines, engine.Names); err != nil {
		return refuse("--engines: %v", err)
	}
	if len(c.Workloads) == 0 {
		return refuse("no workload: have %s", strings.Join(WorkloadNames(), ", "))
	}
	for i, w := range c.Workloads {
		if slices.Contains(c.Workloads[:i], w) {
			return refuse("workload %s is named twice", w)
		}
	}
	switch {
	case c.N < 1:
		return refuse("--n is %d: want at least 1", c.N)
	case c.KeyBytes < 1 || c.KeyBytes > store.MaxKeyBytes:
		return refuse("--key-size is %d: want 1 to %d", c.KeyBytes, store.MaxKeyBytes)
	case c.ValueBytes < 0 || c.ValueBytes > maxValueBytes:
		return refuse("--value-size is %d: want 0 to %s", c.ValueBytes, humanize.IBytes(maxValueBytes))
	case c.SeekNexts < 0:
		return refuse("--seek-nexts is %d: want at least 0", c.SeekNexts)
	case c.Memory < minMemoryBytes:
		return refuse("--memory is %s: want at least %s", humanize.IBytes(uint64(max(c.Memory, 0))),
			humanize.IBytes(minMemoryBytes))
	case c.Reps < 1:
		return refuse("--reps is %d: want at least 1", c.Reps)
	case c.Duration < 0:
		return refuse("--duration is %v: want 0 or more", c.Duration)
	case c.Warmup < 0:
		return refuse("--warmup is %v: want 0 or more", c.Warmup)
	case !(c.Rate >= 0 && c.Rate <= maxRate): // nor is it NaN
		return refuse("--rate is %v: want 0 to %v", c.Rate, float64(maxRate))
	case c.BatchEntries < 1:
		return refuse("--batch is %d: want at least 1", c.BatchEntries)
	case c.Distribution != OwnDistribution && !slices.Contains(Distributions, c.Distribution):
		return refuse("--distribution is %q: want one of %v", c.Distribution, Distributions)
	case slices.Contains(c.Engines, "redis") && c.RedisAddr == "":
		return refuse("engine redis has no address: want --redis-addr of a server that is empty")
	case !isDir(c.Dir):
		return refuse("--dir is %q: want a directory that is there", c.Dir)
	case c.CPUProfile != "" && !isDir(filepath.Dir(c.CPUProfile)):
		return refuse("--cpuprofile is %q: want a file in a directory that is there", c.CPUProfile)
	}
	for _, w := range c.Workloads {
		if err := c.checkSizes(w); err != nil {
			return err
		}
	}
	return nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// checkSizes refuses keys that are too few or too long for w, and batches that no engine
// would take.
func (c *Config) checkSizes(w Workload) error {
	space, k := c.keySpaceOf(w), kindOf(w)
	switch {
	case !space.Fits():
		return refuse("--key-size is %d: too short for up to %d keys of %s", c.KeyBytes, space.N, w.Name)
	case k.misses && c.KeyBytes == store.MaxKeyBytes:
		return refuse("--key-size is %d: %s looks for keys that are a byte longer, want at most %d", c.KeyBytes, w.Name, store.MaxKeyBytes-1)
	case k.per != nil && k.per(c) > maxBatchBytes/(c.KeyBytes+c.ValueBytes):
		return refuse("--batch is %d: want at most %s, %d entries of this size", c.BatchEntries, humanize.IBytes(maxBatchBytes), maxBatchBytes/(c.KeyBytes+c.ValueBytes))
	}
	return nil
}

// keySpaceOf is the keys that w writes or reads: n, or as many as it does operations,
// where a fill does more or a workload adds records.
func (c *Config) keySpaceOf(w Workload) keys.Space {
	n := c.N
	if k := kindOf(w); k.fresh {
		n = max(n, opsOf(w, c))
	} else if k.insertPercent > 0 {
		n += maxInserts(w, c)
	}
	return keys.Space{N: uint64(n), Bytes: c.KeyBytes}
}

// maxInserts is more records than w adds, with those of its warm-up.
func maxInserts(w Workload, c *Config) int {
	if endless(w, c) {
		return int((c.Warmup + c.Duration).Seconds() * maxInsertRate)
	}
	return 2 * opsOf(w, c)
}

func (c *Config) setup() engine.Setup {
	return engine.Setup{
		MemoryBytes: c.Memory, PebbleMemTable: c.PebbleMemTable, PebbleBloom: c.PebbleBloom, RedisAddr: c.RedisAddr,
	}
}
