package redis

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"faultline/integration/internal/rig"
)

// A tclUnit is a file of Redis's own test suite.
type tclUnit struct {
	name string // as runtest has it

	// spawned units start servers with a configuration of their own, by
	// testdata/tcl/redis-server: those of their tests run that the suite leaves
	// out when it is given a server.
	spawned bool

	// slow units have tests that run though they say of themselves that they take long.
	slow bool
}

var tclUnits = []tclUnit{
	{name: "unit/type/string"},
	{name: "unit/type/incr"},
	{name: "unit/expire"},
	{name: "unit/keyspace"},
	{name: "unit/multi"},
	{name: "unit/scan"},
	{name: "unit/protocol"},
	{name: "unit/slowlog"},
	{name: "unit/tracking"},
	{name: "unit/querybuf", slow: true},
	{name: "unit/quit"},
	{name: "unit/introspection"},
	{name: "unit/info", spawned: true},
	{name: "unit/auth", spawned: true},
	{name: "unit/limits", spawned: true},
}

// tclTags leave out what needs a replica, more memory than a test should take, or
// more time; and DEBUG and the limit of memory, which kvd does not have.
const tclTags = "-needs:repl -needs:debug -needs:save -needs:config-maxmemory -large-memory"

// expectations is where the tests are listed that are known to fail.
func (u tclUnit) expectations() string {
	name := strings.ReplaceAll(strings.TrimPrefix(u.name, "unit/"), "/", "-")
	if u.spawned {
		name += "-spawned"
	}
	return filepath.Join("testdata", "tcl", name+".txt")
}

// TestTcl runs the parts of Redis's own test suite that have to do with strings,
// keys, connections and transactions. Of each unit as many tests must pass as
// testdata/tcl says, and those must fail that are listed there, each below the
// reason why.
func TestTcl(t *testing.T) {
	suite := tclSuite(t)
	type run struct {
		unit   tclUnit
		result tclResult
		err    error
	}
	runs := make(chan run)
	base := reservePorts(t, 100*len(tclUnits))
	for i, u := range tclUnits {
		cmd := tclCommand(t, suite, u, base+100*i, readExpectations(t, u.expectations()).skipped)
		go func() {
			result, err := runTcl(cmd)
			runs <- run{u, result, err}
		}()
	}
	for range tclUnits {
		r := <-runs
		t.Run(strings.TrimSuffix(filepath.Base(r.unit.expectations()), ".txt"), func(t *testing.T) {
			if r.err != nil {
				t.Fatalf("%v\n%s", r.err, r.result.output)
			}
			readExpectations(t, r.unit.expectations()).compare(t, r.result)
		})
	}
}

// reservePorts returns the first of n ports below those that the kernel gives away, which
// no other run of this test has until this one ends: it listens on the one before.
func reservePorts(t *testing.T, n int) int {
	t.Helper()
	for before := 12_000; before+n < 32_768; before += n + 1 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(before)))
		if err == nil {
			t.Cleanup(func() { l.Close() })
			return before + 1
		}
	}
	t.Fatal("all ports are reserved")
	return 0
}

// tclSuite returns where the suite is. .ci/run takes it out of Debian's source
// package.
func tclSuite(t *testing.T) string {
	t.Helper()
	rig.Needs(t, "tclsh")
	dir := cmp.Or(os.Getenv("FAULTLINE_REDIS"), "/var/tmp/faultline-redis")
	rig.Needs(t, filepath.Join(dir, "runtest"))
	return dir
}

// tclCommand returns the command that runs a unit, in a copy of the suite, with
// a server of its own and with ports from base on, and leaves out some tests.
func tclCommand(t *testing.T, suite string, u tclUnit, base int, skipped []string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(suite)); err != nil {
		t.Fatal(err)
	}
	args := []string{"tests/test_helper.tcl", "--single", u.name, "--durable", "--ignore-encoding", "--ignore-digest",
		"--clients", "1", "--baseport", strconv.Itoa(base), "--portcount", "60"}
	for _, name := range skipped {
		args = append(args, "--skiptest", name)
	}
	tags := tclTags
	if !u.slow {
		tags += " -slow"
	}
	if u.spawned {
		spawnable(t, dir)
	} else {
		host, port, err := net.SplitHostPort(startKvd(t).addr)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "--host", host, "--port", port)
	}
	ctx, cancel := context.WithTimeout(context.Background(), watchdog)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "tclsh", append(args, "--tags", tags)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KVD="+kvdPath)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its servers too
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// spawnable puts programs in the place where the suite has those that it tests.
func spawnable(t *testing.T, dir string) {
	t.Helper()
	src := filepath.Join(dir, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	wrapper, err := filepath.Abs("testdata/tcl/redis-server")
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"redis-server":    wrapper,
		"redis-cli":       rig.Needs(t, "redis-cli"),
		"redis-benchmark": rig.Needs(t, "redis-benchmark"),
	} {
		if err := os.Symlink(target, filepath.Join(src, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// A tclResult is what the suite has printed of a unit.
type tclResult struct {
	passed  int
	failed  []string // names, sorted, once each
	skipped []string // as they were asked to be; sorted
	output  []byte
}

var (
	tclColors  = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	tclPassed  = regexp.MustCompile(`(?m)^\[ok\]: `)
	tclSkipped = regexp.MustCompile(`(?m)^\[skip\]: (.*)$`)
	tclFailed  = regexp.MustCompile(`(?m)^\[err\]: ((?s:.*?)) in tests/unit/\S+\.tcl$`)
)

// runTcl runs a unit to its end. Failing tests are no error.
func runTcl(cmd *exec.Cmd) (tclResult, error) {
	out, err := cmd.CombinedOutput()
	out = tclColors.ReplaceAll(out, nil)
	r := tclResult{passed: len(tclPassed.FindAll(out, -1)), output: out}
	for _, m := range tclFailed.FindAllSubmatch(out, -1) {
		r.failed = append(r.failed, oneLine(string(m[1])))
	}
	slices.Sort(r.failed)
	r.failed = slices.Compact(r.failed)
	for _, m := range tclSkipped.FindAllSubmatch(out, -1) {
		r.skipped = append(r.skipped, string(m[1]))
	}
	slices.Sort(r.skipped)
	exit := (*exec.ExitError)(nil)
	switch {
	case err != nil && !errors.As(err, &exit):
		return r, err
	case bytes.Contains(out, []byte("\n[exception]")):
		return r, errors.New("the suite has ended early")
	case bytes.Contains(out, []byte("All tests passed without errors!")), bytes.Contains(out, []byte("The following tests failed:")):
		return r, nil
	}
	return r, errors.New("the suite has not come to its end")
}

// oneLine makes the white space in the name of a test single blanks.
func oneLine(name string) string { return strings.Join(strings.Fields(name), " ") }

// tclExpectations are what testdata/tcl says of a unit: first "passed" and a number,
// then the names of tests that fail, each below a line of # and the reason. Those that
// stand behind "skip: " are not run: if they fail they leave things behind that make
// others fail, now and then.
type tclExpectations struct {
	passed          int
	failed, skipped []string
}

func readExpectations(t *testing.T, path string) (e tclExpectations) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if _, err := fmt.Sscanf(lines[0], "passed %d", &e.passed); err != nil {
		t.Fatalf("%s: first line: %v", path, err)
	}
	reason := false
	for _, line := range lines[1:] {
		switch {
		case line == "":
			reason = false
		case strings.HasPrefix(line, "#"):
			reason = true
		case !reason:
			t.Fatalf("%s: no reason why %q fails", path, line)
		case strings.HasPrefix(line, "skip: "):
			e.skipped = append(e.skipped, strings.TrimPrefix(line, "skip: "))
		default:
			e.failed = append(e.failed, line)
		}
	}
	slices.Sort(e.failed)
	slices.Sort(e.skipped)
	return e
}

// compare tells the test of all that is not as expected.
func (e tclExpectations) compare(t *testing.T, r tclResult) {
	t.Helper()
	for _, name := range r.failed {
		if !slices.Contains(e.failed, name) {
			t.Errorf("fails: %s", name)
		}
	}
	for _, name := range e.failed {
		if !slices.Contains(r.failed, name) {
			t.Errorf("does not fail, though it is listed: %s", name)
		}
	}
	if !slices.Equal(e.skipped, r.skipped) {
		t.Errorf("the suite has left out %q, want %q", r.skipped, e.skipped)
	}
	if e.passed != r.passed {
		t.Errorf("%d tests pass, want %d", r.passed, e.passed)
	}
	if t.Failed() {
		t.Logf("%s", r.output)
	}
}
