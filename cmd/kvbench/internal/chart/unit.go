package chart

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// A Unit is what an axis counts in. All marks of an axis are of one size, such as
// ms, so that they can be compared at a glance.
type Unit []size

type size struct {
	is   float64
	name string
}

var (
	Plain   = Unit{{1, ""}}
	Rate    = Unit{{1, ""}, {1e3, "k"}, {1e6, "M"}}
	Nanos   = Unit{{1, "ns"}, {1e3, "us"}, {1e6, "ms"}, {1e9, "s"}}
	Bytes   = Unit{{1, "B"}, {1 << 10, "KiB"}, {1 << 20, "MiB"}, {1 << 30, "GiB"}, {1 << 40, "TiB"}}
	Micros  = Unit{{1e-3, "ns"}, {1, "us"}, {1e3, "ms"}, {1e6, "s"}}
	Seconds = Unit{{1e-9, "ns"}, {1e-6, "us"}, {1e-3, "ms"}, {1, "s"}}
)

// sizeOf returns the largest size that is not above v.
func (u Unit) sizeOf(v float64) size {
	at := u[0]
	for _, s := range u {
		if s.is <= v {
			at = s
		}
	}
	return at
}

// Text writes v with three digits.
func (u Unit) Text(v float64) string {
	s := u.sizeOf(v)
	return round(v/s.is, 3) + s.name
}

// round writes digits, and no zeros after them.
func round(v float64, digits int) string {
	if v == 0 {
		return "0"
	}
	scale := math.Pow(10, float64(digits-1)-math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(math.Round(v*scale)/scale, 'f', -1, 64)
}

// Ticks is what plot.Ticker asks for: marks at round numbers of one size.
func (u Unit) Ticks(low, high float64) []plot.Tick {
	s := u.sizeOf(high)
	ticks := plot.DefaultTicks{}.Ticks(low/s.is, high/s.is)
	for i := range ticks {
		if !ticks[i].IsMinor() {
			ticks[i].Label = round(ticks[i].Value, 6)
			if ticks[i].Value != 0 {
				ticks[i].Label += s.name
			}
		}
		ticks[i].Value *= s.is
	}
	return ticks
}

// powers are marks at the powers of ten of a logarithmic axis.
type powers struct{ Unit }

// Ticks is what plot.Ticker asks for.
func (p powers) Ticks(low, high float64) (ticks []plot.Tick) {
	for e := math.Ceil(math.Log10(low) - 1e-9); e <= math.Log10(high)+1e-9; e++ {
		v := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: v, Label: p.Text(v)})
	}
	return ticks
}

// nines are marks of an axis of percentiles: 1 is 90 %, 2 is 99 %, 3 is 99.9 %.
type nines struct{}

// Ticks is what plot.Ticker asks for.
func (nines) Ticks(_, high float64) (ticks []plot.Tick) {
	for n := range int(high) + 1 {
		label := strconv.FormatFloat(Percent(float64(n)), 'f', max(n-2, 0), 64)
		if n > 4 && n%2 == 1 && high >= 6 {
			label = "" // there is no room for long ones side by side
		}
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: label})
	}
	return ticks
}

// Percent is the percentile at a place of such an axis.
func Percent(nines float64) float64 { return 100 * (1 - math.Pow(10, -nines)) }

// decades returns the powers of ten around low and high, which are above 0.
func decades(low, high float64) (from, to float64) {
	from = math.Pow(10, math.Floor(math.Log10(low)))
	to = math.Pow(10, math.Ceil(math.Log10(high)))
	if from == to {
		to *= 10
	}
	return from, to
}
