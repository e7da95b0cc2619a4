package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
		{"--n 0", exitUsage, "n is 0"},
		{"--engines rocks", exitUsage, `unknown engine "rocks"`},
		{"--workloads fillall", exitUsage, `unknown workload "fillall"`},
		{"--threads 0", exitUsage, "threads is 0"},
		{"--memory lots", exitUsage, `"lots" for --memory`},
		{"--memory 1KiB", exitUsage, "memory is 1.0 KiB"},
		{"--pebble-memtable 0", exitUsage, `"0" for --pebble-memtable`},
		{"--dir no/such/dir", exitUsage, `dir is "no/such/dir"`},
		{"--json no/such/dir/f", exitUsage, "--json: open no/such/dir/f"},
		{"--workloads fillseq --n 10 --reps 1 --cpuprofile no/such/dir/f", exitFailed, "cpu profile: open no/such/dir/f"},
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

// TestSmallRun runs the whole command: a table, a JSON file, and no progress
// line where there is no terminal.
func TestSmallRun(t *testing.T) {
	figures := filepath.Join(t.TempDir(), "figures.json")
	// A longer file that is there already is replaced.
	if err := os.WriteFile(figures, bytes.Repeat([]byte("x"), 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	args := []string{"--n", "1000", "--reps", "1", "--workloads", "fillseq,readrandom@2", "--dir", t.TempDir(), "--json", figures}
	if code := kvbench(t.Context(), args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, %s", code, stderr.String())
	}
	if !strings.HasPrefix(stdout.String(), "| workload ") {
		t.Errorf("no table: %s", stdout.String())
	}
	text, err := os.ReadFile(figures)
	if err != nil || !json.Valid(text) {
		t.Errorf("figures: %v, valid JSON %t", err, json.Valid(text))
	}
}
