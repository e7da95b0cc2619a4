package ltm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"faultline/cmd/kvbench/internal/cgroup"
	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/result"
)

// childArgument has the test binary be a child.
const childArgument = "ltm-child"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		if err := RunChild(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func smallConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		Engines: engine.Embedded, Workloads: []Workload{{"readrandom", 2}, {"readzipf", 1}, {"readseq", 1}, {"overwrite", 2}, {"readwrite", 2}},
		DataBytes: 1 << 20, KeyBytes: 16, ValueBytes: 100, Memory: 16 << 20, Cgroup: 128 << 20,
		BatchEntries: 1000, Warmup: 10 * time.Millisecond, Duration: 100 * time.Millisecond, KillAfter: 50 * time.Millisecond,
		Series: true, Reps: 1, Seed: 1, PebbleBloom: true, Dir: t.TempDir(), Child: []string{os.Args[0], childArgument},
	}
}

// skipWithoutCgroup lets a machine of ours do without; CI has to have them.
func skipWithoutCgroup(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, cgroup.ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
}

// TestRun does all that a run can do, small: every child in a cgroup, every key
// checked, one child of each engine killed, nothing left on the disk.
func TestRun(t *testing.T) {
	c := smallConfig(t)
	r, err := Run(t.Context(), c)
	skipWithoutCgroup(t, err)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Failures(); err != nil {
		t.Fatal(err)
	}
	perEngine := 1 + len(c.Workloads) + 2 // load, workloads, check, kill
	if got, want := len(r.Children), perEngine*len(c.Engines); got != want {
		t.Errorf("%d phases, want %d", got, want)
	}
	for i := range r.Children {
		checkPhase(t, &c, &r.Children[i])
	}
	if got, want := len(r.Phases), (1+len(c.Workloads))*len(c.Engines); got != want {
		t.Errorf("%d phases are results, want %d", got, want)
	}
	if want := 2 * len(c.Engines); len(r.Checks) != want || len(r.Opens) != want {
		t.Errorf("%d checks and %d times to open, want %d", len(r.Checks), len(r.Opens), want)
	}
	for _, c := range r.Checks {
		if c.Failed != "" || c.Keys == 0 || (c.After == result.Killed) != (c.Acked > 0) {
			t.Errorf("check %+v", c)
		}
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func checkPhase(t *testing.T, c *Config, p *Phase) {
	t.Helper()
	n, name := uint64(c.n()), fmt.Sprintf("%s %s", p.Engine, p.Workload)
	if p.Ops == 0 || p.Seconds <= 0 || p.DiskBytes == 0 || p.PeakRSS == 0 {
		t.Errorf("%s: %d operations in %v s, %d bytes on disk, peak %d", name, p.Ops, p.Seconds, p.DiskBytes, p.PeakRSS)
	}
	if p.Cgroup == nil || p.Cgroup.PeakBytes == 0 || p.Cgroup.PeakBytes > p.CgroupBytes || p.Cgroup.OOMKills != 0 {
		t.Errorf("%s: cgroup %+v of %d", name, p.Cgroup, p.CgroupBytes)
	}
	if p.CachedBytes > 0 {
		t.Errorf("%s: began with %d bytes in the page cache", name, p.CachedBytes)
	}
	switch p.Workload.Name {
	case "load":
		if p.Ops != n {
			t.Errorf("%s: %d operations, want %d", name, p.Ops, n)
		}
	case "readrandom", "readzipf":
		if p.Found != p.Ops || p.Done != nil || p.Series != nil || p.Warm != (result.Warm{}) {
			t.Errorf("%s: found %d of %d, done %v, %d seconds, %+v", name, p.Found, p.Ops, p.Done, len(p.Series), p.Warm)
		}
	case "readseq":
		if p.Ops != n || p.Entries != n {
			t.Errorf("%s: %d operations and %d entries, want %d", name, p.Ops, p.Entries, n)
		}
	case "overwrite":
		if p.Puts != p.Ops || len(p.Done) != 2 || p.Done[0]+p.Done[1] != p.Puts+uint64(p.Warm.Ops) || p.Warm.PutBytes != int64(p.Warm.Ops)*c.entryBytes() || len(p.Series) == 0 {
			t.Errorf("%s: %d puts of %d, done %v, %d seconds, %+v", name, p.Puts, p.Ops, p.Done, len(p.Series), p.Warm)
		}
	case "readwrite":
		// On a busy machine the reader may not have a turn: it says nothing if it found nothing.
		if len(p.Done) != 2 || p.Done[0] == 0 || p.Done[1] != 0 {
			t.Errorf("%s: done %v", name, p.Done)
		}
	case "check", "kill":
		if p.Check == nil || p.Check.Keys != n || p.Check.Writes == 0 {
			t.Errorf("%s: %+v", name, p.Check)
		}
		if killed := p.Workload.Name == "kill"; killed != (p.Check.Acked > 0) {
			t.Errorf("%s: %+v", name, p.Check)
		}
	}
}

// TestRunFails checks that a child that fails ends the use of its store, and
// that the results say so: here there is no program that could do anything.
func TestRunFails(t *testing.T) {
	c := smallConfig(t)
	c.Cgroup = 0
	c.Engines = []string{"pebble"}
	c.Child = []string{"sh", "-c", "echo no disk >&2; exit 3"}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	const want = "pebble load@1, repetition 1: exit status 3: no disk"
	if err := r.Failures(); err == nil || err.Error() != want {
		t.Errorf("failures %v, want %s", err, want)
	}
	if len(r.Children) != 1 {
		t.Errorf("%d phases, want 1", len(r.Phases))
	}
	if len(r.Phases) != 1 || r.Phases[0].Failed == "" {
		t.Errorf("results are %+v", r.Phases)
	}
}

// TestRunOutOfMemory gives a child less memory than it writes to: the results
// say that the kernel killed it.
func TestRunOutOfMemory(t *testing.T) {
	c := smallConfig(t)
	c.Engines, c.Cgroup = []string{"bbolt"}, minCgroupBytes
	// A shell that doubles a word until the kernel stops it.
	c.Child = []string{"sh", "-c", "read spec; s=xxxxxxxxxxxxxxxx; while :; do s=$s$s; done"}
	r, err := Run(t.Context(), c)
	skipWithoutCgroup(t, err)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Failures(); err == nil || !strings.Contains(err.Error(), "out of the memory of its cgroup") {
		t.Errorf("failures %v", err)
	}
	if p := r.Phases[0]; p.Cgroup == nil || p.Cgroup.OOMKills == 0 {
		t.Errorf("its cgroup is %+v", p.Cgroup)
	}
}

// TestRunInterrupted checks that a run ends with its context and cleans up.
func TestRunInterrupted(t *testing.T) {
	c := smallConfig(t)
	c.Cgroup = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, c); err == nil || !strings.HasPrefix(err.Error(), "interrupted") {
		t.Errorf("error %v, want interrupted", err)
	}
	if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

// TestEvict checks that a file that was just written and read is out of the page
// cache, and that the count of what is in it would tell.
func TestEvict(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cached, err := evict(dir)
	if err != nil || cached > 0 {
		t.Errorf("%d bytes are cached, %v", cached, err)
	}
}

// TestRunRefuses checks every part of a Config that makes no run.
func TestRunRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*Config){
		"no engine":             func(c *Config) { c.Engines = nil },
		`unknown engine "lmd"`:  func(c *Config) { c.Engines = []string{"lmd"} },
		"pebble is named twice": func(c *Config) { c.Engines = []string{"pebble", "pebble"} },
		"--key-size is 0":       func(c *Config) { c.KeyBytes = 0 },
		"--key-size is 2":       func(c *Config) { c.KeyBytes = 2 },
		"--value-size is 7":     func(c *Config) { c.ValueBytes = 7 },
		"--value-size is 4096":  func(c *Config) { c.ValueBytes = 4096 },
		"memory is 1.0 MiB":     func(c *Config) { c.Memory = 1 << 20 },
		"cgroup is 1.0 MiB":     func(c *Config) { c.Cgroup = 1 << 20 },
		"--load-batch is 0":     func(c *Config) { c.BatchEntries = 0 },
		"reps is 0":             func(c *Config) { c.Reps = 0 },
		"--warmup is -1ns":      func(c *Config) { c.Warmup = -1 },
		"--duration 0s":         func(c *Config) { c.Duration = 0 },
		"want at least 1024":    func(c *Config) { c.DataBytes = 1023 * 116 },
		`dir is "/dev/null"`:    func(c *Config) { c.Dir = "/dev/null" },
	} {
		c := smallConfig(t)
		spoil(&c)
		_, err := Run(t.Context(), c)
		if refused := new(ConfigError); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestParseWorkloads(t *testing.T) {
	got, err := ParseWorkloads([]string{"readrandom", " mixed@4"})
	if err != nil || len(got) != 2 || got[0] != (Workload{"readrandom", 1}) || got[1] != (Workload{"mixed", 4}) {
		t.Errorf("%v, %v", got, err)
	}
	for list, want := range map[string]string{
		"fillseq":         `unknown workload "fillseq": have readrandom`,
		"mixed@":          `workload "mixed@": want 1 to 1024`,
		"mixed@0":         `workload "mixed@0"`,
		"mixed@1025":      `workload "mixed@1025"`,
		"mixed,mixed@1":   "mixed@1 is named twice",
		"readseq,":        `unknown workload ""`,
		"load":            `unknown workload "load"`,
		"readseq,check@1": `unknown workload "check"`,
	} {
		if _, err := ParseWorkloads(strings.Split(list, ",")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", list, err, want)
		}
	}
}
