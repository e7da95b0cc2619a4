package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"faultline/cmd/kvbench/internal/result"

	"golang.org/x/perf/benchfmt"
)

// Units that benchstat does not know; less is better in each.
const (
	unitP50    = "p50-ns"
	unitP99    = "p99-ns"
	unitP999   = "p99.9-ns"
	unitCPU    = "cpu-ns/op"  // of the run and of settling
	unitDevice = "B-dev/op"   // written to the device until settled
	unitSpace  = "B-disk/key" // of the store, settled
)

// Benchmarks writes results in the format of Go's benchmarks, a line for each
// repetition, for benchstat:
//
//	BenchmarkKV/workload=readrandom/threads=1/engine=faultline-2 1000000 812.5 ns/op 1311 p99-ns ...
//
// ns/op is the time from one operation to the next, of all clients together.
//
// What has another configuration (see configOf) is not compared with it. Versions are none
// of that: to compare them is what it is for.
func Benchmarks(w io.Writer, sources []Source) error {
	out := benchfmt.NewWriter(w)
	for _, unit := range []string{unitP50, unitP99, unitP999, unitCPU, unitDevice, unitSpace} {
		if err := out.Write(better(unit)); err != nil {
			return err
		}
	}
	for _, s := range sources {
		for _, line := range benchmarksOf(s.Run) {
			if err := out.Write(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// better says that less of a unit is.
func better(unit string) *benchfmt.UnitMetadata {
	return &benchfmt.UnitMetadata{
		UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: unit, Key: "better"}, OrigUnit: unit, Value: "lower",
	}
}

func benchmarksOf(r *result.Run) (lines []*benchfmt.Result) {
	config := configOf(r)
	add := func(name string, iterations int, values ...benchfmt.Value) {
		for i := range values {
			values[i].Value = math.Round(100*values[i].Value) / 100 // what comes after is not measured
		}
		lines = append(lines, &benchfmt.Result{
			Config: config, Name: fmt.Appendf(nil, "%s-%d", name, r.Machine.MaxProcs), Iters: iterations, Values: values,
		})
	}
	for i := range r.Phases {
		if p := &r.Phases[i]; p.Cannot == "" && p.Failed == "" {
			add(fmt.Sprintf("KV/workload=%s/threads=%d/engine=%s", p.Name, p.Threads, p.Engine), p.Ops, valuesOf(p)...)
		}
	}
	for _, o := range r.Opens {
		if o.Cannot == "" && o.Failed == "" {
			after := strings.ReplaceAll(string(o.After), " ", "")
			add(fmt.Sprintf("Open/after=%s/engine=%s", after, o.Engine), 1, benchfmt.Value{Value: 1e9 * o.Seconds, Unit: "ns/op"})
		}
	}
	return lines
}

func valuesOf(p *result.Phase) []benchfmt.Value {
	values := []benchfmt.Value{
		{Value: 1e9 * p.Seconds / float64(p.Ops), Unit: "ns/op"},
		{Value: float64(p.Latency.P50), Unit: unitP50},
		{Value: float64(p.Latency.P99), Unit: unitP99},
		{Value: float64(p.Latency.P999), Unit: unitP999},
		{Value: 1e3 * (p.CPUMicros() + p.SettleMicros()), Unit: unitCPU},
	}
	if wroteDisk(p) {
		values = append(values, benchfmt.Value{Value: float64(p.Written()) / float64(p.Warm.Ops+p.Ops), Unit: unitDevice})
	}
	if p.DiskBytes > 0 && p.Stored > 0 {
		values = append(values, benchfmt.Value{Value: float64(p.DiskBytes) / float64(p.Stored), Unit: unitSpace})
	}
	return values
}

// configOf is what tells one set of benchmarks from another.
func configOf(r *result.Run) (config []benchfmt.Config) {
	_, platform, _ := strings.Cut(r.Machine.Go, " ") // after the version
	goos, goarch, _ := strings.Cut(platform, "/")
	set := func(key, value string) {
		config = append(config, benchfmt.Config{Key: key, Value: []byte(value), File: true})
	}
	set("goos", goos)
	set("goarch", goarch)
	set("pkg", "faultline/cmd/kvbench")
	set("cpu", r.Machine.CPU)
	set("keys", strconv.FormatInt(r.Setup.Keys, 10))
	set("key-bytes", strconv.Itoa(r.Setup.KeyBytes))
	set("value-bytes", strconv.Itoa(r.Setup.ValueBytes))
	set("memory-bytes", strconv.FormatInt(r.Setup.MemoryBytes, 10))
	set("sync", strconv.FormatBool(r.Setup.Sync))
	if r.Setup.BatchEntries > 0 {
		set("batch-entries", strconv.Itoa(r.Setup.BatchEntries))
	}
	if r.Setup.SeekNexts > 0 {
		set("seek-nexts", strconv.Itoa(r.Setup.SeekNexts))
	}
	if r.Setup.Rate > 0 {
		set("rate", strconv.FormatFloat(r.Setup.Rate, 'f', -1, 64))
	}
	if r.Setup.Distribution != "" {
		set("distribution", r.Setup.Distribution)
	}
	return config
}
