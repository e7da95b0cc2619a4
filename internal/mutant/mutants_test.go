package mutant

import (
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faultline/internal/campaign"
)

func rootDir(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestMutants tries the mutants in testdata: a fifth of them, by turns of days, all with
// FAULTLINE_SCALE=5. A suite must notice the one that it
// is named for, by a test that fails, a panic, or a hang, and pass on the product as it
// is, which is the control. A mutant that is said to be harmless must survive, so
// that the reason that is given for it is tested too. All mutants must fit the source,
// those that are not tried in this run as well.
func TestMutants(t *testing.T) {
	root := rootDir(t)
	all, err := readMutants()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if _, err := m.apply(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	today := uint64(time.Now().Unix()) / (24 * 60 * 60)
	chosen := choose(all, campaign.Seed(t)+today, campaign.Scale(t, (len(all)+4)/5))
	t.Logf("turn %d", today)
	var killed, harmless, survived atomic.Int64
	t.Run("trials", func(t *testing.T) {
		for _, s := range suites(chosen) {
			t.Run("control/"+s.pkg+s.tags, func(t *testing.T) {
				t.Parallel()
				if err := s.control(t, root); err != nil {
					t.Error(err)
				}
			})
		}
		for _, m := range chosen {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				tr, err := m.try(t, root)
				if err != nil {
					t.Fatal(err)
				}
				t.Log(tr)
				switch {
				case tr.killed && m.harmless != "":
					t.Errorf("%s, %s, and it is said to be harmless: %s", m.what, tr, m.harmless)
				case tr.killed:
					killed.Add(1)
				case m.harmless != "":
					harmless.Add(1)
				default:
					survived.Add(1)
					t.Errorf("%s: %s. No test notices: %s", m.what, tr, m.costs)
				}
			})
		}
	})
	t.Logf("%d mutants of %d: %d killed, %d harmless, %d survived", len(chosen), len(all), killed.Load(), harmless.Load(), survived.Load())
}

// choose returns n of all, or all, at even distances, the first of them number seed.
func choose(all []*mutant, seed uint64, n int) (chosen []*mutant) {
	n = min(n, len(all))
	for i := range n {
		chosen = append(chosen, all[(int(seed%uint64(len(all)))+i*len(all)/n)%len(all)])
	}
	return chosen
}

// suites returns the tests that the mutants name, all of a package as one.
func suites(of []*mutant) (all []suite) {
	for _, m := range of {
		i := slices.IndexFunc(all, func(s suite) bool { return s.pkg == m.pkg && s.tags == m.tags })
		if i < 0 {
			all, i = append(all, suite{pkg: m.pkg, tags: m.tags}), len(all)
		}
		names := strings.Split(m.run, "|")
		if all[i].run != "" {
			names = append(names, strings.Split(all[i].run, "|")...)
		}
		slices.Sort(names)
		all[i].run = strings.Join(slices.Compact(names), "|")
	}
	return all
}

// TestTrial is the control of TestMutants: a mutant that changes nothing must
// survive; one that cannot be built, or does not fit the source, must not count as
// killed, nor one whose test is not there as having survived.
func TestTrial(t *testing.T) {
	root := rootDir(t)
	const file, old = "server/resp/writer.go", "\t\"strconv\"\n)\n"
	for _, c := range []struct {
		name, old, new, run string
		want                string // of the error
	}{
		{"comment", old, old + "// the same\n", "TestWriter", ""},
		{"panic", old, old + "func init() { panic(0) }\n", "TestWriter", "with no test that failed"},
		{"no Go", old, old + "import 1\n", "TestWriter", "build"},
		{"not there", "import 1\n", old, "TestWriter", "0 times"},
		{"twice", "\n", "\n\n", "TestWriter", "times, want once"},
		{"no test", old, old + "// the same\n", "TestNone", "has not run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := mutant{suite: suite{pkg: "./server/resp", run: c.run}, edits: []edit{{file, c.old, c.new}}}
			tr, err := m.try(t, root)
			if tr.killed || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, error %v, want one with %q", tr, err, c.want)
			}
		})
	}
	if err := (suite{pkg: "./server/resp", run: "TestNone"}).control(t, root); err == nil {
		t.Error("control without a test: no error")
	}
	if _, err := parseMutant("x", []byte("What: x\nHowl: y\n")); err == nil {
		t.Error("mutant without a suite: no error")
	}
}
