package ltm

import (
	"cmp"
	"fmt"
	"io"
	"os"
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
	DataBytes  int64 // keys and values together
	KeyBytes   int
	ValueBytes int
	Memory     int64 // for each engine
	Cgroup     int64 // for each child; 0 = none is made

	Compressible bool
	Sequential   bool // load keys in order, not in random order
	FreeLoad     bool // load outside of the cgroup
	BatchEntries int
	Warmup       time.Duration
	Duration     time.Duration // timed, of each workload but readseq
	KillAfter    time.Duration
	Series       bool // keep what workloads that write do each second
	Reps         int
	Seed         uint64

	PebbleBloom    bool
	PebbleCache    int64  // 0 = by the memory, see pebbleCache
	PebbleMemTable uint64 // 0 = by the memory, see pebbleMemTable

	Dir      string            // where a directory is made and removed
	Child    []string          // the command that runs RunChild
	Progress io.Writer         // a terminal, or nil
	Keep     func(*result.Run) // called with what there is after each step, or nil
}

// A ConfigError says which part of a Config does not make a run.
type ConfigError struct{ Reason string }

func (e *ConfigError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &ConfigError{fmt.Sprintf(format, args...)}
}

const (
	minMemoryBytes = store.MinMemoryBudget
	minCgroupBytes = 16 << 20 // the Go runtime and the histograms take some

	// Pebble's cache, memtables taken out of it, is this part of the memory: with
	// what malloc and Go's heap add, the process takes about all of it then. A cache
	// of 128 MiB was measured as 145 to 150 MiB of anonymous memory, with one arena
	// of malloc, and as up to 340 MiB without a limit on arenas.
	cacheShare, cacheOf = 3, 4

	// A Pebble memtable is this part of the memory, and no more than CockroachDB's:
	// with two of them waiting for a flush a good half is left for the cache.
	memTablePart = 8
	maxMemTable  = 64 << 20
)

func (c *Config) check() error {
	if err := engine.CheckNames(c.Engines, engine.Embedded); err != nil {
		return refuse("--engines: %v", err)
	}
	switch {
	case c.KeyBytes < 1 || c.KeyBytes > store.MaxKeyBytes:
		return refuse("--key-size is %d: want 1 to %d", c.KeyBytes, store.MaxKeyBytes)
	case c.ValueBytes < idBytes || c.KeyBytes+c.ValueBytes > store.MaxEntryBytes:
		return refuse("--value-size is %d: want %d to %d, so that it names its write and fits an entry with its key",
			c.ValueBytes, idBytes, store.MaxEntryBytes-c.KeyBytes)
	case c.Memory < minMemoryBytes:
		return refuse("--memory is %s: want at least %s", humanize.IBytes(uint64(max(c.Memory, 0))), humanize.IBytes(minMemoryBytes))
	case c.Cgroup != 0 && c.Cgroup < minCgroupBytes:
		return refuse("--cgroup is %s: want at least %s", humanize.IBytes(uint64(max(c.Cgroup, 0))), humanize.IBytes(minCgroupBytes))
	case c.BatchEntries < 1:
		return refuse("--load-batch is %d: want at least 1", c.BatchEntries)
	case c.Reps < 1:
		return refuse("--reps is %d: want at least 1", c.Reps)
	case c.Warmup < 0 || c.Duration <= 0 || c.KillAfter < 0:
		return refuse("--warmup is %v, --duration %v and --kill-after %v: want a duration above 0, and of the others 0 or more",
			c.Warmup, c.Duration, c.KillAfter)
	case c.n() < maxClients:
		return refuse("the data is %s, which is %d keys: want at least %d", humanize.IBytes(uint64(max(c.DataBytes, 0))), c.n(), maxClients)
	case !c.space().Fits():
		return refuse("--key-size is %d: too short for %d keys", c.KeyBytes, c.n())
	}
	if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
		return refuse("--dir is %q: want a directory that is there", c.Dir)
	}
	return nil
}

func (c *Config) entryBytes() int64 { return int64(c.KeyBytes + c.ValueBytes) }

// n is how many keys make the data.
func (c *Config) n() int64 { return c.DataBytes / c.entryBytes() }

func (c *Config) space() keys.Space { return keys.Space{N: uint64(c.n()), Bytes: c.KeyBytes} }

func (c *Config) setup() engine.Setup {
	return engine.Setup{MemoryBytes: c.Memory, PebbleCache: c.pebbleCache(), PebbleMemTable: c.pebbleMemTable(), PebbleBloom: c.PebbleBloom}
}

func (c *Config) pebbleCache() int64 { return cmp.Or(c.PebbleCache, c.Memory*cacheShare/cacheOf) }

func (c *Config) pebbleMemTable() uint64 {
	if c.PebbleMemTable != 0 {
		return c.PebbleMemTable
	}
	return uint64(min(c.Memory/memTablePart, maxMemTable))
}

// heapLimit is GOMEMLIMIT of a child: what its cgroup leaves when all that its
// engine keeps elsewhere is there.
func (c *Config) heapLimit(e engine.Engine) int64 {
	all := c.Cgroup
	if all == 0 {
		all = c.Memory + c.Memory/5
	}
	const least = 16 << 20
	return max(all-e.OffHeapBytes(), least)
}
