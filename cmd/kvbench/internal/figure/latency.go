package figure

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept in nanoseconds, to three digits.
const (
	MaxLatency    = time.Hour
	latencyDigits = 3
)

// NewHistogram returns a histogram for latencies up to MaxLatency.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(MaxLatency), latencyDigits)
}

// A Latency is a distribution in nanoseconds.
type Latency struct {
	Samples   int64   `json:"samples"`
	Min       int64   `json:"min_ns"`
	Mean      float64 `json:"mean_ns"`
	P50       int64   `json:"p50_ns"`
	P90       int64   `json:"p90_ns"`
	P99       int64   `json:"p99_ns"`
	P999      int64   `json:"p99_9_ns"`
	P9999     int64   `json:"p99_99_ns"`
	Max       int64   `json:"max_ns"`
	Histogram string  `json:"hdr_histogram_v2,omitempty"` // compressed, base64
}

// LatencyOf sums up a histogram.
func LatencyOf(h *hdrhistogram.Histogram) Latency {
	encoded, err := h.EncodeV2()
	if err != nil {
		panic(fmt.Sprintf("figure: encode histogram: %v", err)) // it writes to memory
	}
	return Latency{
		Samples: h.TotalCount(),
		Min:     h.Min(), Mean: h.Mean(), Max: h.Max(),
		P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90), P99: h.ValueAtQuantile(99),
		P999: h.ValueAtQuantile(99.9), P9999: h.ValueAtQuantile(99.99),
		Histogram: string(encoded),
	}
}

// Decode returns the histogram that l was made of. It may be used as an argument
// of Merge only.
func (l *Latency) Decode() (*hdrhistogram.Histogram, error) {
	return hdrhistogram.Decode([]byte(l.Histogram))
}

// MergeLatencies sums up several distributions as one.
func MergeLatencies(all []Latency) (Latency, error) {
	sum := NewHistogram()
	for i := range all {
		h, err := all[i].Decode()
		if err != nil {
			return Latency{}, fmt.Errorf("latency histogram: %w", err)
		}
		sum.Merge(h)
	}
	return LatencyOf(sum), nil
}
