package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCampaigns asks the go command for the tests of every campaign: one that was
// renamed must not end as a campaign that tests nothing.
func TestCampaigns(t *testing.T) {
	for _, c := range campaigns {
		want := c.run
		if c.fuzz != "" {
			want = "^" + c.fuzz + "$"
		}
		cmd := exec.Command("go", "test", "-tags="+c.tags, "-list="+want, "./"+c.dir)
		cmd.Dir = filepath.Join("..", "..")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
		if !bytes.HasPrefix(out, []byte("Test")) && !bytes.HasPrefix(out, []byte("Fuzz")) {
			t.Errorf("%s: no test matches %s in %s", c.name, want, c.dir)
		}
	}
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
