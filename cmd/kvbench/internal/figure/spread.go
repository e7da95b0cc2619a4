package figure

import (
	"fmt"
	"slices"
)

// A Spread is a figure over the repetitions.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf sums up figures, of which there is at least one.
func SpreadOf(figures []float64) Spread {
	s := slices.Sorted(slices.Values(figures))
	n := len(s)
	return Spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// Text writes the median, and in brackets the spread where it shows.
func (s Spread) Text(write func(float64) string) string {
	least, most := write(s.Min), write(s.Max)
	if least == most {
		return write(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", write(s.Median), least, most)
}
