// Package model has models of the page protocol and of recovery, the .pml files,
// and runs spin on them. It has tests only.
package model

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A variant is a model with switches. Each .pml file says what its own do.
type variant struct {
	model string
	flags string
	found string // assertions of which spin must find one broken; empty: no error
}

// data are the assertions that say what happens to the data. A broken variant must
// come to one of these; EFFECTS leaves out the invariants that it breaks first.
const data = "no_lost_update no_torn_cut applied_once none_lost exact_prefix"

// variants begins with what takes longest.
var variants = []variant{
	{"mkwrite", "", ""},
	{"mkwrite", "OPS=1 AHEAD=2 ROUNDS=1", ""},
	{"mkwrite", "OPS=1 FAILS=1", ""},
	{"mkwrite", "EFFECTS OPS=1 MARKFIRST", ""},
	{"mkwrite", "OPS=1 EVICTS=1", ""},
	{"mkwrite", "OPS=1 EVICTS=2 ROUNDS=1", ""},
	{"mkwrite", "OPS=1 EVICTS=1 ROUNDS=1 DROPFIRST", ""},
	{"mkwrite", "OPS=1 FAILS=1 EVICTS=1 ROUNDS=1 FRESH", ""},

	{"mkwrite", "EFFECTS DROPLOCK", "no_torn_cut"},
	{"mkwrite", "EFFECTS STEPLOCK", "no_torn_cut"},
	{"mkwrite", "EFFECTS NOCAPTURE", "no_torn_cut"},
	{"mkwrite", "EFFECTS CUTISAHEAD", "no_torn_cut"},
	{"mkwrite", "EFFECTS OPENGATE", data},
	{"mkwrite", "EFFECTS LATEPROTECT", data},
	{"mkwrite", "EFFECTS PLAINLOAD", "no_lost_update"},
	{"mkwrite", "EFFECTS RESTART", "applied_once"},
	{"mkwrite", "EFFECTS READERDIRTY", data},
	{"mkwrite", "EFFECTS OPS=1 EVICTS=1 EVICTUNLOCKED", data},
	{"mkwrite", "EFFECTS OPS=1 EVICTS=1 EVICTLATE", data},
	{"mkwrite", "EFFECTS OPS=1 EVICTS=1 EVICTDIRTY", data},
	{"mkwrite", "EFFECTS OPS=1 EVICTS=1 EVICTFLIGHT", data},
	{"mkwrite", "EFFECTS OPS=1 EVICTS=1 BARELOAD", data},
	{"mkwrite", "EFFECTS OPS=1 EVICTS=1 READFIRST", data},

	// The invariants are broken where they should be.
	{"mkwrite", "DROPLOCK", "writable_is_dirty"},
	{"mkwrite", "OPS=1 AHEAD=2 ROUNDS=1 AHEADISCUT", "never_panics heads_given_back dirty_has_head"},
	{"mkwrite", "WRITTENBLIND", "writable_is_dirty heads_given_back"},
	{"mkwrite", "MARKFIRST LATEPROTECT", "writable_is_dirty no_trap_in_phase_2"},
	{"mkwrite", "OPS=1 EVICTS=1 EVICTLATE", "never_panics absent_is_missing"},
	{"mkwrite", "OPS=1 EVICTS=1 BARELOAD", "writable_is_dirty"},
	{"mkwrite", "OPS=1 FAILS=1 ROUNDS=1 FRESH HEADKEPT", "heads_given_back"},
	{"round", "NOLOGSYNC", "log_has_cut"},
	{"round", "UNSYNCEDJOURNAL", "never_corrupt"},

	{"round", "", ""},
	{"round", "CRASHES=2 TRIMAFTERB", ""},

	{"round", "EFFECTS NOLOGSYNC", data},
	{"round", "EFFECTS NOJOURNAL", data},
	{"round", "EFFECTS NOJOURNALSYNC", data},
	{"round", "EFFECTS NOSUM", data},
	{"round", "EFFECTS NODATASYNC", data},
	{"round", "EFFECTS EARLYCLEAR", data},
	{"round", "EFFECTS EARLYTRIM", "none_lost"},
	{"round", "EFFECTS EARLYACK", "none_lost"},
	{"round", "EFFECTS REPLAYTWICE", data},
	{"round", "EFFECTS STALECUT", data},
	{"round", "EFFECTS UNSYNCEDLOG", data},
	{"round", "EFFECTS UNSYNCEDJOURNAL", data},
	{"round", "EFFECTS NOCUT", data},
}

// TestModels shows that the protocol keeps its promises in every order of steps
// that its model has, and that spin notices when a step is left out or moved: each
// search of a right variant must be complete, each broken one must end with an
// assertion that says what it does.
func TestModels(t *testing.T) {
	spin, cc := tool(t, "spin"), tool(t, "cc")
	for _, v := range variants {
		t.Run(strings.TrimSpace(v.model+" "+v.flags), func(t *testing.T) {
			t.Parallel()
			r := v.search(t, spin, cc)
			t.Logf("%s: %d states, depth %d", r, r.states, r.depth)
			switch {
			case v.found == "" && r.broken != "":
				t.Errorf("%s is broken\n%s", r.broken, r.trail)
			case v.found == "" && !r.complete:
				t.Errorf("no complete search:\n%s", r.output)
			case v.found != "" && !contains(v.found, r.broken):
				t.Errorf("%s, want one of: %s\n%s", r, v.found, r.output)
			}
		})
	}
}

func contains(words, word string) bool {
	for _, w := range strings.Fields(words) {
		if w == word {
			return true
		}
	}
	return false
}

// tool returns the path of a program. In CI it must be there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%v: apt-get install spin gcc", err)
	default:
		t.Skipf("%v: apt-get install spin gcc", err)
	}
	return path
}

const (
	// depthLimit is of the search, in steps; the longest path has some 400.
	depthLimit = 10_000
	// memoryLimit is of one search, in MiB.
	memoryLimit = 1500
)

// A result is what one search has found.
type result struct {
	states, depth int
	complete      bool
	broken        string // the assertion, or what else spin calls an error
	output, trail string
}

func (r *result) String() string {
	if r.broken == "" {
		return "no error"
	}
	return r.broken + " is broken"
}

var (
	statesRE = regexp.MustCompile(`(?m)^ *(\d+) states, stored`)
	resultRE = regexp.MustCompile(`depth reached (\d+), errors: (\d+)`)
	brokenRE = regexp.MustCompile(`(?m)^pan:1: (?:assertion violated +(\w+) |(.*))`)
	// incomplete is what pan says of a search that has left something out.
	incomplete = regexp.MustCompile(`search not completed|max search depth too small|out of memory|memory limit|(?i)hash table full`)
)

// search makes the program of a variant and runs it.
func (v variant) search(t *testing.T, spin, cc string) *result {
	t.Helper()
	dir := t.TempDir()
	model, err := filepath.Abs(v.model + ".pml")
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
		}
		return string(out)
	}

	var switches []string
	for _, f := range strings.Fields(v.flags) {
		switches = append(switches, "-D"+f)
	}
	if out := run(spin, append(switches, "-a", model)...); strings.Contains(out, "rror") {
		t.Fatalf("spin -a: %s", out)
	}
	optimize, args := "-O1", []string{fmt.Sprintf("-m%d", depthLimit), "-n", "-w20"}
	if v.flags != "" {
		optimize = "-O0" // the search takes less time than a better compiler would
	}
	if contains(v.flags, "EFFECTS") {
		args = append(args, "-E") // a process that panics does not go on: no deadlock
	}
	run(cc, optimize, "-w", "-DSAFETY", fmt.Sprintf("-DMEMLIM=%d", memoryLimit), "-o", "pan", "pan.c")
	r := &result{output: run(filepath.Join(dir, "pan"), args...)}

	m := resultRE.FindStringSubmatch(r.output)
	s := statesRE.FindStringSubmatch(r.output)
	if m == nil || s == nil {
		t.Fatalf("what pan says is not understood:\n%s", r.output)
	}
	fmt.Sscan(m[1], &r.depth)
	fmt.Sscan(s[1], &r.states)
	r.complete = m[2] == "0" && !incomplete.MatchString(r.output)
	if b := brokenRE.FindStringSubmatch(r.output); b != nil {
		r.broken = b[1] + b[2]
		if v.found == "" {
			r.trail = run(spin, append(switches, "-k", v.model+".pml.trail", "-p", model)...)
		}
	}
	return r
}
