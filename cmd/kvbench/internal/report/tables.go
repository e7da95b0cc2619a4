package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"
	"faultline/cmd/kvbench/internal/table"

	"github.com/dustin/go-humanize"
)

// A grid is a table: a head, and lines. The first columns are words, the others
// figures.
type grid struct {
	Words int
	Head  []string
	Lines [][]string
}

func newGrid(words int, head ...string) *grid { return &grid{Words: words, Head: head} }

func (g *grid) add(cells ...string) {
	for len(cells) < len(g.Head) {
		cells = append(cells, "-") // of what could not be done
	}
	g.Lines = append(g.Lines, cells)
}

// addRows has a line for each row: of one that failed without figures, and of one that the
// engine cannot do none (see missing).
func (g *grid) addRows(rows []row, figures func(*row) []string) *grid {
	for i := range rows {
		r := &rows[i]
		if r.cannot != "" {
			continue
		}
		cells := []string{r.Workload.String(), r.engine}
		if !r.empty() {
			cells = append(cells, figures(r)...)
		}
		g.add(cells...)
	}
	return g
}

// ratioColumn is the head of the column with ratios to the baseline, where there is one.
func ratioColumn(baseline string) []string {
	if baseline == "" {
		return nil
	}
	return []string{"x " + baseline}
}

// ratioCell is what stands in that column.
func (r *row) ratioCell(baseline string) []string {
	if baseline == "" {
		return nil
	}
	return []string{ratioText(r.ratio)}
}

func (g *grid) markdown() string {
	return table.Markdown(append([][]string{g.Head}, g.Lines...), g.Words)
}

func nanos(n int64) string            { return table.Nanos(float64(n)) }
func seconds(s float64) string        { return table.Nanos(1e9 * s) }
func micros(us float64) string        { return table.Nanos(1e3 * us) }
func bytesOf(n float64) string        { return humanize.IBytes(uint64(max(n, 0))) }
func factor(f float64) string         { return table.Digits(f) }
func comma[N int | int64](n N) string { return humanize.Comma(int64(n)) }

func ratioText(s *figure.Spread) string {
	if s == nil {
		return "-"
	}
	return s.Text(factor)
}

// summary is what a report begins with.
func summary(rows []row, baseline string) *grid {
	head := []string{"workload", "engine", "ops/s", "p50", "p99", "p99.9", "CPU/op"}
	return newGrid(2, append(head, ratioColumn(baseline)...)...).addRows(rows, func(r *row) []string {
		speed := r.opsPerSecond.Text(table.Rate)
		if r.disturbed() {
			speed += " ?"
		}
		cells := []string{speed, nanos(r.latency.P50), nanos(r.latency.P99), nanos(r.latency.P999), micros(r.over(cpuMicros).Median)}
		return append(cells, r.ratioCell(baseline)...)
	})
}

// latencies has one line for each kind of operations.
func latencies(rows []row) *grid {
	g := newGrid(3, "workload", "engine", "operation", "number", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max")
	for i := range rows {
		r := &rows[i]
		if r.empty() {
			continue
		}
		for _, p := range r.kinds() {
			l := p.latency
			g.add(r.Workload.String(), r.engine, cmp.Or(p.kind, "all"), comma(l.Samples), table.Nanos(l.Mean),
				nanos(l.P50), nanos(l.P90), nanos(l.P99), nanos(l.P999), nanos(l.P9999), nanos(l.Max))
		}
	}
	return g
}

// ratios compares the first engine with each of the others; it is empty where
// summary says all.
func ratios(r *result.Run, rows []row) *grid {
	if len(r.Engines) == 0 {
		return newGrid(1)
	}
	first := r.Engines[0].Name
	head := []string{"workload", first + ", ops/s"}
	for _, e := range r.Engines[1:] {
		head = append(head, "x "+e.Name)
	}
	g := newGrid(1, head...)
	if len(r.Engines) < 3 {
		return g
	}
	for _, group := range byWorkload(rows) {
		if group[0].engine != first || group[0].empty() {
			continue
		}
		cells := []string{group[0].Workload.String(), table.Rate(group[0].opsPerSecond.Median)}
		for _, e := range r.Engines[1:] {
			cells = append(cells, ratioText(ratioOver(group[0].phases, phasesOf(r, group[0].Workload, e.Name))))
		}
		g.add(cells...)
	}
	return g
}

// parts are speeds and latencies of workloads with operations of several kinds.
func parts(rows []row) *grid {
	g := newGrid(3, "workload", "engine", "operation", "ops/s", "p50", "p99", "p99.9")
	for i := range rows {
		r := &rows[i]
		for _, p := range r.parts {
			g.add(r.Workload.String(), r.engine, p.kind, p.opsPerSecond.Text(table.Rate),
				nanos(p.latency.P50), nanos(p.latency.P99), nanos(p.latency.P999))
		}
	}
	return g
}

// kinds are the parts of a row, or all of it as one.
func (r *row) kinds() []part {
	if len(r.parts) > 0 {
		return r.parts
	}
	return []part{{latency: r.latency}}
}

func throughput(rows []row, baseline string) *grid {
	head := []string{"workload", "engine", "median ops/s", "least", "most", "repetitions", "other cores busy"}
	return newGrid(2, append(head, ratioColumn(baseline)...)...).addRows(rows, func(r *row) []string {
		s := r.opsPerSecond
		others := r.over(func(p *result.Phase) float64 { return p.Run.OthersCores })
		cells := []string{table.Rate(s.Median), table.Rate(s.Min), table.Rate(s.Max), comma(len(r.phases)), table.Digits(others.Median)}
		return append(cells, r.ratioCell(baseline)...)
	})
}

func processor(rows []row) *grid {
	g := newGrid(2, "workload", "engine", "CPU an operation", "of it in the kernel", "of it settling")
	for i := range rows {
		r := &rows[i]
		if r.empty() {
			continue
		}
		system := func(p *result.Phase) float64 {
			return 1e6 * (p.Run.SystemSeconds + p.Settle.SystemSeconds) / float64(p.Ops)
		}
		g.add(r.Workload.String(), r.engine, r.over(cpuMicros).Text(micros), micros(r.over(system).Median),
			micros(r.over((*result.Phase).SettleMicros).Median))
	}
	return g
}

// written is what writes have cost the device.
func written(rows []row) *grid {
	g := newGrid(2, "workload", "engine", "to device", "to device x", "on disk", "on disk x")
	for i := range rows {
		r := &rows[i]
		if !r.wroteDisk() {
			continue
		}
		device := r.over(func(p *result.Phase) float64 { return float64(p.Written()) })
		g.add(r.Workload.String(), r.engine, bytesOf(device.Median), r.over(deviceFactor).Text(factor),
			bytesOf(r.over(diskBytes).Median), r.over(spaceFactor).Text(factor))
	}
	return g
}

// memory is what processes that are an engine's alone have taken, and read.
func memory(rows []row) *grid {
	g := newGrid(2, "workload", "engine", "resident at most", "cgroup at most", "at its limit", "from device x")
	for i := range rows {
		r := &rows[i]
		if r.empty() || r.phases[0].PeakRSS == 0 {
			continue
		}
		group, limit := "-", "-"
		if r.phases[0].Cgroup != nil {
			group = bytesOf(r.over(func(p *result.Phase) float64 { return float64(p.Cgroup.PeakBytes) }).Max)
			limit = table.Rate(r.over(func(p *result.Phase) float64 { return float64(p.Cgroup.AtLimit) }).Median)
		}
		g.add(r.Workload.String(), r.engine, bytesOf(r.over(func(p *result.Phase) float64 { return float64(p.PeakRSS) }).Max),
			group, limit, r.over(readFactor).Text(factor))
	}
	return g
}

// readFactor is bytes read from the device over those of all operations.
func readFactor(p *result.Phase) float64 {
	return float64(p.Run.ReadBytes) / float64(p.PutBytes+p.GotBytes)
}

// checks are what came of reading every key.
func checks(r *result.Run) *grid {
	g := newGrid(3, "checked after", "engine", "result", "repetition", "keys", "writes", "acknowledged", "lost", "took")
	for _, c := range r.Checks {
		if c.Failed != "" {
			g.add(string(c.After), c.Engine, "failed", comma(c.Rep))
			continue
		}
		acked, lost := "-", "-"
		if c.After == result.Killed {
			acked, lost = comma(int64(c.Acked)), comma(int64(c.Lost))
		}
		g.add(string(c.After), c.Engine, "whole", comma(c.Rep), comma(int64(c.Keys)), comma(int64(c.Writes)), acked, lost, seconds(c.Seconds))
	}
	return g
}

func openTimes(openings []opening) *grid {
	g := newGrid(2, "opened after", "engine", "time to open")
	for _, o := range openings {
		if o.cannot != "" {
			continue // see missing
		}
		g.add(string(o.after), o.engine, o.seconds.Text(seconds))
	}
	return g
}

// overTime sums up the intervals of the repetitions that are drawn.
func overTime(rows []row) *grid {
	g := newGrid(3, "workload", "engine", "operation", "repetition", "intervals", "ops/s, median", "least",
		"p99.9, median", "worst", "longest", "rounds")
	for i := range rows {
		r := &rows[i]
		if !r.hasSeries() {
			continue
		}
		p := r.typical()
		series := p.Series.Whole()
		for _, k := range timeKinds {
			var speeds, tails, longest []float64
			rounds := uint64(0)
			for j := range series {
				t := k.of(&series[j])
				speeds = append(speeds, float64(t.Ops)/series.Seconds(j))
				tails, longest = append(tails, float64(t.P999)), append(longest, float64(t.Max))
				rounds += series[j].Rounds
			}
			if slices.Max(speeds) == 0 {
				continue
			}
			speed, tail := figure.SpreadOf(speeds), figure.SpreadOf(tails)
			g.add(r.Workload.String(), r.engine, k.name, comma(p.Rep), comma(len(series)),
				table.Rate(speed.Median), table.Rate(speed.Min), table.Nanos(tail.Median), table.Nanos(tail.Max),
				table.Nanos(slices.Max(longest)), comma(int64(rounds)))
		}
	}
	return g
}

// timeKinds are the kinds of operations that a series tells apart.
var timeKinds = []struct {
	name string
	of   func(*figure.Point) *figure.Times
}{
	{"write", func(p *figure.Point) *figure.Times { return &p.Writes }},
	{"read", func(p *figure.Point) *figure.Times { return &p.Reads }},
}

// missing says why there are no figures where there are none, and which ones mean little,
// a line each.
func missing(r *result.Run, rows []row, openings []opening) (lines []string) {
	type refusal struct{ engine, why string }
	var refusals []refusal
	workloads := map[refusal][]string{}
	for i := range rows {
		r := &rows[i]
		if r.cannot != "" {
			one := refusal{r.engine, r.cannot}
			if workloads[one] == nil {
				refusals = append(refusals, one)
			}
			workloads[one] = append(workloads[one], r.Workload.String())
		}
		for _, p := range r.failed {
			lines = append(lines, fmt.Sprintf("%s %s, repetition %d, failed: %s.", r.engine, r.Workload, p.Rep, oneLine(p.Failed)))
		}
		if r.late() {
			lines = append(lines, fmt.Sprintf("%s %s did %s operations a second of the %s that were due: its latencies grow for as long as it runs.",
				r.engine, r.Workload, table.Rate(r.opsPerSecond.Median), table.Rate(r.phases[0].Rate)))
		}
	}
	for _, one := range refusals {
		lines = append(lines, fmt.Sprintf("%s does no %s: %s.", one.engine, strings.Join(workloads[one], ", "), one.why))
	}
	for _, o := range openings {
		if o.cannot != "" {
			lines = append(lines, fmt.Sprintf("%s is not opened after %s: %s.", o.engine, o.after, o.cannot))
		}
	}
	for _, o := range r.Opens {
		if o.Failed != "" {
			lines = append(lines, fmt.Sprintf("%s is not opened after %s in repetition %d: %s.", o.Engine, o.After, o.Rep, oneLine(o.Failed)))
		}
	}
	for _, c := range r.Checks {
		if c.Failed != "" {
			lines = append(lines, fmt.Sprintf("The check of %s after %s, repetition %d, failed: %s.", c.Engine, c.After, c.Rep, oneLine(c.Failed)))
		}
	}
	return lines
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
