package report

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// TestBenchmarks compares the lines with testdata, and has the reader that
// benchstat uses read them.
func TestBenchmarks(t *testing.T) {
	r := small(t)
	var b bytes.Buffer
	if err := Benchmarks(&b, []Source{{"", r}, {"again", r}}); err != nil {
		t.Fatal(err)
	}
	golden(t, "all.bench", b.Bytes())

	lines := map[string]int{}
	in := benchfmt.NewReader(&b, "all.bench")
	for in.Scan() {
		switch line := in.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(line)
		case *benchfmt.Result:
			lines[line.Name.String()]++
			if v, ok := line.Value("sec/op"); !ok || v <= 0 {
				t.Errorf("%s takes %v", line.Name, v)
			}
			if line.GetConfig("keys") != "1000000" || line.GetConfig("cpu") != "Abacus 1" ||
				line.GetConfig("batch-entries") != "100" || line.GetConfig("seek-nexts") != "50" {
				t.Errorf("%s has %v", line.Name, line.Config)
			}
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"KV/workload=fillrandom/threads=1/engine=faultline-2": 6,
		"KV/workload=ycsb-a/threads=4/engine=bbolt-2":         4,
		"KV/workload=fillsync/threads=16/engine=bbolt-2":      0,
		"Open/after=kill-9/engine=pebble-2":                   4, // one has failed
	} {
		if lines[name] != want {
			t.Errorf("%s has %d lines, want %d", name, lines[name], want)
		}
	}
	for _, unit := range []string{"p99-sec", "B-dev/op"} {
		if in.Units().GetBetter(unit) != -1 {
			t.Errorf("%s: less is not better", unit)
		}
	}
}

// TestServer has phases of a store whose files are not seen: what this process writes is not
// told as what that store does.
func TestServer(t *testing.T) {
	r := small(t)
	for i := range r.Phases {
		r.Phases[i].DiskBytes = 0
	}
	var b bytes.Buffer
	if err := Benchmarks(&b, []Source{{"", r}}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), unitDevice); n != 1 {
		t.Errorf("%s is there %d times, want once, as a unit", unitDevice, n)
	}
	rows, err := rowsOf(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drafts(rows, nil, r.Setup.Baseline) {
		if (d.ID == "device" || d.ID == "disk") && len(d.panels) > 0 {
			t.Errorf("there are bars of %s", d.Title)
		}
	}
}
