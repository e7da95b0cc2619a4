// Package guard judges a short run of kvbench: it finds a store that has become much
// slower, on any machine, and leaves all else to real runs.
//
// Faultline and Pebble run the same work by turns, so what the machine is like and
// what others do on it falls on both. A ratio of a workload may be down to a third of
// what docs/bench.md says of it; below that the guard fails. It looks at throughput and
// at CPU time for an operation, and the better of the two counts: a process that had to
// wait for a processor or for the disk has not become slower.
package guard

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"
	"faultline/cmd/kvbench/internal/table"
)

// margin is how many times less than documented a ratio may be.
const margin = 3

// documented are the ratios to Pebble that docs/bench.md ("Guard") has of such a run.
var documented = []struct {
	workload result.Workload
	ratio    float64
}{
	{result.Workload{Name: "fillrandom", Threads: 1}, 1.2},
	{result.Workload{Name: "fillbatch", Threads: 1}, 0.7},
	{result.Workload{Name: "fillsync", Threads: 16}, 1.5},
	{result.Workload{Name: "overwrite", Threads: 1}, 2.4},
	{result.Workload{Name: "readrandom", Threads: 1}, 4.8},
	{result.Workload{Name: "readmissing", Threads: 1}, 6},
	{result.Workload{Name: "readseq", Threads: 1}, 1.5},
	{result.Workload{Name: "seekrandom", Threads: 1}, 2.2},
	{result.Workload{Name: "ycsba", Threads: 1}, 2.5},
}

// Engines are what a run to be judged has.
var Engines = []string{subject, baseline}

const subject, baseline = "faultline", "pebble"

// Workloads are what a run to be judged has done.
func Workloads() (all []result.Workload) {
	for _, d := range documented {
		all = append(all, d.workload)
	}
	return all
}

// A Verdict is on one workload.
type Verdict struct {
	Workload   result.Workload
	Speed      figure.Spread // ratio of operations a second, over the repetitions
	CPU        figure.Spread // ratio of operations for the same CPU time
	Documented float64
}

// Least is the ratio that is still well.
func (v *Verdict) Least() float64 { return v.Documented / margin }

// Failed reports whether both ratios are below the least.
func (v *Verdict) Failed() bool { return max(v.Speed.Median, v.CPU.Median) < v.Least() }

// Judge compares the phases of a run.
func Judge(r *result.Run) ([]Verdict, error) {
	var verdicts []Verdict
	for _, d := range documented {
		v := Verdict{Workload: d.workload, Documented: d.ratio}
		var speed, cpu []float64
		for i := range r.Phases {
			p := &r.Phases[i]
			if p.Workload != d.workload || p.Engine != subject {
				continue
			}
			base := slices.IndexFunc(r.Phases, func(q result.Phase) bool {
				return q.Workload == d.workload && q.Engine == baseline && q.Rep == p.Rep
			})
			if base < 0 {
				return nil, fmt.Errorf("%s: repetition %d has no %s", d.workload, p.Rep, baseline)
			}
			q := &r.Phases[base]
			speed = append(speed, p.OpsPerSecond()/q.OpsPerSecond())
			cpu = append(cpu, (q.CPUMicros()+q.SettleMicros())/(p.CPUMicros()+p.SettleMicros()))
		}
		if len(speed) == 0 {
			return nil, fmt.Errorf("%s was not run", d.workload)
		}
		v.Speed, v.CPU = figure.SpreadOf(speed), figure.SpreadOf(cpu)
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

// Markdown writes a table of verdicts. What failed is an error too.
func Markdown(w io.Writer, verdicts []Verdict) error {
	ratio := func(f float64) string { return fmt.Sprintf("%.2f", f) }
	rows := [][]string{{"workload", "speed, x " + baseline, "CPU, x " + baseline, "documented", "least", "verdict"}}
	var failures []error
	for i := range verdicts {
		v := &verdicts[i]
		verdict := "well"
		if v.Failed() {
			verdict = "TOO SLOW"
			failures = append(failures, fmt.Errorf("%s has %.2f times the speed of %s, want at least %.2f", v.Workload, v.Speed.Median, baseline, v.Least()))
		}
		rows = append(rows, []string{
			v.Workload.String(), v.Speed.Text(ratio), v.CPU.Text(ratio), ratio(v.Documented), ratio(v.Least()), verdict,
		})
	}
	const textColumns = 1
	_, err := io.WriteString(w, table.Markdown(rows, textColumns))
	return errors.Join(append([]error{err}, failures...)...)
}
