package series

import (
	"testing"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/meter"
)

// TestSeries checks counts and latencies of each interval, a stall among them, and
// the differences of what is counted without end.
func TestSeries(t *testing.T) {
	clients := []*Recorder{NewRecorder(), NewRecorder()}
	rounds := uint64(10)
	m := meter.New(t.TempDir())
	c, err := NewCollector(clients, func() uint64 { return rounds }, m.Read)
	if err != nil {
		t.Fatal(err)
	}
	end := func() {
		if err := c.Collect(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(100) {
		clients[i%2].Record(i < 50, 1000+i, 1)
	}
	rounds = 12
	end()
	end() // a stall
	clients[0].Record(true, 1_500_000_000, 1)
	end()

	s := c.Series()
	if len(s) != 3 {
		t.Fatalf("%d intervals, want 3", len(s))
	}
	if s[0].Writes.Ops != 50 || s[0].Reads.Ops != 50 || s[0].Writes.P50 < 1000 || s[0].Reads.Max > 1110 || s[0].Rounds != 2 {
		t.Errorf("first: %+v", s[0])
	}
	if s[1].Reads != (figure.Times{}) || s[1].Writes != (figure.Times{}) || s[1].Rounds != 0 {
		t.Errorf("stall: %+v", s[1])
	}
	if w := s[2].Writes; w.Ops != 1 || w.Max < 1_490_000_000 || s[2].Rounds != 0 {
		t.Errorf("last: %+v", s[2])
	}
	for i := range s {
		if s.Seconds(i) < 0 || s[i].End < s.Seconds(i) {
			t.Errorf("interval %d ends at %v after %v", i, s[i].End, s.Seconds(i))
		}
	}
}
