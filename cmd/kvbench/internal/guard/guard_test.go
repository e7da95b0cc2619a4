package guard

import (
	"slices"
	"strings"
	"testing"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"
)

// runOf is a run of which each workload had these ratios of speed and of CPU.
func runOf(speed, cpu func(documented float64) float64) *result.Run {
	r := new(result.Run)
	phase := func(w result.Workload, engine string, rep int, opsPerSecond, cpuSeconds float64) {
		r.Phases = append(r.Phases, result.Phase{
			Workload: w, Engine: engine, Rep: rep, Ops: 1000, Seconds: 1000 / opsPerSecond, Run: figure.Usage{CPUSeconds: cpuSeconds},
		})
	}
	for _, d := range documented {
		for rep := range 3 {
			phase(d.workload, baseline, rep+1, 100, 1)
			phase(d.workload, subject, rep+1, 100*speed(d.ratio), 1/cpu(d.ratio))
		}
	}
	return r
}

// TestJudge checks on both sides of the margin, and that one good ratio is enough.
func TestJudge(t *testing.T) {
	same := func(d float64) float64 { return d }
	within := func(d float64) float64 { return d / Margin * 1.01 }
	third := func(d float64) float64 { return d / 3 }
	below := func(d float64) float64 { return d / Margin * 0.99 }
	for _, test := range []struct {
		name       string
		speed, cpu func(float64) float64
		failed     bool // of what writes
		reads      bool // of what only reads
	}{
		{"as documented", same, same, false, false},
		{"within the margin", within, within, false, false},
		{"without a processor", below, within, false, false},
		{"on a slow disk", within, below, false, true},
		{"too slow", below, below, true, true},
		{"a third as fast", third, third, true, true},
	} {
		verdicts, err := Judge(always(runOf(test.speed, test.cpu)))
		if err != nil || len(verdicts) != len(documented) {
			t.Fatalf("%s: %d verdicts, %v", test.name, len(verdicts), err)
		}
		var text strings.Builder
		err = Markdown(&text, verdicts)
		want := test.failed || test.reads
		if failed := err != nil; failed != want || failed != strings.Contains(text.String(), "TOO SLOW") {
			t.Errorf("%s: error %v, want %t, and the table\n%s", test.name, err, want, &text)
		}
		if speed := err != nil && strings.Contains(err.Error(), "speed"); speed != test.failed {
			t.Errorf("%s: error %v, which names speed, where only reads are slow, or does not", test.name, err)
		}
		for _, v := range verdicts {
			want := test.failed
			if v.Reads {
				want = test.reads
			}
			if v.Failed() != want {
				t.Errorf("%s: %s failed %t, want %t", test.name, v.Workload, v.Failed(), want)
			}
		}
	}
}

// always measures the same.
func always(r *result.Run) func([]result.Workload) (*result.Run, error) {
	return func([]result.Workload) (*result.Run, error) { return r, nil }
}

// TestAgain has a run in which all but one workload are slow, and a better one after it, of
// those alone.
func TestAgain(t *testing.T) {
	third := func(d float64) float64 { return d / 3 }
	best := documented[5].ratio
	first := runOf(third, func(d float64) float64 {
		if d == best {
			return d
		}
		return d / 3
	})
	measured := 0
	verdicts, err := Judge(func(workloads []result.Workload) (*result.Run, error) {
		if measured++; measured == 1 {
			return first, nil
		}
		if len(workloads) != len(documented)-1 || slices.Contains(workloads, documented[5].workload) {
			t.Errorf("measures %v again", workloads)
		}
		return runOf(third, func(d float64) float64 { return d }), nil
	})
	if err != nil || measured != 2 {
		t.Fatalf("measured %d times, %v", measured, err)
	}
	for _, v := range verdicts {
		if v.Failed() {
			t.Errorf("%s failed: %+v", v.Workload, v)
		}
	}
}

// TestIncomplete wants an error of a run that cannot be judged.
func TestIncomplete(t *testing.T) {
	if _, err := Judge(always(new(result.Run))); err == nil {
		t.Error("nothing was run, and all is well")
	}
	r := runOf(func(d float64) float64 { return d }, func(d float64) float64 { return d })
	r.Phases = r.Phases[1:]
	if _, err := Judge(always(r)); err == nil {
		t.Error("a phase of the baseline is missing, and all is well")
	}
}
