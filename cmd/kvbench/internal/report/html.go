package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"faultline/cmd/kvbench/internal/chart"
	"faultline/cmd/kvbench/internal/result"

	"gonum.org/v1/plot/vg"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// HTML writes one page that needs no other file and no script: plots, and below
// each the table that it is drawn from.
func HTML(w io.Writer, sources []Source) error {
	var runs []*runView
	for i, s := range sources {
		view, err := newRunView(s)
		if err != nil {
			return err
		}
		view.Prefix = fmt.Sprintf("r%d-", i+1)
		runs = append(runs, view)
	}
	return page.Execute(w, runs)
}

// A runView is what the page shows of a run.
type runView struct {
	Name string
	*result.Run
	Prefix       string // of the names of its chapters
	Chapters     []chapter
	Summary      *grid
	Ratios       *grid   // where there are more than two engines
	More         []*grid // that have no plots
	Missing      []string
	Explanations []string
}

// A chapter is one question, with its plots and their table.
type chapter struct {
	ID, Title string
	Text      string // what is shown, and in which direction it is good
	Engines   []legend
	Wide      bool // plots stand one below the other
	Plots     []template.HTML
	Table     *grid
}

// A legend is the name of an engine with the number of its colour.
type legend struct {
	Name  string
	Color int
}

func newRunView(s Source) (*runView, error) {
	rows, err := rowsOf(s.Run)
	if err != nil {
		return nil, err
	}
	openings := openingsOf(s.Run)
	view := &runView{
		Name: s.Name, Run: s.Run, Summary: summary(rows, s.Run.Setup.Baseline), Ratios: ratios(s.Run, rows),
		Missing: missing(s.Run, rows, openings), Explanations: explain(rows),
	}
	for _, g := range []*grid{parts(rows), memory(rows), checks(s.Run)} {
		if len(g.Lines) > 0 {
			view.More = append(view.More, g)
		}
	}
	for _, d := range drafts(rows, openings, s.Run.Setup.Baseline) {
		if len(d.panels) == 0 {
			continue
		}
		for _, e := range s.Run.Engines {
			d.Engines = append(d.Engines, legend{e.Name, len(d.Engines) % chart.Colors})
		}
		if err := d.draw(); err != nil {
			return nil, fmt.Errorf("%s: %w", d.ID, err)
		}
		view.Chapters = append(view.Chapters, d.chapter)
	}
	return view, nil
}

// A draft is a chapter that is not drawn yet: each element of panels is one plot.
type draft struct {
	chapter
	panels []titled
}

type titled struct {
	title  string
	panels []chart.Panel
}

const (
	plotWidth     = 9.5 * vg.Centimeter
	widePlotWidth = 26 * vg.Centimeter
)

func (d *draft) draw() error {
	width := vg.Length(plotWidth)
	if d.Wide {
		width = widePlotWidth
	}
	for _, p := range d.panels {
		drawing, err := chart.Draw(width, p.panels...)
		if err != nil {
			return err
		}
		d.Plots = append(d.Plots, template.HTML(drawing.Inline(d.Title+": "+p.title)))
	}
	return nil
}

// drafts are all chapters, also those for which there are no figures.
func drafts(rows []row, openings []opening, baseline string) []*draft {
	return []*draft{
		{
			chapter{
				ID: "throughput", Title: "Throughput", Table: throughput(rows, baseline),
				Text: "Operations a second of all clients together. Bars are medians, lines go from the least to the most repetition. More is better.",
			},
			bars(rows, "operations a second", chart.Rate, func(r *row) bool { return true }, (*result.Phase).OpsPerSecond),
		},
		{
			chapter{
				ID: "latency", Title: "Latency", Table: latencies(rows),
				Text: "How long operations take at each percentile, of all repetitions together. Each step to the right is ten times as rare. Lower is better.",
			},
			percentiles(rows),
		},
		{
			chapter{
				ID: "time", Title: "Over time", Table: overTime(rows), Wide: true,
				Text: "The repetition of median throughput, of workloads that took long enough; an engine that was done in the first interval is not there. Strokes above the curves are flush rounds of Faultline and flushes of a memtable of Pebble, in the colour of the engine.",
			},
			curvesOverTime(rows),
		},
		{
			chapter{
				ID: "cpu", Title: "CPU time of an operation", Table: processor(rows),
				Text: "Of the whole process while the clients run, and until what they wrote is settled. Less is better.",
			},
			bars(rows, "CPU time of an operation", chart.Micros, func(r *row) bool { return true }, cpuMicros),
		},
		{
			chapter{
				ID: "device", Title: "Bytes to the device over user bytes", Table: written(rows),
				Text: "What the process made dirty from the warm-up until all was settled, in whole folios of the page cache, over the keys and values that the clients wrote. Less is better.",
			},
			bars(rows, "times the user's bytes", chart.Plain, (*row).wroteDisk, deviceFactor),
		},
		{
			chapter{
				ID: "disk", Title: "Size on disk", Table: written(rows),
				Text: "Of the store's files after the workload, settled. Less is better.",
			},
			bars(rows, "size on disk", chart.Bytes, (*row).wroteDisk, diskBytes),
		},
		{
			chapter{
				ID: "open", Title: "Time to open", Table: openTimes(openings),
				Text: "Of a store that was closed, and of one whose process was killed while clients wrote. Less is better.",
			},
			openingBars(openings),
		},
	}
}
