package mutant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A trial is one run of a suite.
type trial struct {
	killed bool
	by     string // how the suite noticed
	took   time.Duration
}

func (tr trial) String() string {
	if !tr.killed {
		return fmt.Sprintf("survived, %.1f s", tr.took.Seconds())
	}
	return fmt.Sprintf("killed by %s, %.1f s", tr.by, tr.took.Seconds())
}

// hangs is how long a suite may run: a hundred times what it takes on a machine that has
// nothing else to do.
const hangs = 4 * time.Minute

// try runs the suite of m on a product with m in it. An error says that it could
// not be tried.
func (m *mutant) try(t testing.TB, root string) (trial, error) {
	dir := t.TempDir()
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return trial{}, err
	}
	bin := filepath.Join(dir, "suite")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-o", bin, "-overlay", overlay, "-tags", m.tags, "-ldflags", "-s -w", m.pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return trial{}, fmt.Errorf("build: %w\n%s", err, out)
	}
	// A suite that hangs ends itself, with a dump; else it is killed.
	ctx, cancel := context.WithTimeout(t.Context(), hangs+10*time.Second)
	defer cancel()
	run := exec.CommandContext(ctx, bin, "-test.v", "-test.failfast", "-test.run", m.pattern(), "-test.timeout", hangs.String())
	run.Dir = filepath.Join(root, m.pkg)
	run.Env = append(usualEffort(), "TMPDIR="+dir)
	run.WaitDelay = time.Second
	began := time.Now()
	out, err := run.CombinedOutput()
	tr := trial{took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && t.Context().Err() == nil:
		tr.killed, tr.by = true, "a hang"
	case errors.As(err, &exit):
		tr.killed = true
		if tr.by = cause(out); tr.by == "" {
			return trial{}, fmt.Errorf("run: %w, with no test that failed\n%s", err, out)
		}
	case err != nil:
		return trial{}, fmt.Errorf("run: %w", err)
	default:
		return tr, m.ran(out)
	}
	return tr, nil
}

// control runs the suite on the product as it is. The go command keeps the result
// as long as nothing of it changes.
func (s suite) control(t testing.TB, root string) error {
	run := exec.CommandContext(t.Context(), "go", "test", "-v", "-vet=off", "-run", s.pattern(), "-timeout", "5m", "-tags", s.tags, s.pkg)
	run.Dir = root
	run.Env = usualEffort()
	out, err := run.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return s.ran(out)
}

func (s suite) pattern() string { return "^(" + s.run + ")$" }

// ran returns an error unless out, which is of a suite that passed, has each of its
// tests: one that was skipped, or is not there, notices nothing.
func (s suite) ran(out []byte) error {
	for name := range strings.SplitSeq(s.run, "|") {
		if !bytes.Contains(out, []byte("--- PASS: "+name+" ")) {
			return fmt.Errorf("%s of %s has not run\n%s", name, s.pkg, out)
		}
	}
	return nil
}

// usualEffort is the environment without what says how long tests search: a mutant
// must be noticed in a run of all tests.
func usualEffort() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FAULTLINE_") {
			env = append(env, v)
		}
	}
	return env
}

var (
	failed  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	died    = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*|SIG[A-Z]+: .*|unexpected fault address .*)$`)
	running = regexp.MustCompile(`(?m)^=== RUN +(\S+)`)
)

// cause returns what a failed suite says of its end: the test, and that it was a
// panic if it was one.
func cause(out []byte) string {
	name := ""
	if at := failed.FindSubmatch(out); at != nil {
		name = string(at[1])
	} else if at := running.FindAllSubmatch(out, -1); at != nil {
		name = string(at[len(at)-1][1])
	}
	if p := died.FindSubmatch(out); p != nil && name != "" {
		return fmt.Sprintf("%s (%.60s)", name, p[1])
	}
	return name
}
