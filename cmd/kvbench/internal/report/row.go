package report

import (
	"cmp"
	"fmt"
	"slices"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"
)

// A row is one workload on one engine over all repetitions.
type row struct {
	result.Workload
	engine string
	color  int    // of the engine, in all drawings
	cannot string // why there are no figures, or empty
	failed []*result.Phase
	phases []*result.Phase // that did not fail

	opsPerSecond figure.Spread
	ratio        *figure.Spread // to the baseline, of ops/s in the same repetition; nil without one
	latency      figure.Latency // of all repetitions together
	parts        []part
}

// A part is the operations of one kind.
type part struct {
	kind         string
	opsPerSecond figure.Spread
	latency      figure.Latency
}

// rowsOf makes the rows of a run: workloads in the order in which they were done,
// engines in that of the run.
func rowsOf(r *result.Run) ([]row, error) {
	var rows []row
	for _, w := range workloadsOf(r) {
		baseline := phasesOf(r, w, r.Setup.Baseline)
		for i, e := range r.Engines {
			row := row{Workload: w, engine: e.Name, color: i}
			for _, p := range phasesOf(r, w, e.Name) {
				row.take(p)
			}
			if len(row.phases) == 0 && len(row.failed) == 0 && row.cannot == "" {
				continue
			}
			if err := row.sumUp(baseline); err != nil {
				return nil, fmt.Errorf("%s %s: %w", e.Name, w, err)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// workloadsOf returns the workloads of a run in the order of doing them.
func workloadsOf(r *result.Run) (workloads []result.Workload) {
	for i := range r.Phases {
		if w := r.Phases[i].Workload; !slices.Contains(workloads, w) {
			workloads = append(workloads, w)
		}
	}
	return workloads
}

// phasesOf returns the phases of w on an engine.
func phasesOf(r *result.Run, w result.Workload, engine string) (phases []*result.Phase) {
	for i := range r.Phases {
		if p := &r.Phases[i]; p.Workload == w && p.Engine == engine {
			phases = append(phases, p)
		}
	}
	return phases
}

// take keeps a phase with others of its kind.
func (r *row) take(p *result.Phase) {
	switch {
	case p.Cannot != "":
		r.cannot = p.Cannot
	case p.Failed != "":
		r.failed = append(r.failed, p)
	default:
		r.phases = append(r.phases, p)
	}
}

// empty tells whether there are no figures.
func (r *row) empty() bool { return len(r.phases) == 0 }

func (r *row) sumUp(baseline []*result.Phase) (err error) {
	if r.empty() {
		return nil
	}
	r.opsPerSecond = r.over((*result.Phase).OpsPerSecond)
	r.ratio = ratioOver(r.phases, baseline)
	var all []figure.Latency
	for _, p := range r.phases {
		all = append(all, p.Latency)
	}
	if r.latency, err = figure.MergeLatencies(all); err != nil {
		return err
	}
	for i := range r.phases[0].Parts {
		part, err := r.part(i)
		if err != nil {
			return err
		}
		r.parts = append(r.parts, part)
	}
	return nil
}

// part sums up the i-th kind of operations, which is the same in all phases.
func (r *row) part(i int) (part, error) {
	sum := part{kind: r.phases[0].Parts[i].Kind}
	var all []figure.Latency
	for _, p := range r.phases {
		all = append(all, p.Parts[i].Latency)
	}
	sum.opsPerSecond = r.over(func(p *result.Phase) float64 { return float64(p.Parts[i].Ops) / p.Seconds })
	var err error
	sum.latency, err = figure.MergeLatencies(all)
	return sum, err
}

// over is a figure over the repetitions.
func (r *row) over(of func(*result.Phase) float64) figure.Spread {
	var figures []float64
	for _, p := range r.phases {
		figures = append(figures, of(p))
	}
	return figure.SpreadOf(figures)
}

// disturbedCores is from how much work of others on a figure is marked.
const disturbedCores = 0.5

// disturbed tells whether others kept that many cores busy.
func (r *row) disturbed() bool {
	return !r.empty() && r.over(func(p *result.Phase) float64 { return p.Run.OthersCores }).Median > disturbedCores
}

// onTime is which part of what was due must have been done for latencies to mean something.
const onTime = 0.95

// late tells whether clients could not keep up with their rate.
func (r *row) late() bool {
	return !r.empty() && r.opsPerSecond.Median < onTime*r.phases[0].Rate
}

// wroteDisk tells whether the clients wrote to a store whose files and writes are seen: those
// of a server are not.
func wroteDisk(p *result.Phase) bool { return p.PutBytes > 0 && p.DiskBytes > 0 }

func (r *row) wroteDisk() bool { return !r.empty() && wroteDisk(r.phases[0]) }

// fewIntervals are too few for a curve.
const fewIntervals = 5

// hasSeries tells whether the typical repetition was long enough for curves.
func (r *row) hasSeries() bool { return !r.empty() && len(r.typical().Series.Whole()) >= fewIntervals }

// typical is the repetition whose throughput is the median, the slower one of two.
func (r *row) typical() *result.Phase {
	sorted := slices.SortedFunc(slices.Values(r.phases), func(a, b *result.Phase) int {
		return cmp.Compare(a.OpsPerSecond(), b.OpsPerSecond())
	})
	return sorted[(len(sorted)-1)/2]
}

// ratioOver compares repetitions of the same number.
func ratioOver(phases, baseline []*result.Phase) *figure.Spread {
	var ratios []float64
	for _, p := range phases {
		for _, base := range baseline {
			if base.Rep == p.Rep && base.Cannot == "" && base.Failed == "" {
				ratios = append(ratios, p.OpsPerSecond()/base.OpsPerSecond())
			}
		}
	}
	if len(ratios) == 0 {
		return nil
	}
	ratio := figure.SpreadOf(ratios)
	return &ratio
}

// cpuMicros is the CPU time of an operation, with that of settling.
func cpuMicros(p *result.Phase) float64 { return p.CPUMicros() + p.SettleMicros() }

// deviceFactor is bytes written to the device over bytes that clients wrote.
func deviceFactor(p *result.Phase) float64 {
	return float64(p.Written()) / float64(p.Warm.PutBytes+p.PutBytes)
}

// spaceFactor is bytes on the disk over bytes of keys and values.
func spaceFactor(p *result.Phase) float64 { return float64(p.DiskBytes) / float64(p.DataBytes) }

func diskBytes(p *result.Phase) float64 { return float64(p.DiskBytes) }

// An opening is how long an engine took to open a store, over the repetitions.
type opening struct {
	engine  string
	color   int
	after   result.Ending
	cannot  string // why there is no figure, or empty
	seconds figure.Spread
}

// openingsOf sums up the times of opening, those after Close first.
func openingsOf(r *result.Run) (openings []opening) {
	for _, after := range []result.Ending{result.Closed, result.Killed} {
		for i, e := range r.Engines {
			o := opening{engine: e.Name, color: i, after: after}
			var seconds []float64
			for _, one := range r.Opens {
				if one.Engine != e.Name || one.After != after {
					continue
				}
				if o.cannot = one.Cannot; o.cannot == "" && one.Failed == "" {
					seconds = append(seconds, one.Seconds)
				}
			}
			if len(seconds) > 0 {
				o.seconds = figure.SpreadOf(seconds)
			}
			if len(seconds) > 0 || o.cannot != "" {
				openings = append(openings, o)
			}
		}
	}
	return openings
}
