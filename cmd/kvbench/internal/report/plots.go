package report

import (
	"fmt"
	"math"
	"slices"

	"faultline/cmd/kvbench/internal/chart"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"
)

// byWorkload are the rows of each workload, in order.
func byWorkload(rows []row) (groups [][]*row) {
	for i := range rows {
		r := &rows[i]
		if i == 0 || r.Workload != rows[i-1].Workload {
			groups = append(groups, nil)
		}
		last := &groups[len(groups)-1]
		*last = append(*last, r)
	}
	return groups
}

// bars draws one figure, a plot for each workload that has it for some engine.
func bars(rows []row, axis string, unit chart.Unit, has func(*row) bool, of func(*result.Phase) float64) (plots []titled) {
	for _, group := range byWorkload(rows) {
		title := group[0].Workload.String()
		panel := &chart.Bars{Title: title, Axis: axis, Unit: unit}
		some := false
		for _, r := range group {
			bar := chart.Bar{Name: r.engine, Color: r.color}
			switch {
			case r.cannot != "":
				bar.Note = "cannot"
			case r.empty():
				bar.Note = "failed"
			case has(r):
				bar.Spread, some = r.over(of), true
			default:
				bar.Note = "no figure"
			}
			panel.Bars = append(panel.Bars, bar)
		}
		if some {
			plots = append(plots, titled{title, []chart.Panel{panel}})
		}
	}
	return plots
}

func openingBars(openings []opening) (plots []titled) {
	for _, after := range []result.Ending{result.Closed, result.Killed} {
		title := "after " + string(after)
		panel := &chart.Bars{Title: title, Axis: "time to open", Unit: chart.Seconds}
		for _, o := range openings {
			if o.after != after {
				continue
			}
			bar := chart.Bar{Name: o.engine, Color: o.color, Spread: o.seconds}
			if o.cannot != "" {
				bar.Note = "cannot"
			}
			panel.Bars = append(panel.Bars, bar)
		}
		if len(panel.Bars) > 0 {
			plots = append(plots, titled{title, []chart.Panel{panel}})
		}
	}
	return plots
}

// percentiles draws a plot for each kind of operations of each workload.
func percentiles(rows []row) (plots []titled) {
	for _, group := range byWorkload(rows) {
		var kinds []string
		curves := map[string][]chart.Curve{}
		for _, r := range group {
			if r.empty() {
				continue
			}
			for _, p := range r.kinds() {
				if !slices.Contains(kinds, p.kind) {
					kinds = append(kinds, p.kind)
				}
				curves[p.kind] = append(curves[p.kind], percentileCurve(r, &p.latency))
			}
		}
		for _, kind := range kinds {
			title := group[0].Workload.String()
			if kind != "" {
				title += ", " + kind
			}
			plots = append(plots, titled{title, []chart.Panel{&chart.Curves{
				Title: title, X: "percentile", Y: "latency", Percentiles: true, Log: true, Unit: chart.Nanos, Curves: curves[kind],
			}}})
		}
	}
	return plots
}

// percentileCurve goes as far as there is more than one sample.
func percentileCurve(r *row, l *figure.Latency) chart.Curve {
	const step = 0.05
	c := chart.Curve{Name: r.engine, Color: r.color}
	h, err := l.Decode()
	if err != nil {
		panic(fmt.Sprintf("report: histogram that was made here: %v", err)) // see row.sumUp
	}
	for x := 0.0; x <= math.Log10(float64(max(l.Samples, 1))); x += step {
		c.Points = append(c.Points, chart.Point{X: x, Y: float64(h.ValueAtQuantile(chart.Percent(x)))})
	}
	return c
}

// curvesOverTime draws a plot for each workload with a series: throughput, and
// below it latencies of each kind of operations.
func curvesOverTime(rows []row) (plots []titled) {
	for _, group := range byWorkload(rows) {
		if !slices.ContainsFunc(group, (*row).hasSeries) {
			continue
		}
		// An engine that was done too soon is shown beside one that was not.
		group = slices.DeleteFunc(group, func(r *row) bool { return r.empty() || len(r.typical().Series) == 0 })
		title := group[0].Workload.String()
		panels := timePanels(group)
		panels[0].Title = title + ": " + panels[0].Title
		panels[len(panels)-1].X = "seconds"
		plot := titled{title: title}
		for _, p := range panels {
			plot.panels = append(plot.panels, p)
		}
		plots = append(plots, plot)
	}
	return plots
}

func timePanels(group []*row) []*chart.Curves {
	marks := make([]chart.Marks, len(group))
	for i, r := range group {
		marks[i] = chart.Marks{Color: r.color, At: r.typical().Series.Rounds()}
	}
	all := func(s figure.Series, i int) float64 { return float64(s[i].Reads.Ops+s[i].Writes.Ops) / s.Seconds(i) }
	panels := []*chart.Curves{{Title: "operations a second", Unit: chart.Rate, Marks: marks, Curves: timeCurves(group, all)}}
	for _, k := range timeKinds {
		if !slices.ContainsFunc(group, func(r *row) bool {
			return slices.ContainsFunc(r.typical().Series, func(p figure.Point) bool { return k.of(&p).Ops > 0 })
		}) {
			continue
		}
		tail := func(s figure.Series, i int) float64 { return float64(k.of(&s[i]).P999) }
		longest := func(s figure.Series, i int) float64 { return float64(k.of(&s[i]).Max) }
		panels = append(panels,
			&chart.Curves{Title: k.name + ", p99.9", Log: true, Unit: chart.Nanos, Marks: marks, Curves: timeCurves(group, tail)},
			&chart.Curves{Title: k.name + ", longest", Log: true, Unit: chart.Nanos, Marks: marks, Curves: timeCurves(group, longest)})
	}
	return panels
}

func timeCurves(group []*row, of func(s figure.Series, i int) float64) (curves []chart.Curve) {
	for _, r := range group {
		c := chart.Curve{Name: r.engine, Color: r.color}
		s := r.typical().Series.Whole()
		for i := range s {
			c.Points = append(c.Points, chart.Point{X: s[i].End, Y: of(s, i)})
		}
		curves = append(curves, c)
	}
	return curves
}
