package bench

import (
	"slices"
	"strings"
	"testing"
)

func TestParseWorkloads(t *testing.T) {
	for _, test := range []struct {
		list string
		want []Workload
		err  string // a part of it
	}{
		{list: "fillseq", want: []Workload{{Name: "fillseq", Threads: 2}}},
		{list: "fillsync,fillsync@16", want: []Workload{{Name: "fillsync", Threads: 2}, {Name: "fillsync", Threads: 16}}},
		{list: "readseq, seekrandom@1", want: []Workload{{Name: "readseq", Threads: 2}, {Name: "seekrandom", Threads: 1}}},
		{list: "fillsync@1024", want: []Workload{{Name: "fillsync", Threads: 1024}}},
		{list: "", err: `unknown workload ""`},
		{list: "fillseq,", err: `unknown workload ""`},
		{list: "readall", err: `unknown workload "readall": have fillseq`},
		{list: "@4", err: `unknown workload ""`},
		{list: "fillsync@", err: `workload "fillsync@": want 1 to 1024`},
		{list: "fillsync@x", err: `workload "fillsync@x"`},
		{list: "fillsync@0", err: `workload "fillsync@0"`},
		{list: "fillsync@-1", err: `workload "fillsync@-1"`},
		{list: "fillsync@1025", err: `workload "fillsync@1025"`},
		{list: "fillsync@1@2", err: `workload "fillsync@1@2"`},
	} {
		got, err := ParseWorkloads(strings.Split(test.list, ","), 2)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: error %v, want %s", test.list, err, test.err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: %v, %v, want %v", test.list, got, err, test.want)
		}
	}
	for _, threads := range []int{0, -1, maxThreads + 1} {
		if _, err := ParseWorkloads([]string{"fillseq"}, threads); err == nil {
			t.Errorf("%d threads: no error", threads)
		}
	}
}

// TestOps checks how many operations each workload does of how many keys.
func TestOps(t *testing.T) {
	for _, test := range []struct {
		n, threads int
		want       map[string]int
	}{
		{1_000_000, 1, map[string]int{
			"fillseq": 1_000_000, "fillbatch": 999_999, "fillsync": 10_000, "readseq": 1_000_000, "seekrandom": 100_000, "ycsba": 1_000_000, "ycsbe": 100_000,
		}},
		{1500, 4, map[string]int{"fillseq": 1500, "fillbatch": 1500, "fillsync": 4000, "readseq": 6000, "seekrandom": 1000}},
		{500, 4, map[string]int{"fillseq": 500, "fillbatch": 498, "fillsync": 2000, "readseq": 2000, "seekrandom": 500}},
		{1, 1, map[string]int{"fillseq": 1, "fillbatch": 3, "fillsync": 1, "readseq": 1, "seekrandom": 1}},
	} {
		c := Config{N: test.n, BatchEntries: 3}
		for name, want := range test.want {
			if got := opsOf(Workload{Name: name, Threads: test.threads}, &c); got != want {
				t.Errorf("%s@%d of %d keys: %d operations, want %d", name, test.threads, test.n, got, want)
			}
		}
	}
}
