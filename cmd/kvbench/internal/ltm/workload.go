package ltm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Workload is what a number of clients does at once to a loaded store.
type Workload struct {
	Name    string `json:"name"`
	Threads int    `json:"threads"`
}

func (w Workload) String() string { return fmt.Sprintf("%s@%d", w.Name, w.Threads) }

// A kind is what a name stands for: a client writes, reads, or does both by
// turns that a coin decides.
type kind struct {
	name  string
	share func(client int) float64 // of writes among a client's operations
	zipf  bool                     // reads have favourites
	scan  bool                     // reads from first to last instead
}

var kinds = []kind{
	{name: "readrandom", share: shareOf(0)},
	{name: "readzipf", share: shareOf(0), zipf: true},
	{name: "readseq", share: shareOf(0), scan: true},
	{name: "overwrite", share: shareOf(1)},
	{name: "mixed", share: shareOf(0.5)},
	{name: "readwrite", share: func(client int) float64 { return float64((client + 1) % 2) }},
}

func shareOf(f float64) func(int) float64 { return func(int) float64 { return f } }

// kind returns what the workload's name stands for.
func (w Workload) kind() *kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == w.Name })
	return &kinds[i] // ParseWorkloads has let it through
}

// writes tells whether the store is another one afterwards.
func (k *kind) writes() bool { return k.share(0) > 0 }

// WorkloadNames are the names that ParseWorkloads knows.
func WorkloadNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// ParseWorkloads reads names such as readrandom, or readrandom@16 for 16 clients.
func ParseWorkloads(list []string) ([]Workload, error) {
	var workloads []Workload
	for _, s := range list {
		name, suffix, has := strings.Cut(strings.TrimSpace(s), "@")
		w := Workload{name, 1}
		if has {
			n, err := strconv.Atoi(suffix)
			if err != nil || n < 1 || n > maxClients {
				return nil, refuse("workload %q: want 1 to %d threads after @", s, maxClients)
			}
			w.Threads = n
		}
		if !slices.Contains(WorkloadNames(), name) {
			return nil, refuse("unknown workload %q: have %s", name, strings.Join(WorkloadNames(), ", "))
		}
		if slices.Contains(workloads, w) {
			return nil, refuse("workload %s is named twice", w)
		}
		workloads = append(workloads, w)
	}
	return workloads, nil
}
