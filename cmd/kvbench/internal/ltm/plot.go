package ltm

import (
	"errors"
	"fmt"
	"os"
	"time"

	"faultline/cmd/kvbench/internal/chart"
	"faultline/cmd/kvbench/internal/figure"

	"gonum.org/v1/plot/vg"
)

// DrawSeries draws each series to an SVG file whose name begins with stem.
func (r *Report) DrawSeries(stem string) error {
	for i := range r.Children {
		p := &r.Children[i]
		if len(p.Series) == 0 {
			continue
		}
		path := fmt.Sprintf("%s-%s-%s-%d.svg", stem, p.Engine, p.Workload, p.Rep)
		if err := p.drawTo(path); err != nil {
			return fmt.Errorf("draw %s: %w", path, err)
		}
	}
	return nil
}

const drawingWidth = 25 * vg.Centimeter

// drawTo draws latencies, and below them operations, of writes and of reads, all
// over time. Marks above them are rounds.
func (p *Phase) drawTo(path string) error {
	writes := func(s *figure.Point) *figure.Times { return &s.Writes }
	reads := func(s *figure.Point) *figure.Times { return &s.Reads }
	last := p.speed("reads a second", reads)
	last.X = "seconds"
	drawing, err := chart.Draw(drawingWidth,
		p.latency(fmt.Sprintf("%s %s: latency of writes", p.Engine, p.Workload), writes),
		p.latency("latency of reads", reads),
		p.speed("writes a second", writes), last)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = drawing.WriteTo(f)
	return errors.Join(err, f.Close())
}

// Colours of the curves of a panel, from the worst to the best, and of rounds.
const (
	blue, red, rounds, orange = 0, 1, 3, 4
)

func (p *Phase) latency(title string, of func(*figure.Point) *figure.Times) *chart.Curves {
	return &chart.Curves{
		Title: title, Log: true, Unit: chart.Nanos, Legend: true,
		// The same scale in all drawings, so that they can be laid side by side.
		Low: float64(100 * time.Nanosecond), High: float64(10 * time.Second),
		Marks: p.rounds(),
		Curves: []chart.Curve{
			p.curve("max", red, func(i int) float64 { return float64(of(&p.Series[i]).Max) }),
			p.curve("p99.9", orange, func(i int) float64 { return float64(of(&p.Series[i]).P999) }),
			p.curve("p50", blue, func(i int) float64 { return float64(of(&p.Series[i]).P50) }),
		},
	}
}

func (p *Phase) speed(title string, of func(*figure.Point) *figure.Times) *chart.Curves {
	return &chart.Curves{
		Title: title, Unit: chart.Rate, Marks: p.rounds(),
		Curves: []chart.Curve{p.curve("", blue, func(i int) float64 { return float64(of(&p.Series[i]).Ops) / p.Series.Seconds(i) })},
	}
}

func (p *Phase) curve(name string, color int, of func(i int) float64) chart.Curve {
	c := chart.Curve{Name: name, Color: color}
	for i := range p.Series.Whole() {
		c.Points = append(c.Points, chart.Point{X: p.Series[i].End, Y: of(i)})
	}
	return c
}

func (p *Phase) rounds() []chart.Marks { return []chart.Marks{{Color: rounds, At: p.Series.Rounds()}} }
