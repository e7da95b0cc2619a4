package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faultline/cmd/kvbench/internal/result"
	"faultline/store"
)

func smallConfig(t *testing.T) Config {
	c := Config{
		Engines: EngineNames,
		N:       1000, KeyBytes: 16, ValueBytes: 100, SeekNexts: 50,
		Memory: 64 << 20, Reps: 2, Seed: 1, Dir: t.TempDir(), PebbleBloom: true,
	}
	for _, name := range WorkloadNames() {
		c.Workloads = append(c.Workloads, Workload{Name: name, Threads: 1}, Workload{Name: name, Threads: 3})
	}
	return c
}

// TestRun runs every workload on every engine, small, and checks that all was
// done and found, that the JSON says the same, and that nothing stays on disk.
func TestRun(t *testing.T) {
	c := smallConfig(t)
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var encoded bytes.Buffer
	if err := r.Write(&encoded); err != nil {
		t.Fatal(err)
	}
	decoded, err := result.Read(&encoded)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(decoded.Phases), len(c.Workloads)*len(c.Engines)*c.Reps; got != want {
		t.Errorf("%d phases, want %d", got, want)
	}
	for i := range decoded.Phases {
		checkPhase(t, &c, &decoded.Phases[i])
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func checkPhase(t *testing.T, c *Config, p *result.Phase) {
	t.Helper()
	all := map[string]result.Phase{
		"fillseq":    {Ops: c.N, Stored: c.N},
		"fillrandom": {Ops: c.N, Stored: c.N},
		"fillsync":   {Ops: minOps * p.Threads, Stored: minOps * p.Threads},
		"overwrite":  {Ops: c.N, Stored: c.N},
		"readrandom": {Ops: c.N, Found: c.N},
		"readseq":    {Ops: c.N * p.Threads, Entries: c.N * p.Threads},
		"seekrandom": {Ops: minOps, Found: minOps, Entries: p.Entries},
	}
	want := all[p.Name]
	if p.Ops != want.Ops || p.Found != want.Found || p.Entries != want.Entries || p.Stored != want.Stored {
		t.Errorf("%s %s@%d: ops %d, found %d, entries %d, stored %d, want %d, %d, %d, %d", p.Engine, p.Name,
			p.Threads, p.Ops, p.Found, p.Entries, p.Stored, want.Ops, want.Found, want.Entries, want.Stored)
	}
	samples := p.Latency.Samples
	if p.Name == "readseq" {
		if samples == 0 || samples > int64(p.Ops)/8 {
			t.Errorf("%s readseq: %d samples of %d entries", p.Engine, samples, p.Ops)
		}
	} else if samples != int64(p.Ops) {
		t.Errorf("%s %s: %d samples of %d operations", p.Engine, p.Name, samples, p.Ops)
	}
	if p.Name == "seekrandom" && (p.Entries < 45*p.Ops || p.Entries > 50*p.Ops) {
		t.Errorf("%s seekrandom: %d entries after %d seeks", p.Engine, p.Entries, p.Ops)
	}
}

// TestEnginesSeeTheSame checks that both engines do the same operations: a seek
// near the end returns fewer entries, so their sum tells the draws apart.
func TestEnginesSeeTheSame(t *testing.T) {
	c := smallConfig(t)
	c.Workloads = []Workload{{Name: "seekrandom", Threads: 2}}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for rep := range c.Reps {
		a, b := r.Phases[2*rep], r.Phases[2*rep+1]
		if a.Engine == b.Engine || a.Entries != b.Entries {
			t.Errorf("repetition %d: %s read %d entries, %s %d", rep+1, a.Engine, a.Entries, b.Engine, b.Entries)
		}
	}
	if r.Phases[0].Engine == r.Phases[2].Engine {
		t.Errorf("%s goes first in both repetitions", r.Phases[0].Engine)
	}
}

// TestRunProfile checks that each faultline phase has a profile, and no other.
func TestRunProfile(t *testing.T) {
	c := smallConfig(t)
	c.Workloads, c.Reps = []Workload{{Name: "fillseq", Threads: 1}, {Name: "readrandom", Threads: 1}}, 1
	dir := t.TempDir()
	c.CPUProfile = filepath.Join(dir, "cpu.pprof")
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("profiles %v, %v, want 2", files, err)
	}
}

// TestRunInterrupted checks that a run ends with its context and cleans up.
func TestRunInterrupted(t *testing.T) {
	c := smallConfig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, c); err == nil || err.Error() != "interrupted" {
		t.Errorf("error %v, want interrupted", err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

// TestRunRefuses checks every part of a Config that makes no run.
func TestRunRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*Config){
		"no engine":            func(c *Config) { c.Engines = nil },
		`unknown engine "lmd"`: func(c *Config) { c.Engines = []string{"lmd"} },
		"pebble is named twice": func(c *Config) {
			c.Engines = []string{"pebble", "pebble"}
		},
		"no workload":                func(c *Config) { c.Workloads = nil },
		"readseq@1 is named twice":   func(c *Config) { c.Workloads = append(c.Workloads, Workload{Name: "readseq", Threads: 1}) },
		"n is 0":                     func(c *Config) { c.N = 0 },
		"key size is 0":              func(c *Config) { c.KeyBytes = 0 },
		"key size is 1025":           func(c *Config) { c.KeyBytes = 1025 },
		"key size is 2: too short":   func(c *Config) { c.KeyBytes = 2 },
		"value size is -1":           func(c *Config) { c.ValueBytes = -1 },
		"fits an entry with its key": func(c *Config) { c.ValueBytes = store.MaxEntryBytes },
		"seek nexts is -1":           func(c *Config) { c.SeekNexts = -1 },
		"memory is 1.0 MiB":          func(c *Config) { c.Memory = 1 << 20 },
		"reps is 0":                  func(c *Config) { c.Reps = 0 },
		"duration is -1ns":           func(c *Config) { c.Duration = -1 },
		`dir is "/dev/null"`:         func(c *Config) { c.Dir = "/dev/null" },
		`dir is "testdata/missing"`:  func(c *Config) { c.Dir = "testdata/missing" },
	} {
		c := smallConfig(t)
		spoil(&c)
		_, err := Run(t.Context(), c)
		if refused := new(ConfigError); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
