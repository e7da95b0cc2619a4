package integration

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"faultline/internal/campaign"
)

// kernelTests are what TestMachineKernel runs, by package: traps and protection
// themselves, then the protocol on top of them, then the store. An emulated
// processor is slow, so most of the tests are for the long run only.
var kernelTests = map[string][]string{
	"uffd": {
		"TestTrapAtomic", "TestWritable", "TestWritableManyRuns", "TestProbe", "TestTrap", "TestCopy", "TestZero", "TestProtectMissing",
		"TestDontneed", "TestCloseDropsProtection", "TestUnregister", "TestSystemCalls", "TestNoStoreAfterProtect", "TestDenied",
	},
	"pagemeta": {
		"TestAudit", "TestPanicOnFault", "TestNested", "TestPhaseTwo", "TestReaderNeverDirties",
	},
	"cmd/kvbench/internal/cgroup": {"TestGroup"}, // whose groups are those of version 2
}

// kernelTestsLong are what a long run has in addition. The storms collect garbage
// all the time.
var kernelTestsLong = map[string][]string{
	"pagemeta": {"TestOneMkwrite", "TestStorm", "TestStormControl", "TestTouches"},
	"store":    {"TestTraps", "TestStorm"},
}

// TestMachineKernel runs tests of the library in a whole machine, on each kernel
// that is there: so which is the oldest that works is seen. A kernel that has too
// little must be refused with an error that says so.
func TestMachineKernel(t *testing.T) {
	t.Parallel()
	all := kernels(t)
	run := maps.Clone(kernelTests)
	if campaign.Scale(t, 1) > 1 {
		for pkg, names := range kernelTestsLong {
			run[pkg] = slices.Concat(run[pkg], names)
		}
	}
	files := map[string][]byte{}
	for pkg, names := range run {
		folder := path.Join("tests", path.Base(pkg))
		files[folder+"/test"] = goBuild(t, "test", "-c", path.Join("faultline", pkg))
		files[folder+"/pattern"] = []byte("^(" + strings.Join(names, "|") + ")$")
	}
	for _, kernel := range all {
		t.Run(kernel.Release, func(t *testing.T) {
			c := newComputer(t, kernel, files)
			if !kernel.AtLeast(5, 11) {
				c.refused()
				return
			}
			c.passes(run)
		})
	}
}

// refused wants the store not to open, with a reason.
func (c *computer) refused() {
	c.t.Helper()
	s := c.start("role=store seed=1 life=0")
	s.finish()
	if !strings.Contains(s.refusal, "uffd: unavailable: the kernel is older than ") {
		c.t.Errorf("refused with %q", s.refusal)
	}
	c.t.Logf("1 kernel refused: %s", s.refusal)
}

// testResult is the line of a test, not of a part of it.
var testResult = regexp.MustCompile(`^--- (PASS|SKIP|FAIL): (\w+) `)

// passes wants each of the tests to pass, or to be skipped for what the kernel does
// not have, which is logged.
func (c *computer) passes(run map[string][]string) {
	c.t.Helper()
	s := c.start("role=tests")
	s.finish()
	results := map[string][]string{} // PASS, SKIP, FAIL: names
	for _, line := range s.console {
		if m := testResult.FindStringSubmatch(line); m != nil {
			results[m[1]] = append(results[m[1]], m[2])
		}
	}
	for pkg, names := range run {
		for _, name := range names {
			if !slices.Contains(results["PASS"], name) && !slices.Contains(results["SKIP"], name) {
				c.t.Errorf("%s of %s has not run", name, pkg)
			}
		}
	}
	c.t.Logf("%d tests passed, %d skipped for what the kernel does not have: %v; %s", len(results["PASS"]), len(results["SKIP"]), results["SKIP"], s.kernel)
}
