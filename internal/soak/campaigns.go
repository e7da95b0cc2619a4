package main

import (
	"slices"
	"strings"
)

// A campaign is a test, or a fuzzer, that searches.
type campaign struct {
	name  string
	dir   string  // package, from the root of the module
	run   string  // pattern of the tests
	fuzz  string  // name of a fuzzer instead
	tags  string  // build tags
	scale float64 // FAULTLINE_SCALE for some minutes
}

var campaigns = []campaign{
	{name: "explore", dir: "store", run: "^Test(Explore|FailingCalls)", scale: 10},
	{name: "powercut", dir: "store", run: "^Test(PowerCut|Kill|Storm)$", scale: 10},
	{name: "rounds", dir: "flusher", run: "^Test(Crash|Chain|StaleImages|JournalLost)$", scale: 10},
	{name: "log", dir: "store/wal", run: "^Test(Crash|ConcurrentCrash|Failure)$", scale: 10},
	{name: "traps", dir: "pagemeta", run: "^Test(Storm|StormControl)$", scale: 10},
	{name: "orders", dir: "pagemeta", run: "^Test(Orders|Explorer|Mutants)$", tags: "steps", scale: 10},
	{name: "flips", dir: "store", run: "^TestFlips", scale: 10},
	{name: "syscalls", dir: "integration", run: "^TestSyscallFaults", scale: 8},
	{name: "pressure", dir: "integration", run: "^Test(FullDisk|OOM|Pressure)", scale: 5},
	{name: "kill", dir: "integration", run: "^TestKill", scale: 10},
	{name: "exact", dir: "integration", run: "^TestExact$", scale: 10},
	{name: "ranges", dir: "store/tree", run: "^TestDeleteRange", scale: 20},
	{name: "ranges-replayed", dir: "store", run: "^Test(DeleteRange|LongReplayed)$", scale: 10},
	{name: "filesystems", dir: "integration", run: "^TestRealFS", scale: 13},
	{name: "machine", dir: "integration", run: "^TestMachinePowerCut", scale: 5},
	{name: "model", dir: "store", run: "^TestConformance$", scale: 100},
	{name: "client", dir: "client", run: "^TestConformance$", scale: 20},
	{name: "linear", dir: "integration", run: "^TestLinear", scale: 5},
	{name: "mutants", dir: "internal/mutant", run: "^TestMutants$", scale: 3},

	{name: "fuzz-resp", dir: "server/resp", fuzz: "FuzzReader"},
	{name: "fuzz-reply", dir: "server/resp", fuzz: "FuzzRoundTrip"},
	{name: "fuzz-glob", dir: "server", fuzz: "FuzzMatchGlob"},
	{name: "fuzz-double", dir: "server", fuzz: "FuzzLongDouble"},
	{name: "fuzz-connection", dir: "server", fuzz: "FuzzConnection"},
	{name: "fuzz-log", dir: "store/wal", fuzz: "FuzzReplay"},
	{name: "fuzz-tail", dir: "store/wal", fuzz: "FuzzTail"},
	{name: "fuzz-journal", dir: "flusher", fuzz: "FuzzJournal"},
	{name: "fuzz-journal-head", dir: "flusher", fuzz: "FuzzParseHead"},
	{name: "fuzz-tree", dir: "store/tree", fuzz: "FuzzTree"},
	{name: "fuzz-open", dir: "store", fuzz: "FuzzOpen"},
	{name: "fuzz-record", dir: "store", fuzz: "FuzzWrites"},
}

// names is a list of all of them.
func names() string {
	var s []string
	for _, c := range campaigns {
		s = append(s, c.name)
	}
	return strings.Join(s, ", ")
}

// chosen returns those of names, or all if there are no names, and the first name
// that there is not.
func chosen(names []string) (some []campaign, unknown string) {
	if len(names) == 0 {
		return campaigns, ""
	}
	for _, name := range names {
		i := slices.IndexFunc(campaigns, func(c campaign) bool { return c.name == name })
		if i < 0 {
			return nil, name
		}
		some = append(some, campaigns[i])
	}
	return some, ""
}
