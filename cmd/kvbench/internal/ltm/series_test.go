package ltm

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newTestSeries makes three seconds: two clients, a stall, and what it was.
func newTestSeries(t *testing.T) []Second {
	t.Helper()
	clients := []*recorder{newRecorder(), newRecorder()}
	rounds, now := uint64(10), reading{read: 1000, write: 500}
	c, err := newCollector(clients, func() uint64 { return rounds }, func() (reading, error) { return now, nil })
	if err != nil {
		t.Fatal(err)
	}
	end := func() {
		if err := c.collect(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(100) {
		clients[i%2].record(i < 50, 1000+i)
	}
	rounds, now = 12, reading{read: 1100, write: 900}
	end()
	end() // a stall
	clients[0].record(true, 1_500_000_000)
	end()
	return c.seconds
}

// TestSeries checks counts and latencies of each second, and the differences of
// what is counted without end.
func TestSeries(t *testing.T) {
	s := newTestSeries(t)
	if len(s) != 3 {
		t.Fatalf("%d seconds, want 3", len(s))
	}
	if s[0].Writes.Ops != 50 || s[0].Reads.Ops != 50 || s[0].Writes.P50 < 1000 || s[0].Reads.Max > 1110 {
		t.Errorf("first: %+v", s[0])
	}
	if s[0].Rounds != 2 || s[0].ReadBytes != 100 || s[0].WriteBytes != 400 {
		t.Errorf("first: %+v", s[0])
	}
	if want := (Second{Second: 1}); s[1] != want {
		t.Errorf("stall: %+v", s[1])
	}
	if w := s[2].Writes; w.Ops != 1 || w.Max < 1_490_000_000 || s[2].Rounds != 0 {
		t.Errorf("last: %+v", s[2])
	}
}

// TestSeriesFiles writes a series as lines and as a drawing.
func TestSeriesFiles(t *testing.T) {
	r := Report{Phases: []Phase{
		{Engine: "pebble", Rep: 1, Workload: Workload{"readseq", 1}},
		{Engine: "pebble", Rep: 1, Workload: Workload{"mixed", 4}, Result: Result{Series: newTestSeries(t)}},
	}}
	var text strings.Builder
	if err := r.WriteSeries(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "engine,rep,workload,second,write_ops,write_p50_us,") {
		t.Errorf("series:\n%s", text.String())
	}
	if want := "pebble,1,mixed@4,1,0,0.0,0.0,0.0,0.0,0,0.0,0.0,0.0,0.0,0,0,0"; len(lines) > 2 && lines[2] != want {
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
