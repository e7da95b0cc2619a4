package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCampaigns looks for the tests of every campaign: one that was renamed must
// not end as a campaign that tests nothing. And each fuzzer has its campaign.
func TestCampaigns(t *testing.T) {
	fuzzed := map[string]bool{}
	for _, c := range campaigns {
		want := c.run
		if c.fuzz != "" {
			want = "^" + c.fuzz + "$"
			fuzzed[c.fuzz] = true
		}
		if !slices.ContainsFunc(functions(t, c.dir), regexp.MustCompile(want).MatchString) {
			t.Errorf("%s: no test matches %s in %s", c.name, want, c.dir)
		}
	}
	for _, dir := range []string{"flusher", "server", "server/resp", "store", "store/tree", "store/wal"} {
		for _, name := range functions(t, dir) {
			if strings.HasPrefix(name, "Fuzz") && !fuzzed[name] {
				t.Errorf("%s in %s is in no campaign", name, dir)
			}
		}
	}
}

var function = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// functions are the tests and fuzzers of a package.
func functions(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range function.FindAllSubmatch(src, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}

// TestFigures reads the output of tests.
func TestFigures(t *testing.T) {
	out := "=== RUN   TestX\n    x_test.go:12: 42 states, 0 lost\n    x_test.go:13: no figure\n--- PASS: TestX (0.01s)\n" +
		"fuzz: elapsed: 0s, execs: 10 (3/sec)\nfuzz: elapsed: 3s, execs: 99 (30/sec), new interesting: 1\n"
	if got := figures([]byte(out[:strings.Index(out, "fuzz")])); !slices.Equal(got, []string{"42 states, 0 lost"}) {
		t.Errorf("figures of a test: %q", got)
	}
	if got := figures([]byte(out[strings.Index(out, "fuzz"):])); !slices.Equal(got, []string{"execs: 99"}) {
		t.Errorf("figures of a fuzzer: %q", got)
	}
}

// TestFailure soaks with a go command that fails: the error must say so, and the
// output must be kept.
func TestFailure(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho 'a_test.go:1: wrong'\necho \"seed $FAULTLINE_SEED\"\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	dir := t.TempDir()
	c := command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetArgs([]string{"--hours", "0.0001", "--only", "log", "--seed", "7", "--dir", dir})
	err := c.ExecuteContext(t.Context())
	if err == nil || !strings.Contains(err.Error(), "failed") || !strings.Contains(out.String(), "FAIL") {
		t.Errorf("soak: %v\n%s", err, out.Bytes())
	}
	kept, err := os.ReadFile(filepath.Join(dir, "log-7.txt"))
	if err != nil || !strings.Contains(string(kept), "seed 7") {
		t.Errorf("kept output: %q, %v", kept, err)
	}
}
