package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the files in testdata")

// golden compares got with a file in testdata, and returns what is in it; -rewrite
// makes it anew.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is made now; see it with -rewrite and git diff", path)
	}
	return want
}

// small reads the results that the other files in testdata are made of.
func small(t *testing.T) *result.Run {
	t.Helper()
	var b bytes.Buffer
	if err := makeSmall().Write(&b); err != nil {
		t.Fatal(err)
	}
	r, err := result.Read(bytes.NewReader(golden(t, "small.json", b.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// makeSmall has every kind of figure, and an engine that cannot do everything.
func makeSmall() *result.Run {
	r := &result.Run{
		Format: result.Format, Time: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
		Command: []string{"--workloads", "fillrandom,fillsync@16,ycsb-a@4"},
		Machine: figure.Machine{
			CPU: "Abacus 1", Cores: 2, MaxProcs: 2, MemoryBytes: 8 << 30, Kernel: "Linux 6.18",
			FileSystem: "ext2/3/4", Go: "go1.26 linux/amd64", Cgo: "0", ClockNanos: 40,
		},
		Setup: result.Setup{
			Keys: 1_000_000, KeyBytes: 16, ValueBytes: 100, MemoryBytes: 1 << 30, Reps: 3, Seed: 1, Baseline: "pebble",
			Warmup: 500 * time.Millisecond, Rate: 6e5, BatchEntries: 100, SeekNexts: 50, Distribution: "uniform",
		},
		Notes: []string{"Writes are not synced, except fillsync's.", "A latency includes <making> the key & one read of the clock."},
	}
	// Microseconds of an operation in each repetition.
	speeds := map[string][]float64{"faultline": {1, 1.2, 0.9}, "pebble": {2, 1.8, 2.1}, "bbolt": {9, 9, 9}}
	for _, engine := range []string{"faultline", "pebble", "bbolt"} {
		r.Engines = append(r.Engines, result.Engine{Name: engine, Version: "v1", Settings: []string{"one setting", "another"}})
	}
	for rep := range r.Setup.Reps {
		for _, w := range []result.Workload{{Name: "fillrandom", Threads: 1}, {Name: "fillsync", Threads: 16}, {Name: "ycsb-a", Threads: 4}} {
			for place, e := range r.Engines {
				r.Phases = append(r.Phases, makePhase(w, e.Name, rep, place, speeds[e.Name][rep]))
			}
		}
		for _, e := range r.Engines {
			r.Checks = append(r.Checks, result.Check{
				Engine: e.Name, Rep: rep + 1, After: result.Killed, Keys: 1e6, Writes: 2e6, Acked: 1e4, Lost: 7, Seconds: 1.5,
			})
			r.Opens = append(r.Opens,
				result.Open{Engine: e.Name, Rep: rep + 1, After: result.Closed, Seconds: 0.004 * speeds[e.Name][rep]},
				result.Open{Engine: e.Name, Rep: rep + 1, After: result.Killed, Seconds: 0.25 * speeds[e.Name][rep]})
		}
	}
	r.Checks[2].Failed = "key 7 is there twice"
	r.Opens[3].Seconds, r.Opens[3].Failed = 0, "no space left on device"
	bbolt := &r.Phases[len(r.Phases)-1]
	*bbolt = result.Phase{Workload: bbolt.Workload, Engine: bbolt.Engine, Rep: bbolt.Rep, Place: bbolt.Place, Failed: "out of memory"}
	return r
}

func makePhase(w result.Workload, engine string, rep, place int, micros float64) result.Phase {
	const ops = 2000
	p := result.Phase{Workload: w, Engine: engine, Rep: rep + 1, Place: place + 1}
	if engine == "bbolt" && w.Name == "fillsync" {
		p.Cannot = "16 writers take turns, and wait for a sync each"
		return p
	}
	p.Ops, p.Stored, p.Seconds = ops, ops, ops*micros/1e6
	p.Run = figure.Usage{Seconds: p.Seconds, CPUSeconds: 1.5 * p.Seconds, SystemSeconds: p.Seconds / 4, WriteBytes: int64(3e5 * micros)}
	p.Settle = figure.Usage{Seconds: p.Seconds / 8, CPUSeconds: p.Seconds / 10, WriteBytes: 1e5}
	if w.Name == "fillsync" {
		p.Run.OthersCores = 1.2
	}
	p.PutBytes, p.DataBytes, p.DiskBytes = ops*116, ops*116, int64(1.5*ops*116)
	p.Latency = makeLatency(micros, ops)
	if w.Name != "ycsb-a" {
		return p
	}
	p.Rate, p.Warm = 6e5, result.Warm{Ops: ops, PutBytes: ops * 58, WriteBytes: 1e5}
	p.PeakRSS, p.Cgroup = 1<<29, &result.Cgroup{LimitBytes: 1 << 30, PeakBytes: 1 << 29, AtLimit: 12}
	p.PutBytes, p.GotBytes = p.PutBytes/2, p.PutBytes/2
	p.Parts = []result.Part{
		{Kind: "read", Ops: ops / 2, Latency: makeLatency(micros/2, ops/2)},
		{Kind: "update", Ops: ops / 2, Latency: makeLatency(micros*1.5, ops/2)},
	}
	if engine == "faultline" && rep == 1 {
		return p // too short for a series
	}
	for i := range 12 {
		point := figure.Point{End: 0.1 * float64(i+1), Rounds: uint64(i%5) / 4, WriteBytes: 1e6}
		slow := micros * (1 + 0.2*float64(i%5))
		times := figure.Times{Ops: int64(50_000 / slow), P50: int64(900 * slow), P99: int64(4e3 * slow), P999: int64(6e4 * slow), Max: int64(9e5 * slow)}
		point.Reads, point.Writes = times, times
		p.Series = append(p.Series, point)
	}
	return p
}

// makeLatency has a long tail.
func makeLatency(micros float64, n int64) figure.Latency {
	h := figure.NewHistogram()
	for i := range n {
		_ = h.RecordValue(int64(1000 * micros * float64(n) / float64(n-i)))
	}
	return figure.LatencyOf(h)
}
