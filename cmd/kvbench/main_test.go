package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"faultline/cmd/kvbench/internal/result"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain has the test binary be kvbench where kvbench, or a script, has started it.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && (os.Args[1] == childCommand || os.Args[1] == writeCommand) {
		main()
	}
	testscript.Main(m, map[string]func(){"kvbench": main})
}

// TestScripts runs testdata: command lines, their exit status and their output.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// TestCommandLine checks exit codes, and that an error is one line that says
// what is wrong.
func TestCommandLine(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		args string
		code int
		want string // on standard error
	}{
		{"--bogus", exitUsage, "unknown flag: --bogus"},
		{"frobnicate", exitUsage, `unknown command "frobnicate"`},
		{"faults more", exitUsage, `unknown command "more"`},
		{"--n many", exitUsage, `"many" for "--n"`},
		{"--n 0", exitUsage, "--n is 0"},
		{"--engines rocks", exitUsage, `unknown engine "rocks"`},
		{"--workloads fillall", exitUsage, `unknown workload "fillall"`},
		{"--threads 0", exitUsage, "--threads is 0"},
		{"--memory lots", exitUsage, `"lots" for "--memory" flag: want a size`},
		{"--memory 2PiB", exitUsage, `"2PiB" for "--memory" flag: want at most 1.0 PiB`},
		{"--pebble-memtable 0B", exitUsage, `"0B" for "--pebble-memtable" flag: want more than 0`},
		{"--value-size 1.9", exitUsage, `"1.9" for "--value-size" flag: want whole bytes`},
		{"--value-size 0 --value-size 1.5KiB --n 0", exitUsage, "--n is 0"},
		{"--memory 1KiB", exitUsage, "--memory is 1.0 KiB"},
		{"--pebble-memtable -1", exitUsage, `"-1" for "--pebble-memtable"`},
		{"--value-size 1GiB", exitUsage, "--value-size is 1073741824: want 0 to 16 MiB"},
		{"--rate -1", exitUsage, "--rate is -1"},
		{"--rate NaN", exitUsage, "--rate is NaN"},
		{"--rate fast", exitUsage, `"fast" for "--rate"`},
		{"--warmup -1s", exitUsage, "--warmup is -1s"},
		{"--batch 0", exitUsage, "--batch is 0"},
		{"--distribution normal", exitUsage, `--distribution is "normal": want one of [uniform zipfian latest]`},
		{"--engines redis", exitUsage, "want --redis-addr"},
		{"--engines redis --redis-addr no/such/socket", exitFailed, "engine redis: dial unix no/such/socket"},
		{"guard more", exitUsage, `unknown command "more"`},
		{"guard --n 0", exitUsage, "--n is 0"},
		{"guard --dir no/such/dir", exitUsage, `--dir is "no/such/dir"`},
		{"--dir no/such/dir", exitUsage, `--dir is "no/such/dir"`},
		{"--json no/such/dir/f", exitUsage, "--json: open no/such/dir/f"},
		{"--benchfmt no/such/dir/f", exitUsage, "--benchfmt: open no/such/dir/f"},
		{"--html no/such/dir/f", exitUsage, "--html: open no/such/dir/f"},
		{"--json f --html f", exitUsage, "--json and --html both name f"},
		{"--html ./f --benchfmt f", exitUsage, "--html and --benchfmt both name f"},
		{"--json /dev/null", exitUsage, "--json: /dev/null is there and no regular file"},
		{"report", exitUsage, "at least 1 arg"},
		{"report no/such/file", exitUsage, "open no/such/file"},
		{"report /dev/null", exitUsage, "/dev/null: decode results"},
		{"ltm more", exitUsage, `unknown command "more"`},
		{"ltm --bogus", exitUsage, "unknown flag: --bogus"},
		{"ltm --engines rocks", exitUsage, `unknown engine "rocks": have faultline, pebble, bbolt`},
		{"ltm --workloads fillseq", exitUsage, `unknown workload "fillseq"`},
		{"ltm --memory lots", exitUsage, `"lots" for "--memory"`},
		{"ltm --memory 1MiB", exitUsage, "--memory is 1.0 MiB"},
		{"ltm --data-factor 0", exitUsage, "0 for --data-factor"},
		{"ltm --data-factor NaN", exitUsage, "NaN for --data-factor"},
		{"ltm --data 1B", exitUsage, "the data is 1 B, which is 0 keys"},
		{"ltm --data 0", exitUsage, `"0" for "--data" flag: want more than 0`},
		{"ltm --cgroup 0", exitUsage, `"0" for "--cgroup" flag: want more than 0`},
		{"ltm --memory 1000TiB --data-factor 999999", exitUsage, "999999 for --data-factor: want above 0, and data of at most 1.0 PiB"},
		{"big --data-factor 0.000001", exitUsage, "the data is 536 B"},
		{"big --memory 1PiB --data 1B", exitUsage, "the data is 1 B"},
		{"ltm --cgroup 1MiB", exitUsage, "--cgroup is 1.0 MiB"},
		{"ltm --cgroup 64MiB --no-cgroup", exitUsage, "[cgroup no-cgroup]"},
		{"ltm --data 1GiB --data-factor 2", exitUsage, "[data data-factor]"},
		{"ltm --load slow", exitUsage, `"slow" for --load: want random or sequential`},
		{"ltm --pebble-memtable none", exitUsage, `"none" for "--pebble-memtable"`},
		{"ltm --json no/such/dir/f", exitUsage, "--json: open no/such/dir/f"},
		{"ltm --series no/such/dir/f", exitUsage, "--series: open no/such/dir/f"},
		{"ltm --series f --json f", exitUsage, "--series and --json both name f"},
		{"big --dir no/such/dir", exitUsage, `--dir is "no/such/dir"`},
		{"--cpuprofile no/such/dir/f", exitUsage, `--cpuprofile is "no/such/dir/f"`},
	} {
		var stdout, stderr bytes.Buffer
		code := kvbench(t.Context(), strings.Fields(test.args), &stdout, &stderr)
		if code != test.code || stdout.Len() > 0 {
			t.Errorf("%s: exit %d and %q, want %d and nothing", test.args, code, stdout.String(), test.code)
		}
		if got := stderr.String(); !strings.Contains(got, test.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q, want one line with %s", test.args, got, test.want)
		}
	}
}

// TestNothingMeasured interrupts runs before they have measured anything: they say so, and
// what was in their files stays.
func TestNothingMeasured(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("old.json", []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{"--n 10", "ltm --no-cgroup --memory 16MiB --series new.csv"} {
		var stdout, stderr bytes.Buffer
		code := kvbench(ctx, strings.Fields(args+" --json old.json --html new.html"), &stdout, &stderr)
		if code != exitFailed || stdout.Len() > 0 || stderr.String() != "kvbench: interrupted before anything was measured\n" {
			t.Errorf("%s: exit %d, %q and %q", args, code, stdout.String(), stderr.String())
		}
	}
	if text, err := os.ReadFile("old.json"); err != nil || string(text) != "old" {
		t.Errorf("the old file has %q, %v", text, err)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 1 {
		t.Errorf("there are %v, %v, want the old file alone", files, err)
	}
}

// TestKept checks that what a run has measured so far can be read, also over a link, and that a
// form that cannot be made leaves what was there.
func TestKept(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("run.json", nil, 0o666), os.Symlink("run.json", "link")); err != nil {
		t.Fatal(err)
	}
	o := outputs{json: output{"json", "link"}}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	o.keep(&result.Run{Format: result.Format})
	broken := errors.New("broken")
	if err := o.json.save(func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	var stdout, stderr bytes.Buffer
	if code := kvbench(t.Context(), []string{"report", "run.json"}, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "had not ended") {
		t.Errorf("exit %d, %s%s", code, &stdout, &stderr)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 2 {
		t.Errorf("there are %v, %v, want the file and its link", files, err)
	}
}

// TestSmallRun runs the whole command: a table, a JSON file, and no progress
// line where there is no terminal.
func TestSmallRun(t *testing.T) {
	figures := filepath.Join(t.TempDir(), "figures.json")
	// A longer file that is there already is replaced.
	if err := os.WriteFile(figures, bytes.Repeat([]byte("x"), 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	lines := filepath.Join(t.TempDir(), "lines.txt")
	args := []string{
		"--n", "1000", "--reps", "1", "--duration", "0", "--workloads", "fillseq,readrandom@2", "--engines", "faultline,pebble",
		"--dir", t.TempDir(), "--json", figures, "--benchfmt", lines,
	}
	if code := kvbench(t.Context(), args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, %s", code, stderr.String())
	}
	if !strings.HasPrefix(stdout.String(), "| workload ") {
		t.Errorf("no table: %s", stdout.String())
	}

	// The file has all that the report was made of.
	linesAgain := filepath.Join(t.TempDir(), "again.txt")
	var again bytes.Buffer
	if code := kvbench(t.Context(), []string{"report", figures, "--benchfmt", linesAgain}, &again, &stderr); code != 0 {
		t.Fatalf("exit %d, %s", code, stderr.String())
	}
	if again.String() != stdout.String() {
		t.Errorf("report of the file is\n%s\nwant\n%s", again.String(), stdout.String())
	}
	one, err := os.ReadFile(lines)
	if err != nil || bytes.Count(one, []byte("\nBenchmarkKV/")) != 4 {
		t.Errorf("lines: %v, %s", err, one)
	}
	if two, err := os.ReadFile(linesAgain); err != nil || !bytes.Equal(one, two) {
		t.Errorf("lines of the file: %v, %s", err, two)
	}
}

// TestLargerThanMemory runs the whole command with processes of its own: tables, figures,
// and a series with its drawing.
func TestLargerThanMemory(t *testing.T) {
	dir := t.TempDir()
	figures, series := filepath.Join(dir, "figures.json"), filepath.Join(dir, "series.csv")
	args := []string{
		"big", "--engines", "pebble", "--memory", "16MiB", "--data", "1MiB", "--no-cgroup", "--workloads", "mixed@2",
		"--warmup", "0s", "--duration", "100ms", "--kill-after", "10ms", "--dir", t.TempDir(), "--json", figures, "--series", series,
	}
	var stdout, stderr bytes.Buffer
	if code := kvbench(t.Context(), args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, %s", code, stderr.String())
	}
	if !strings.HasPrefix(stdout.String(), "| workload ") || strings.Count(stdout.String(), "| whole ") != 2 {
		t.Errorf("no tables, or not two whole stores: %s", stdout.String())
	}
	var again bytes.Buffer
	if code := kvbench(t.Context(), []string{"report", figures}, &again, &stderr); code != 0 || again.String() != stdout.String() {
		t.Errorf("exit %d, report of the file is\n%s\nwant\n%s", code, again.String(), stdout.String())
	}
	for _, name := range []string{series, filepath.Join(dir, "series-pebble-mixed@2-1.svg")} {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, want a file with something in it", name, err)
		}
	}
}
