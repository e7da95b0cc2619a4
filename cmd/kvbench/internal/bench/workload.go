package bench

import (
	"slices"
	"strconv"
	"strings"

	"faultline/cmd/kvbench/internal/result"
)

// A Workload is one of db_bench's or YCSB's, with the number of its clients.
type Workload = result.Workload

// ParseWorkloads reads names such as fillsync, or fillsync@16 for 16 clients. A
// name alone has threads clients.
func ParseWorkloads(names []string, threads int) ([]Workload, error) {
	if threads < 1 || threads > maxThreads {
		return nil, refuse("--threads is %d: want 1 to %d", threads, maxThreads)
	}
	var workloads []Workload
	for _, s := range names {
		w, err := parseWorkload(s, threads)
		if err != nil {
			return nil, err
		}
		workloads = append(workloads, w)
	}
	return workloads, nil
}

func parseWorkload(s string, threads int) (Workload, error) {
	name, suffix, has := strings.Cut(strings.TrimSpace(s), "@")
	if has {
		n, err := strconv.Atoi(suffix)
		if err != nil || n < 1 || n > maxThreads {
			return Workload{}, refuse("workload %q: want 1 to %d threads after @", s, maxThreads)
		}
		threads = n
	}
	if !slices.Contains(WorkloadNames(), name) {
		return Workload{}, refuse("unknown workload %q: have %s", name, strings.Join(WorkloadNames(), ", "))
	}
	return Workload{Name: name, Threads: threads}, nil
}
