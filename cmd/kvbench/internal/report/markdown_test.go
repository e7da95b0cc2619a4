package report

import (
	"bytes"
	"testing"
	"time"

	"faultline/cmd/kvbench/internal/result"
)

// TestMarkdown compares reports of many engines and of one with testdata.
func TestMarkdown(t *testing.T) {
	all, alone := small(t), small(t)
	alone.Engines, alone.Phases, alone.Opens = alone.Engines[:1], alone.Phases[:1], nil
	alone.Setup.Reps, alone.Setup.Duration, alone.Setup.Sync = 1, 5*time.Second, true
	alone.Setup.Baseline = result.BaselineOf([]string{"faultline"})
	var b bytes.Buffer
	if err := Markdown(&b, []Source{{"", all}}); err != nil {
		t.Fatal(err)
	}
	golden(t, "all.md", b.Bytes())
	b.Reset()
	if err := Markdown(&b, []Source{{"", alone}}); err != nil {
		t.Fatal(err)
	}
	golden(t, "alone.md", b.Bytes())
}
