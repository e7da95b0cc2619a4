package figure

import "testing"

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		figures []float64
		want    Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{4, 1}, Spread{2.5, 1, 4}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{8, 6, 2, 4}, Spread{5, 2, 8}},
	} {
		if got := SpreadOf(test.figures); got != test.want {
			t.Errorf("%v: %v, want %v", test.figures, got, test.want)
		}
	}
}

// TestWhole wants a short last interval left out, and no other.
func TestWhole(t *testing.T) {
	for _, test := range []struct {
		ends []float64
		want int
	}{
		{nil, 0}, {[]float64{0.1}, 1}, {[]float64{1, 2, 2.4}, 2}, {[]float64{1, 2, 2.6}, 3}, {[]float64{1, 1.1, 2}, 3},
	} {
		var s Series
		for _, end := range test.ends {
			s = append(s, Point{End: end})
		}
		if got := len(s.Whole()); got != test.want {
			t.Errorf("%v: %d intervals, want %d", test.ends, got, test.want)
		}
	}
}

// TestAddCPU moves what a server has used from others to the engine.
func TestAddCPU(t *testing.T) {
	u := Usage{Seconds: 10, CPUSeconds: 5, SystemSeconds: 1, OthersCores: 0.75}
	u.AddCPU(5)
	if want := (Usage{Seconds: 10, CPUSeconds: 10, SystemSeconds: 1, OthersCores: 0.25}); u != want {
		t.Errorf("%+v, want %+v", u, want)
	}
	if u.AddCPU(5); u.OthersCores != 0 {
		t.Errorf("%v cores are less than none", u.OthersCores)
	}
}
