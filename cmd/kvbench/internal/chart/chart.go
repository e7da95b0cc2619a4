// Package chart draws the figures of kvbench's reports as SVG: bars with their
// spread, and curves.
//
// A drawing is made once, with the colours of a light page. Inline has them follow
// the page that the drawing stands in, by the variables of CSS.
package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Panel is one pair of axes with what is drawn in them.
type Panel interface {
	plot() *plot.Plot
	// height is that of the whole panel.
	height() vg.Length
}

// Colors is how many colours there are: a drawing tells this many things apart.
const Colors = 6

// palette is that of Okabe and Ito, which the colour-blind can tell apart.
var palette = [Colors]color.RGBA{
	{0x00, 0x72, 0xB2, 0xFF}, {0xD5, 0x5E, 0x00, 0xFF}, {0x00, 0x9E, 0x73, 0xFF},
	{0xCC, 0x79, 0xA7, 0xFF}, {0xE6, 0x9F, 0x00, 0xFF}, {0x56, 0xB4, 0xE9, 0xFF},
}

// faint is the colour of what is not to be looked at first.
var faint = color.RGBA{0xDD, 0xDD, 0xDD, 0xFF}

func colorOf(i int) color.RGBA { return palette[i%Colors] }

// A Drawing is panels one below the other, their axes in line.
type Drawing struct{ svg []byte }

// Draw draws panels, of which there is at least one, of this width.
func Draw(width vg.Length, panels ...Panel) (*Drawing, error) {
	const between = 2 * vg.Millimeter
	grid := make([][]*plot.Plot, len(panels))
	height := between * vg.Length(len(panels)-1)
	for i, p := range panels {
		grid[i] = []*plot.Plot{p.plot()}
		height += p.height()
	}
	canvas := vgsvg.New(width, height)
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: between, PadRight: 3 * vg.Millimeter}
	for i, row := range plot.Align(grid, tiles, page) {
		grid[i][0].Draw(row[0])
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("draw: %w", err)
	}
	return &Drawing{b.Bytes()}, nil
}

// WriteTo writes an SVG file.
func (d *Drawing) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(d.svg)
	return int64(n), err
}

// Inline returns the drawing as an element of an HTML page, without a size of its
// own. The variables --ink, --paper, --faint and --c0 to --c5 are its colours.
func (d *Drawing) Inline(title string) string {
	_, svg, _ := strings.Cut(string(d.svg), "<svg ")
	_, svg, _ = strings.Cut(svg, "viewBox") // width and height come before it
	svg = `<svg role="img" aria-label="` + escape(title) + `" viewBox` + svg
	return strings.TrimSpace(variables().Replace(svg))
}

// variables replaces colours by variables.
func variables() *strings.Replacer {
	pairs := []string{"#000000", "var(--ink)", "#FFFFFF", "var(--paper)", hex(faint), "var(--faint)"}
	for i, c := range palette {
		pairs = append(pairs, hex(c), fmt.Sprintf("var(--c%d)", i))
	}
	return strings.NewReplacer(pairs...)
}

func hex(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;").Replace(s)
}

// newPlot returns axes with a title, in a font without serifs.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil // the page has one
	p.Title.Text = title
	p.Title.Padding = 2 * vg.Millimeter
	p.Legend.Top = true
	p.X.Tick.Length, p.Y.Tick.Length = 4, 4
	for _, style := range []*text.Style{
		&p.Title.TextStyle, &p.Legend.TextStyle, &p.X.Label.TextStyle, &p.X.Tick.Label, &p.Y.Label.TextStyle, &p.Y.Tick.Label,
	} {
		style.Font.Variant = "Sans"
		style.Font.Size = font.Points(9)
	}
	p.Title.TextStyle.Font.Size = font.Points(10)
	return p
}
