package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"faultline/cmd/kvbench/internal/figure"

	"gonum.org/v1/plot/vg"
)

// words returns the texts of an SVG, which must be well-formed.
func words(t *testing.T, svg string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v: %s", err, svg)
		}
		if text, ok := token.(xml.CharData); ok {
			all[strings.TrimSpace(string(text))] = true
		}
	}
}

// TestDraw draws each kind of panel, also with nothing in it, and looks for titles,
// axes, names and figures; alone and as a part of a page.
func TestDraw(t *testing.T) {
	rising := []Point{{0, 1e3}, {1, 5e6}, {2, 0}}
	for name, test := range map[string]struct {
		panel Panel
		want  []string
	}{
		"bars": {
			&Bars{Title: "a <b> & c", Axis: "operations a second", Unit: Rate, Bars: []Bar{
				{Name: "one", Spread: figure.Spread{Median: 1234567, Min: 1e6, Max: 2e6}}, {Name: "two", Color: 1, Note: "cannot"},
			}},
			[]string{"a <b> & c", "operations a second", "1.23M", "one", "two", "cannot", "0", "2.5M"},
		},
		"no bars":   {&Bars{Title: "empty", Unit: Bytes, Bars: []Bar{{Name: "one"}}}, []string{"empty", "one", "0"}},
		"no curves": {&Curves{Title: "empty", Log: true, Unit: Nanos}, []string{"empty", "1ns"}},
		"no points": {&Curves{Title: "empty", Unit: Rate, Curves: []Curve{{Name: "one"}}, Legend: true}, []string{"empty"}},
		"log": {
			&Curves{Title: "log", X: "seconds", Log: true, Unit: Nanos, Curves: []Curve{{Points: rising}}, Marks: []Marks{{At: []float64{1}}}},
			[]string{"log", "seconds", "1us", "10ms"},
		},
		"percentiles": {
			&Curves{Title: "p", Percentiles: true, Log: true, Unit: Nanos, Legend: true, Curves: []Curve{{Name: "one", Points: rising}}},
			[]string{"0", "90", "one"},
		},
	} {
		d, err := Draw(10*vg.Centimeter, test.panel, test.panel)
		if err != nil {
			t.Fatal(err)
		}
		var file strings.Builder
		if _, err := d.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		inline := d.Inline(`a "title" <1>`)
		for _, svg := range []string{file.String(), inline} {
			have := words(t, svg)
			for _, want := range test.want {
				if !have[want] {
					t.Errorf("%s lacks %q, has %v", name, want, have)
				}
			}
		}
		if strings.Contains(inline, "#") || !strings.HasPrefix(inline, "<svg ") || !strings.Contains(inline, "var(--paper)") {
			t.Errorf("%s has colours of its own: %s", name, inline)
		}
	}
}

// TestNines wants a label at each percentile, but where they would be too long.
func TestNines(t *testing.T) {
	for high, want := range map[float64]string{
		0.3: "0", 2.5: "0 90 99", 5.4: "0 90 99 99.9 99.99 99.999", 6.1: "0 90 99 99.9 99.99 99.9999",
	} {
		var got []string
		for _, tick := range (nines{}).Ticks(0, high) {
			if !tick.IsMinor() {
				got = append(got, tick.Label)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("marks up to %v are %q, want %s", high, got, want)
		}
	}
}

// TestUnits checks words and marks of each unit.
func TestUnits(t *testing.T) {
	for _, test := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Plain, 0, "0"}, {Plain, 1234, "1230"}, {Plain, 0.012345, "0.0123"}, {Plain, 1.5, "1.5"},
		{Rate, 999, "999"}, {Rate, 1000, "1k"}, {Rate, 2_345_678, "2.35M"},
		{Nanos, 0.5, "0.5ns"}, {Nanos, 1500, "1.5us"}, {Nanos, 2e9, "2s"}, {Micros, 0.25, "250ns"}, {Seconds, 0.0125, "12.5ms"},
		{Bytes, 1023, "1020B"}, {Bytes, 3 << 29, "1.5GiB"},
	} {
		if got := test.unit.Text(test.v); got != test.want {
			t.Errorf("%v is %s, want %s", test.v, got, test.want)
		}
	}
	for _, test := range []struct {
		high float64
		unit Unit
		want string
	}{
		{2.1e6, Rate, "0 1M 2M"}, {3 << 20, Bytes, "0 1MiB 2MiB 3MiB"}, {0.03, Seconds, "0 10ms 20ms 30ms"},
	} {
		var got []string
		for _, tick := range test.unit.Ticks(0, test.high) {
			if !tick.IsMinor() {
				got = append(got, tick.Label)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("marks up to %v are %q, want %s", test.high, got, test.want)
		}
	}
}
