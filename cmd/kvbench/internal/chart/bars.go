package chart

import (
	"image/color"

	"faultline/cmd/kvbench/internal/figure"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Bars are lying bars from 0, each with its name, and a line from the least to the
// most of its repetitions.
type Bars struct {
	Title string
	Axis  string // what is measured, with its unit where Unit does not say
	Unit  Unit
	Bars  []Bar
}

// A Bar is one of them.
type Bar struct {
	Name   string
	Color  int
	Spread figure.Spread
	Note   string // instead of a figure, where there is none
}

const (
	barHeight  = 5 * vg.Millimeter
	barPitch   = 7 * vg.Millimeter
	aroundBars = 21 * vg.Millimeter // title and axis
)

func (b *Bars) height() vg.Length { return aroundBars + barPitch*vg.Length(len(b.Bars)) }

func (b *Bars) plot() *plot.Plot {
	p := newPlot(b.Title)
	p.X.Label.Text = b.Axis
	p.X.Tick.Marker = b.Unit
	names := make([]string, len(b.Bars))
	most := 0.0
	for i, bar := range b.Bars {
		names[len(names)-1-i] = bar.Name // the first is on top
		most = max(most, bar.Spread.Max)
	}
	if most == 0 {
		most = 1
	}
	for i, bar := range b.Bars {
		b.add(p, bar, float64(len(names)-1-i), most)
	}
	p.NominalY(names...)
	const roomForText = 1.3
	p.X.Min, p.X.Max = 0, roomForText*most
	p.Y.Min, p.Y.Max = -0.5, float64(len(names))-0.5
	return p
}

// add draws a bar at y.
func (b *Bars) add(p *plot.Plot, bar Bar, y, most float64) {
	word, end := bar.Note, 0.0
	if bar.Note == "" {
		word, end = b.Unit.Text(bar.Spread.Median), max(bar.Spread.Max, 0)
		p.Add(&plotter.BarChart{
			Values: plotter.Values{bar.Spread.Median}, Width: barHeight, Color: colorOf(bar.Color), XMin: y, Horizontal: true,
		})
		if bar.Spread.Min != bar.Spread.Max {
			p.Add(whisker{bar.Spread, y})
		}
	}
	p.Add(label{word, plotter.XY{X: end + most/50, Y: y}})
}

// A whisker is a line from the least to the most.
type whisker struct {
	spread figure.Spread
	y      float64
}

// Plot is what plot.Plotter asks for.
func (w whisker) Plot(c draw.Canvas, p *plot.Plot) {
	const half = barHeight / 4
	style := draw.LineStyle{Color: color.Black, Width: vg.Points(1)}
	x, y := p.Transforms(&c)
	at, from, to := y(w.y), x(w.spread.Min), x(w.spread.Max)
	c.StrokeLine2(style, from, at, to, at)
	c.StrokeLine2(style, from, at-half, from, at+half)
	c.StrokeLine2(style, to, at-half, to, at+half)
}

// A label is a word to the right of a point.
type label struct {
	text string
	at   plotter.XY
}

// Plot is what plot.Plotter asks for.
func (l label) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := p.X.Tick.Label
	style.XAlign, style.YAlign = draw.XLeft, -0.35 // letters above the line alone are in the middle
	c.FillText(style, vg.Point{X: x(l.at.X), Y: y(l.at.Y)}, l.text)
}
