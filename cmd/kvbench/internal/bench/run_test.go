package bench

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"faultline/cmd/kvbench/internal/result"
)

func smallConfig(t *testing.T) Config {
	c := Config{
		Engines: []string{"faultline", "pebble"},
		N:       300, KeyBytes: 16, ValueBytes: 100, SeekNexts: 50, BatchEntries: 7,
		Memory: 64 << 20, Reps: 1, Seed: 1, Warmup: time.Millisecond, Dir: t.TempDir(), PebbleBloom: true,
	}
	for _, name := range []string{"fillbatch", "readseq", "readwhilewriting", "ycsbd"} {
		c.Workloads = append(c.Workloads, Workload{Name: name, Threads: 2})
	}
	return c
}

// TestRun runs workloads of every sort on two engines, small, and checks that all was
// done and found (TestKinds has what each does), that the JSON says the same, and that nothing stays on disk.
func TestRun(t *testing.T) {
	c, kept := smallConfig(t), 0
	c.Keep = func(r *result.Run) {
		if kept++; len(r.Phases) != kept {
			t.Errorf("%d phases are kept, want %d", len(r.Phases), kept)
		}
	}
	r, err := Run(t.Context(), c)
	if err != nil || kept != len(r.Phases) {
		t.Fatalf("kept %d times, %v", kept, err)
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
	k := kindOf(p.Workload)
	if p.Cannot != "" || p.Ops != opsOf(p.Workload, c) || p.Latency.Samples == 0 || p.Seconds <= 0 {
		t.Errorf("%s %s: %q, %d operations, %d samples in %v s", p.Engine, p.Workload, p.Cannot, p.Ops, p.Latency.Samples, p.Seconds)
	}
	if writes := p.PutBytes > 0 && p.Stored > 0; writes != k.writes && !k.deletes {
		t.Errorf("%s %s: %d bytes put, %d entries counted, writes %t", p.Engine, p.Workload, p.PutBytes, p.Stored, k.writes)
	}
	if p.DiskBytes == 0 || p.DataBytes == 0 {
		t.Errorf("%s %s: %d bytes on disk of %d", p.Engine, p.Workload, p.DiskBytes, p.DataBytes)
	}
	// Of few operations of ycsbd none may be an insert.
	if warm := p.Warm.Ops > 0; warm != (k.draws && k.writes) || k.beside != nil && p.Warm.PutBytes == 0 || !warm && p.Warm.PutBytes > 0 {
		t.Errorf("%s %s: warmed up by %d operations that put %d bytes", p.Engine, p.Workload, p.Warm.Ops, p.Warm.PutBytes)
	}
	parts := 0
	for _, part := range p.Parts {
		parts += part.Ops
	}
	if k.beside == nil && parts != 0 && parts != p.Ops || len(k.parts) > 1 && parts == 0 {
		t.Errorf("%s %s: %d operations in parts of %d", p.Engine, p.Workload, parts, p.Ops)
	}
}

// TestCannot checks that what an engine cannot do is said, and that the others go on.
func TestCannot(t *testing.T) {
	c := smallConfig(t)
	c.Engines = []string{"rawlog", "faultline"}
	c.Workloads = []Workload{{Name: "readseq", Threads: 1}, {Name: "fillsync", Threads: 3}}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Phases {
		if cannot := p.Engine == "rawlog" && p.Name == "readseq"; cannot != (p.Cannot != "") || cannot == (p.Ops > 0) {
			t.Errorf("%s %s: cannot %q, %d operations", p.Engine, p.Workload, p.Cannot, p.Ops)
		}
	}
}

// TestFails checks that an engine that fails is said to, and that the others go on.
func TestFails(t *testing.T) {
	c := smallConfig(t)
	c.Workloads = []Workload{{Name: "readseq", Threads: 1}, {Name: "fillseq", Threads: 1}}
	c.PebbleMemTable = 100 << 30 // more than it takes
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Phases {
		if fails := p.Engine == "pebble"; fails != strings.Contains(p.Failed, "MemTableSize") || fails == (p.Ops > 0) {
			t.Errorf("%s %s: failed %q, %d operations", p.Engine, p.Workload, p.Failed, p.Ops)
		}
	}
	if err := r.Failures(); err == nil || !strings.Contains(err.Error(), "pebble readseq@1, repetition 1: load: open: MemTableSize") {
		t.Errorf("failures: %v", err)
	}
}

// TestOpensFail has children that end by themselves: the times to open before that are kept.
func TestOpensFail(t *testing.T) {
	c := smallConfig(t)
	c.Engines, c.Workloads = []string{"bbolt"}, []Workload{{Name: "readseq", Threads: 1}}
	c.Opens, c.Child = true, []string{"false"}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range r.Opens {
		if failed := i == opensEach; failed != (o.Failed != "") || failed != (o.After == result.Killed) || failed == (o.Seconds > 0) {
			t.Errorf("opening %d: %+v", i, o)
		}
	}
	if len(r.Opens) != opensEach+1 || !strings.Contains(r.Failures().Error(), "bbolt, time to open after kill -9, repetition 1: a child that writes ended by itself") {
		t.Errorf("%d openings, failures: %v", len(r.Opens), r.Failures())
	}
}

// A hook is a writer that calls a function when a line of progress has a word.
type hook struct {
	word string
	call func()
}

func (h hook) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(h.word)) {
		h.call()
	}
	return len(line), nil
}

// TestInterrupted checks that a run that is interrupted returns what it has measured, and
// leaves nothing on disk.
func TestInterrupted(t *testing.T) {
	c := smallConfig(t)
	c.Workloads, c.Reps = []Workload{{Name: "readseq", Threads: 1}, {Name: "fillseq", Threads: 1}}, 2
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.Progress = hook{"pebble fillseq@1, repetition 1", cancel}
	r, err := Run(ctx, c)
	if err == nil || err.Error() != "interrupted" {
		t.Fatalf("error %v, want interrupted", err)
	}
	if len(r.Phases) != 3 || !strings.Contains(r.Notes[len(r.Notes)-1], "ended in repetition 1 of 2") {
		t.Errorf("%d phases, want 3; notes %q", len(r.Phases), r.Notes)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

// TestTurns checks that another engine goes first in the next repetition.
func TestTurns(t *testing.T) {
	r := &run{Config: smallConfig(t)}
	if a, b := r.jobs(0)[0], r.jobs(1)[0]; a.engine == b.engine || a.Workload != b.Workload {
		t.Errorf("first %s, then %s", a, b)
	}
}

// TestRunProfile checks that each faultline phase has a profile, and no other.
func TestRunProfile(t *testing.T) {
	c := smallConfig(t)
	c.Workloads = []Workload{{Name: "fillseq", Threads: 1}, {Name: "readrandom", Threads: 1}}
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
	if _, err := Run(ctx, c); err == nil || err.Error() != "interrupted before anything was measured" {
		t.Errorf("error %v, want interrupted before anything", err)
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
		"no workload":              func(c *Config) { c.Workloads = nil },
		"readseq@2 is named twice": func(c *Config) { c.Workloads = append(c.Workloads, Workload{Name: "readseq", Threads: 2}) },
		"--rate is -1":             func(c *Config) { c.Rate = -1 },
		"--rate is NaN":            func(c *Config) { c.Rate = math.NaN() },
		"want at most 1023": func(c *Config) {
			c.KeyBytes, c.Workloads = 1024, []Workload{{Name: "readmissing", Threads: 1}}
		},
		"--batch is 300000": func(c *Config) { c.BatchEntries = 300000 },
		"keys of ycsbe": func(c *Config) {
			c.KeyBytes, c.Duration, c.Workloads = 8, time.Minute, []Workload{{Name: "ycsbe", Threads: 1}}
		},
		`--cpuprofile is "no/dir/f"`: func(c *Config) { c.CPUProfile = "no/dir/f" },
		"batch is 0":                 func(c *Config) { c.BatchEntries = 0 },
		`distribution is "normal"`:   func(c *Config) { c.Distribution = "normal" },
		"redis has no address":       func(c *Config) { c.Engines = []string{"redis"} },
		"--n is 0":                   func(c *Config) { c.N = 0 },
		"--key-size is 0":            func(c *Config) { c.KeyBytes = 0 },
		"--key-size is 1025":         func(c *Config) { c.KeyBytes = 1025 },
		"--key-size is 2: too short": func(c *Config) { c.KeyBytes = 2 },
		"--value-size is -1":         func(c *Config) { c.ValueBytes = -1 },
		"want 0 to 16 MiB":           func(c *Config) { c.ValueBytes = maxValueBytes + 1 },
		"--seek-nexts is -1":         func(c *Config) { c.SeekNexts = -1 },
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
