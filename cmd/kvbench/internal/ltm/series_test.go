package ltm

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faultline/cmd/kvbench/internal/figure"
)

// newTestSeries is three seconds, with a stall in the middle.
func newTestSeries() figure.Series {
	times := figure.Times{Ops: 50, P50: 1000, P99: 1090, P999: 1099, Max: 1_500_000_000}
	return figure.Series{{End: 1, Reads: times, Writes: times, Rounds: 2}, {End: 2}, {End: 3, Writes: times}}
}

// TestSeriesFiles writes a series as lines and as a drawing.
func TestSeriesFiles(t *testing.T) {
	r := Report{Children: []Phase{
		{Engine: "pebble", Rep: 1, Workload: Workload{"readseq", 1}},
		{Engine: "pebble", Rep: 1, Workload: Workload{"mixed", 4}, Result: Result{Series: newTestSeries()}},
	}}
	var text strings.Builder
	if err := r.WriteSeries(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "engine,rep,workload,seconds,write_ops,write_p50_us,") {
		t.Errorf("series:\n%s", text.String())
	}
	if want := "pebble,1,mixed@4,2.0,0,0.0,0.0,0.0,0.0,0,0.0,0.0,0.0,0.0,0,0,0"; len(lines) > 2 && lines[2] != want {
		t.Errorf("stall is %s, want %s", lines[2], want)
	}
	dir := t.TempDir()
	if err := r.DrawSeries(filepath.Join(dir, "curves")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "curves-pebble-mixed@4-1.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	words := map[string]bool{}
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			words[strings.TrimSpace(string(text))] = true
		}
	}
	for _, want := range []string{"p50", "p99.9", "max", "seconds", "1ms"} {
		if !words[want] {
			t.Errorf("the drawing lacks %q", want)
		}
	}
}
