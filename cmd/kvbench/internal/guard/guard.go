// Package guard judges a short run of kvbench: it finds a store that has become much
// slower, on any machine, and leaves all else to real runs.
//
// Faultline and Pebble run the same work by turns, so what the machine is like and
// what others do on it falls on both. The guard looks at throughput and at CPU time for an
// operation, and the better of the two ratios counts: a process that had to wait for a
// processor or for the disk has not become slower. What only reads waits for nothing else
// than a processor: there CPU time alone counts, which others disturb less.
//
// A ratio may be 2.5 times below what docs/bench.md says of it: such a run comes out at half
// of that now and then. What is further below is measured again, and fails if it always is.
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

// Margin is how many times less than documented a ratio may be.
const Margin = 2.5

// Tries is how often what is too slow is measured: others on the machine disturb one run
// more often than several.
const Tries = 3

// documented are the ratios to Pebble that docs/bench.md ("Guard") has of such a run, of
// what counts. It says how to renew them.
var documented = []struct {
	workload result.Workload
	ratio    float64
	reads    bool // and does nothing else
}{
	{result.Workload{Name: "fillrandom", Threads: 1}, 1.5, false},
	{result.Workload{Name: "fillbatch", Threads: 1}, 1.2, false},
	{result.Workload{Name: "fillsync", Threads: 16}, 1.6, false},
	{result.Workload{Name: "overwrite", Threads: 1}, 2.4, false},
	{result.Workload{Name: "readrandom", Threads: 1}, 6.2, true},
	{result.Workload{Name: "readmissing", Threads: 1}, 8, true},
	{result.Workload{Name: "readseq", Threads: 1}, 2.1, true},
	{result.Workload{Name: "seekrandom", Threads: 1}, 2.9, true},
	{result.Workload{Name: "ycsba", Threads: 1}, 2.5, false},
}

// Engines are what a run to be judged has.
var Engines = []string{subject, baseline}

const subject, baseline = "faultline", "pebble"

// A Verdict is on one workload.
type Verdict struct {
	Workload   result.Workload
	Speed      figure.Spread // ratio of operations a second, over the repetitions
	CPU        figure.Spread // ratio of operations for the same CPU time
	Documented float64
	Reads      bool // the workload does nothing else
}

// Least is the ratio that is still well.
func (v *Verdict) Least() float64 { return v.Documented / Margin }

// Ratio is the one that counts.
func (v *Verdict) Ratio() float64 {
	if v.Reads {
		return v.CPU.Median
	}
	return max(v.Speed.Median, v.CPU.Median)
}

// Failed reports whether what counts is below the least.
func (v *Verdict) Failed() bool { return v.Ratio() < v.Least() }

// failure is an error that says what failed.
func (v *Verdict) failure() error {
	what := fmt.Sprintf("%s: %.2f times as much as %s for its CPU time", v.Workload, v.CPU.Median, baseline)
	if v.Reads {
		return fmt.Errorf("%s, want at least %.2f", what, v.Least())
	}
	return fmt.Errorf("%s, and %.2f times its speed, want at least %.2f of one", what, v.Speed.Median, v.Least())
}

// Judge has workloads measured, and what is too slow again. It returns the best verdict on
// each.
func Judge(measure func([]result.Workload) (*result.Run, error)) ([]Verdict, error) {
	var verdicts []Verdict
	for _, d := range documented {
		verdicts = append(verdicts, Verdict{Workload: d.workload, Documented: d.ratio, Reads: d.reads})
	}
	for range Tries {
		var slow []result.Workload
		for i := range verdicts {
			if verdicts[i].Failed() { // as all do at first
				slow = append(slow, verdicts[i].Workload)
			}
		}
		if len(slow) == 0 {
			break
		}
		r, err := measure(slow)
		if err != nil {
			return nil, err
		}
		for i := range verdicts {
			if v := &verdicts[i]; slices.Contains(slow, v.Workload) {
				if err := v.improve(r); err != nil {
					return nil, err
				}
			}
		}
	}
	return verdicts, nil
}

// improve puts the ratios of a run in place of those that there are, if they are better.
func (v *Verdict) improve(r *result.Run) error {
	var speed, cpu []float64
	for i := range r.Phases {
		p := &r.Phases[i]
		if p.Workload != v.Workload || p.Engine != subject {
			continue
		}
		base := slices.IndexFunc(r.Phases, func(q result.Phase) bool {
			return q.Workload == v.Workload && q.Engine == baseline && q.Rep == p.Rep
		})
		if base < 0 {
			return fmt.Errorf("%s: repetition %d has no %s", v.Workload, p.Rep, baseline)
		}
		q := &r.Phases[base]
		speed = append(speed, p.OpsPerSecond()/q.OpsPerSecond())
		cpu = append(cpu, (q.CPUMicros()+q.SettleMicros())/(p.CPUMicros()+p.SettleMicros()))
	}
	if len(speed) == 0 {
		return fmt.Errorf("%s was not run", v.Workload)
	}
	now := Verdict{v.Workload, figure.SpreadOf(speed), figure.SpreadOf(cpu), v.Documented, v.Reads}
	if now.Ratio() > v.Ratio() {
		*v = now
	}
	return nil
}

// Markdown writes a table of verdicts. What failed is an error too.
func Markdown(w io.Writer, verdicts []Verdict) error {
	ratio := func(f float64) string { return fmt.Sprintf("%.2f", f) }
	rows := [][]string{{"workload", "speed, x " + baseline, "CPU, x " + baseline, "counts", "documented", "least", "verdict"}}
	var failures []error
	for i := range verdicts {
		v := &verdicts[i]
		verdict := "well"
		if v.Failed() {
			verdict = "TOO SLOW"
			failures = append(failures, v.failure())
		}
		rows = append(rows, []string{
			v.Workload.String(), v.Speed.Text(ratio), v.CPU.Text(ratio), ratio(v.Ratio()), ratio(v.Documented), ratio(v.Least()), verdict,
		})
	}
	const textColumns = 1
	_, err := io.WriteString(w, table.Markdown(rows, textColumns))
	return errors.Join(append([]error{err}, failures...)...)
}
