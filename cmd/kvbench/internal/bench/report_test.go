package bench

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"faultline/cmd/kvbench/internal/figure"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the files in testdata")

// newTestReport returns a report of made-up figures.
func newTestReport(c Config, speeds map[string][]float64) *Report {
	r := &Report{
		Config: c,
		Machine: figure.Machine{
			CPU: "Abacus 1", Cores: 2, MaxProcs: 2, MemoryBytes: 8 << 30, Kernel: "Linux 6.18",
			FileSystem: "ext2/3/4", Go: "go1.26 linux/amd64", Cgo: "0", ClockNanos: 40,
		},
	}
	for _, engine := range c.Engines {
		r.Engines = append(r.Engines, EngineReport{engine, "v1", []string{"one setting", "another"}})
		for _, w := range c.Workloads {
			for rep, speed := range speeds[engine] {
				h := figure.NewHistogram()
				for i := range int64(1000) {
					_ = h.RecordValue(1000 + i*i)
				}
				r.Phases = append(r.Phases, Phase{
					Workload: w.Name, Threads: w.Threads, Engine: engine, Rep: rep + 1,
					OpsPerSecond: speed * float64(w.Threads), CPUMicrosPerOp: 1e6 / speed,
					SettleMicros: map[bool]float64{true: 0.25}[w.kind().writes], histogram: h,
				})
			}
		}
	}
	r.sumUp()
	return r
}

// TestMarkdown compares whole reports with testdata; -rewrite makes it anew.
func TestMarkdown(t *testing.T) {
	base := Config{
		Engines:   []string{"faultline", "pebble"},
		Workloads: []Workload{{"fillseq", 1}, {"fillsync", 16}, {"readrandom", 1}},
		N:         1_000_000, KeyBytes: 16, ValueBytes: 100, SeekNexts: 50, Memory: 1 << 30, Reps: 3, Seed: 1,
	}
	alone := base
	alone.Engines, alone.Reps, alone.Sync, alone.Duration = []string{"faultline"}, 1, true, 5*time.Second
	for name, r := range map[string]*Report{
		"both.md":  newTestReport(base, map[string][]float64{"faultline": {900e3, 1.2e6, 1e6}, "pebble": {400e3, 500e3, 600e3}}),
		"alone.md": newTestReport(alone, map[string][]float64{"faultline": {900e3}}),
	} {
		var b strings.Builder
		if err := r.WriteMarkdown(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *rewrite {
			if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s: got\n%s", path, b.String())
		}
	}
}

func TestProfilePath(t *testing.T) {
	for path, want := range map[string]string{
		"cpu.pprof":   "cpu-fillsync@16-2.pprof",
		"/p.d/cpu":    "/p.d/cpu-fillsync@16-2",
		"/p/a.b.prof": "/p/a.b-fillsync@16-2.prof",
	} {
		if got := profilePath(path, Workload{"fillsync", 16}, 2); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
