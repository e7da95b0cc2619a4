package figure

import "github.com/HdrHistogram/hdrhistogram-go"

// A Series is what all clients together have done in each of the intervals of a
// phase, one after the other. An operation belongs to the interval in which it
// ended: a stall shows as intervals with little or nothing in them, and then a
// large maximum.
type Series []Point

// A Point is one interval.
type Point struct {
	End    float64 `json:"end_seconds"` // since the clients were warm
	Reads  Times   `json:"reads"`
	Writes Times   `json:"writes"`

	Rounds     uint64 `json:"rounds"`      // see engine.Counter; that ended in it
	ReadBytes  int64  `json:"read_bytes"`  // see Usage
	WriteBytes int64  `json:"write_bytes"` // see Usage
}

// Times are latencies in nanoseconds; 0 where there is none.
type Times struct {
	Ops  int64 `json:"ops"`
	P50  int64 `json:"p50_ns"`
	P99  int64 `json:"p99_ns"`
	P999 int64 `json:"p99_9_ns"`
	Max  int64 `json:"max_ns"`
}

// TimesOf sums up a histogram.
func TimesOf(h *hdrhistogram.Histogram) Times {
	return Times{h.TotalCount(), h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
}

// Seconds is how long the i-th interval was; the last one is often shorter.
func (s Series) Seconds(i int) float64 {
	if i == 0 {
		return s[0].End
	}
	return s[i].End - s[i-1].End
}

// Whole leaves out a last interval that is less than half as long as the first: its
// rates are chance.
func (s Series) Whole() Series {
	if last := len(s) - 1; last > 0 && s.Seconds(last) < s.Seconds(0)/2 {
		return s[:last]
	}
	return s
}

// Rounds returns the ends of the intervals in which a round has ended.
func (s Series) Rounds() (at []float64) {
	for i := range s {
		if s[i].Rounds > 0 {
			at = append(at, s[i].End)
		}
	}
	return at
}
