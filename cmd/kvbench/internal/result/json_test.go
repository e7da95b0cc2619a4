package result

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"faultline/cmd/kvbench/internal/figure"
)

// TestRoundTrip writes results, reads them, and wants the same, histograms too.
func TestRoundTrip(t *testing.T) {
	h := figure.NewHistogram()
	for i := range int64(1000) {
		_ = h.RecordValue(i * i)
	}
	want := &Run{
		Format: Format, Time: time.Date(2026, 11, 23, 8, 0, 0, 1, time.UTC), Command: []string{"--n", "1"},
		Machine: figure.Machine{CPU: "Abacus <1>"}, Setup: Setup{Keys: 1, Baseline: "pebble"},
		Engines: []Engine{{"faultline", "v1", []string{"one", "two"}}},
		Phases: []Phase{{
			Workload: Workload{"ycsb-a", 4}, Engine: "faultline", Rep: 1, Ops: 1000, Seconds: 0.1,
			Run: figure.Usage{CPUSeconds: 0.2}, Latency: figure.LatencyOf(h), Parts: []Part{{"read", 1000, figure.LatencyOf(h)}},
			Series: figure.Series{{End: 0.1, Rounds: 1}},
		}},
		Opens: []Open{{Engine: "faultline", Rep: 1, After: Killed, Seconds: 2}},
		Notes: []string{"a note"},
	}
	var b bytes.Buffer
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	again, err := got.Phases[0].Latency.Decode()
	if err != nil || !again.Equals(h) {
		t.Errorf("the histogram is another, %v", err)
	}
}

// TestReadRefuses wants errors for what is no result, or one of another format.
func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":              "decode results",
		"[]":            "decode results",
		"{}":            "format 0: want 1",
		`{"format": 9}`: "format 9: want 1",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}
