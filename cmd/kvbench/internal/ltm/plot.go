package ltm

import (
	"errors"
	"fmt"
	"image/color"
	"os"
	"time"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/table"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// DrawSeries draws each series to an SVG file whose name begins with stem.
func (r *Report) DrawSeries(stem string) error {
	for i := range r.Phases {
		p := &r.Phases[i]
		if len(p.Series) == 0 {
			continue
		}
		path := fmt.Sprintf("%s-%s-%s-%d.svg", stem, p.Engine, p.Workload, p.Rep)
		if err := p.drawTo(path, fmt.Sprintf("%s %s", p.Engine, p.Workload)); err != nil {
			return fmt.Errorf("draw %s: %w", path, err)
		}
	}
	return nil
}

const (
	panels       = 4
	drawingWidth = 25 * vg.Centimeter
	panelHeight  = 5 * vg.Centimeter
)

// drawTo makes the SVG file.
func (p *Phase) drawTo(path, title string) error {
	svg := vgsvg.New(drawingWidth, panels*panelHeight)
	p.draw(svg, title)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = svg.WriteTo(f)
	return errors.Join(err, f.Close())
}

// draw draws latencies, and below them operations, of writes and of reads, all
// over time. Marks at the foot are rounds.
func (p *Phase) draw(on vg.CanvasSizer, title string) {
	writes := func(s *figure.Point) *figure.Times { return &s.Writes }
	reads := func(s *figure.Point) *figure.Times { return &s.Reads }
	rows := [panels]*plot.Plot{
		p.latencyPanel(title+": latency of writes", writes),
		p.latencyPanel("latency of reads", reads),
		p.speedPanel("writes a second", red, writes),
		p.speedPanel("reads a second", blue, reads),
	}
	rows[panels-1].X.Label.Text = "seconds"
	grid := make([][]*plot.Plot, panels)
	for i := range rows {
		grid[i] = rows[i : i+1]
	}
	tiles := draw.Tiles{Rows: panels, Cols: 1, PadY: vg.Millimeter, PadRight: 3 * vg.Millimeter}
	for i, row := range plot.Align(grid, tiles, draw.New(on)) {
		rows[i].Draw(row[0])
	}
}

// A curve is one figure over time.
type curve struct {
	name  string // none: it is alone, and 0 is a figure
	color color.Color
	of    func(*figure.Point) float64 // where it has a name, 0 = none in this interval
}

var (
	blue   = color.RGBA{R: 31, G: 119, B: 180, A: 255}
	orange = color.RGBA{R: 230, G: 120, B: 20, A: 255}
	red    = color.RGBA{R: 200, G: 30, B: 30, A: 255}
	grey   = color.Gray{Y: 120}
)

func (p *Phase) latencyPanel(title string, of func(*figure.Point) *figure.Times) *plot.Plot {
	panel := p.newPanel(title, []curve{
		{"max", red, func(s *figure.Point) float64 { return float64(of(s).Max) }},
		{"p99.9", orange, func(s *figure.Point) float64 { return float64(of(s).P999) }},
		{"p50", blue, func(s *figure.Point) float64 { return float64(of(s).P50) }},
	})
	// The same scale in all drawings, so that they can be laid side by side.
	panel.Y.Min, panel.Y.Max = float64(100*time.Nanosecond), float64(10*time.Second)
	panel.Y.Scale = plot.LogScale{}
	panel.Y.Tick.Marker = durations{}
	return panel
}

func (p *Phase) speedPanel(title string, line color.Color, of func(*figure.Point) *figure.Times) *plot.Plot {
	panel := p.newPanel(title, []curve{{"", line, func(s *figure.Point) float64 { return float64(of(s).Ops) }}})
	panel.Y.Min = 0
	panel.Y.Max = max(panel.Y.Max, 1)
	panel.Y.Tick.Marker = rates{}
	return panel
}

func (p *Phase) newPanel(title string, curves []curve) *plot.Plot {
	panel := plot.New()
	panel.Title.Text = title
	panel.X.Min, panel.X.Max = 0, p.Series[len(p.Series)-1].End
	panel.Legend.Top = true
	panel.Add(rounds(p.Series))
	for _, c := range curves {
		var points plotter.XYs
		for i := range p.Series {
			if y := c.of(&p.Series[i]); y > 0 || c.name == "" {
				points = append(points, plotter.XY{X: p.Series[i].End, Y: y})
			}
		}
		if len(points) == 0 {
			continue
		}
		line := &plotter.Line{XYs: points, LineStyle: draw.LineStyle{Color: c.color, Width: vg.Points(1)}}
		panel.Add(line)
		if c.name != "" {
			panel.Legend.Add(c.name, line)
		}
	}
	return panel
}

// rounds marks the intervals in which a round has ended.
type rounds figure.Series

// Plot is what plot.Plotter asks for.
func (r rounds) Plot(c draw.Canvas, p *plot.Plot) {
	const height = 2 * vg.Millimeter
	x, _ := p.Transforms(&c)
	for i := range r {
		if r[i].Rounds > 0 {
			at := x(r[i].End)
			c.StrokeLine2(draw.LineStyle{Color: grey, Width: vg.Points(1)}, at, c.Min.Y, at, c.Min.Y+height)
		}
	}
}

// durations are the marks of a logarithmic axis of nanoseconds, one for each
// power of ten.
type durations struct{}

// Ticks is what plot.Ticker asks for.
func (durations) Ticks(low, high float64) (ticks []plot.Tick) {
	for at := time.Nanosecond; float64(at) <= high; at *= 10 {
		if float64(at) >= low {
			ticks = append(ticks, plot.Tick{Value: float64(at), Label: at.String()})
		}
	}
	return ticks
}

// rates are the usual marks, with short numbers.
type rates struct{}

// Ticks is what plot.Ticker asks for.
func (rates) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if !ticks[i].IsMinor() {
			ticks[i].Label = table.Rate(ticks[i].Value)
		}
	}
	return ticks
}
