package bench

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/store"

	"github.com/dustin/go-humanize"
)

// Config is what a run is made of. Its JSON form is part of a Report.
type Config struct {
	Engines    []string      `json:"engines"`
	Workloads  []Workload    `json:"workloads"`
	N          int           `json:"n"` // keys in a loaded store
	KeyBytes   int           `json:"key_bytes"`
	ValueBytes int           `json:"value_bytes"`
	Sync       bool          `json:"sync"` // every write is synced, not only fillsync's
	SeekNexts  int           `json:"seek_nexts"`
	Memory     int64         `json:"memory_bytes"` // for each engine
	Reps       int           `json:"reps"`
	Seed       uint64        `json:"seed"`
	Duration   time.Duration `json:"duration_ns"` // a workload ends after this, 0 = only when it is done
	Dir        string        `json:"-"`           // where a directory is made and removed

	PebbleBloom    bool   `json:"pebble_bloom"`
	PebbleMemTable uint64 `json:"pebble_memtable_bytes"` // 0 = Pebble's default

	CPUProfile string    `json:"-"` // see profilePath
	Progress   io.Writer `json:"-"` // a terminal, or nil
}

// A ConfigError says which part of a Config does not make a run.
type ConfigError struct{ Reason string }

func (e *ConfigError) Error() string { return e.Reason }

func refuse(format string, args ...any) error {
	return &ConfigError{fmt.Sprintf(format, args...)}
}

// EngineNames are the engines that have a synced write too.
var EngineNames = []string{"faultline", "pebble"}

const (
	baselineEngine = "pebble" // what ratios are to

	maxThreads     = 1024
	minMemoryBytes = 16 << 20
)

func (c *Config) check() error {
	if len(c.Engines) == 0 {
		return refuse("no engine: have %s", strings.Join(EngineNames, ", "))
	}
	for i, name := range c.Engines {
		if !slices.Contains(EngineNames, name) {
			return refuse("unknown engine %q: have %s", name, strings.Join(EngineNames, ", "))
		}
		if slices.Contains(c.Engines[:i], name) {
			return refuse("engine %s is named twice", name)
		}
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
		return refuse("n is %d: want at least 1", c.N)
	case c.KeyBytes < 1 || c.KeyBytes > store.MaxKeyBytes:
		return refuse("key size is %d: want 1 to %d", c.KeyBytes, store.MaxKeyBytes)
	case c.ValueBytes < 0 || c.KeyBytes+c.ValueBytes > store.MaxEntryBytes:
		return refuse("value size is %d: want 0 to %d, so that it fits an entry with its key",
			c.ValueBytes, store.MaxEntryBytes-c.KeyBytes)
	case c.SeekNexts < 0:
		return refuse("seek nexts is %d: want at least 0", c.SeekNexts)
	case c.Memory < minMemoryBytes:
		return refuse("memory is %s: want at least %s", humanize.IBytes(uint64(max(c.Memory, 0))),
			humanize.IBytes(minMemoryBytes))
	case c.Reps < 1:
		return refuse("reps is %d: want at least 1", c.Reps)
	case c.Duration < 0:
		return refuse("duration is %v: want none or more", c.Duration)
	}
	if info, err := os.Stat(c.Dir); err != nil || !info.IsDir() {
		return refuse("dir is %q: want a directory that is there", c.Dir)
	}
	for _, w := range c.Workloads {
		if space := c.keySpaceOf(w); !space.Fits() {
			return refuse("key size is %d: too short for the %d keys of %s", c.KeyBytes, space.N, w.Name)
		}
	}
	return nil
}

// keySpaceOf is the keys that w writes or reads: n, or, where a synced fill does
// more operations than that, as many as it does.
func (c *Config) keySpaceOf(w Workload) keys.Space {
	n := c.N
	if kindOf(w).fresh {
		n = max(n, opsOf(w, c))
	}
	return keys.Space{N: uint64(n), Bytes: c.KeyBytes}
}

func (c *Config) engine(name string) engine.Engine {
	return engine.New(name, engine.Setup{
		MemoryBytes: c.Memory, PebbleMemTable: c.PebbleMemTable, PebbleBloom: c.PebbleBloom,
	})
}
