package chart

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Curves are figures over time, or over percentiles.
type Curves struct {
	Title, X, Y string  // of the panel, and of its axes
	Percentiles bool    // X is as Percent has it, else seconds
	Log         bool    // Y is logarithmic: what is not above 0 is left out
	Unit        Unit    // of Y
	Low, High   float64 // of Y; 0, 0 = as the curves are
	Curves      []Curve
	Marks       []Marks
	Legend      bool
}

// A Curve is one of them.
type Curve struct {
	Name   string
	Color  int
	Points []Point
}

// A Point is one point of a curve.
type Point struct{ X, Y float64 }

// Marks are moments, which are shown as strokes in a row above the curves.
type Marks struct {
	Color int
	At    []float64
}

const (
	curvesHeight = 5 * vg.Centimeter
	strokeHeight = 2 * vg.Millimeter
	fewPoints    = 40
)

func (c *Curves) height() vg.Length { return curvesHeight + strokeHeight*vg.Length(len(c.Marks)) }

func (c *Curves) plot() *plot.Plot {
	p := newPlot(c.Title)
	p.X.Label.Text, p.Y.Label.Text = c.X, c.Y
	p.X.Tick.Marker, p.Y.Tick.Marker = Plain, c.Unit
	if c.Percentiles {
		p.X.Tick.Marker = nines{}
	}
	lines := plotter.NewGrid()
	lines.Vertical = draw.LineStyle{Color: faint, Width: vg.Points(0.5)}
	lines.Horizontal = lines.Vertical
	p.Add(lines)
	p.Title.Padding += strokeHeight * vg.Length(len(c.Marks))
	for row, m := range c.Marks {
		p.Add(strokes{m, row})
	}
	for _, curve := range c.Curves {
		c.add(p, curve)
	}
	c.scale(p)
	return p
}

func (c *Curves) add(p *plot.Plot, curve Curve) {
	var points plotter.XYs
	for _, at := range curve.Points {
		if at.Y > 0 || !c.Log {
			points = append(points, plotter.XY(at))
		}
	}
	if len(points) == 0 {
		return
	}
	line := &plotter.Line{XYs: points, LineStyle: draw.LineStyle{Color: colorOf(curve.Color), Width: vg.Points(1.2)}}
	p.Add(line)
	if len(points) <= fewPoints { // a line alone would hide where they are, and a lone one
		p.Add(&plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{
			Color: colorOf(curve.Color), Radius: vg.Points(1.5), Shape: draw.CircleGlyph{},
		}})
	}
	if c.Legend {
		p.Legend.Add(curve.Name, line)
	}
}

// scale sets what the axes show.
func (c *Curves) scale(p *plot.Plot) {
	p.X.Min = 0
	if c.High > 0 {
		p.Y.Min, p.Y.Max = c.Low, c.High
	}
	if !c.Log {
		p.Y.Min = 0
		if c.High == 0 {
			p.Y.Max = max(1.05*p.Y.Max, 1) // room for what is on the edge
		}
		return
	}
	if p.Y.Min > p.Y.Max { // there is no point
		p.Y.Min, p.Y.Max = 1, 10
	}
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = powers{c.Unit}
	if c.High == 0 {
		p.Y.Min, p.Y.Max = decades(p.Y.Min, p.Y.Max)
	}
}

// strokes draws marks, in the row of that number above the axes.
type strokes struct {
	Marks
	row int
}

// Plot is what plot.Plotter asks for.
func (s strokes) Plot(c draw.Canvas, p *plot.Plot) {
	const gap = vg.Millimeter / 2
	x, _ := p.Transforms(&c)
	foot := c.Max.Y + gap + strokeHeight*vg.Length(s.row)
	style := draw.LineStyle{Color: colorOf(s.Color), Width: vg.Points(1)}
	for _, at := range s.At {
		c.StrokeLine2(style, x(at), foot, x(at), foot+strokeHeight-gap)
	}
}
