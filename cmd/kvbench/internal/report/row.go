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
	cannot string // why there are no figures, or empty
	phases []*result.Phase

	opsPerSecond figure.Spread
	latency      figure.Latency // of all repetitions together
	cpuMicros    figure.Spread
	settleMicros figure.Spread
	ratio        *figure.Spread // to the baseline, of ops/s in the same repetition; nil without one
}

// rowsOf makes the rows of a run: workloads in the order in which they were done,
// engines in that of the run.
func rowsOf(r *result.Run) ([]row, error) {
	engines := map[string]int{}
	for i, e := range r.Engines {
		engines[e.Name] = i
	}
	var rows []row
	for _, w := range workloadsOf(r) {
		from := len(rows)
		for i := range r.Phases {
			p := &r.Phases[i]
			if p.Workload == w && !slices.ContainsFunc(rows[from:], func(r row) bool { return r.engine == p.Engine }) {
				rows = append(rows, row{Workload: w, engine: p.Engine, phases: phasesOf(r, w, p.Engine)})
			}
		}
		slices.SortFunc(rows[from:], func(a, b row) int { return cmp.Compare(engines[a.engine], engines[b.engine]) })
		baseline := phasesOf(r, w, r.Setup.Baseline)
		for i := from; i < len(rows); i++ {
			if err := rows[i].sumUp(baseline); err != nil {
				return nil, fmt.Errorf("%s %s: %w", rows[i].engine, w, err)
			}
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

func (r *row) sumUp(baseline []*result.Phase) error {
	for _, p := range r.phases {
		if p.Cannot != "" {
			r.cannot = p.Cannot
			return nil
		}
	}
	r.opsPerSecond = spreadOver(r.phases, (*result.Phase).OpsPerSecond)
	r.cpuMicros = spreadOver(r.phases, (*result.Phase).CPUMicros)
	r.settleMicros = spreadOver(r.phases, (*result.Phase).SettleMicros)
	r.ratio = ratioOver(r.phases, baseline)
	var all []figure.Latency
	for _, p := range r.phases {
		all = append(all, p.Latency)
	}
	var err error
	r.latency, err = figure.MergeLatencies(all)
	return err
}

func spreadOver(phases []*result.Phase, of func(*result.Phase) float64) figure.Spread {
	var figures []float64
	for _, p := range phases {
		figures = append(figures, of(p))
	}
	return figure.SpreadOf(figures)
}

// ratioOver compares repetitions of the same number.
func ratioOver(phases, baseline []*result.Phase) *figure.Spread {
	var ratios []float64
	for _, p := range phases {
		for _, base := range baseline {
			if base.Rep == p.Rep && base.Cannot == "" {
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
