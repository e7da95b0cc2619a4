package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/result"
)

// A Workload is one of db_bench's, with the number of its clients.
type Workload = result.Workload

// A kind is what a name stands for.
type kind struct {
	name   string
	fresh  bool // starts on an empty store, else on a loaded one
	writes bool
	sync   bool                             // even where the run is not
	finds  bool                             // every operation meets a key
	ops    func(c *Config, threads int) int // of all clients together
	run    func(*client) error
}

var kinds = []kind{
	{name: "fillseq", fresh: true, writes: true, ops: opsN, run: fillSeq},
	{name: "fillrandom", fresh: true, writes: true, ops: opsN, run: fillRandom},
	{name: "fillsync", fresh: true, writes: true, sync: true, ops: opsSync, run: fillRandom},
	{name: "overwrite", writes: true, ops: opsN, run: overwrite},
	{name: "readrandom", finds: true, ops: opsN, run: readRandom},
	{name: "readseq", ops: opsEach, run: readSeq},
	{name: "seekrandom", finds: true, ops: opsSeek, run: seekRandom},
}

// Of how many keys a workload that is slow by nature does one operation, and
// how many it does at least.
const (
	keysPerSync = 100
	keysPerSeek = 10
	minOps      = 1000
)

// opsN: the clients share the n operations.
func opsN(c *Config, _ int) int { return c.N }

// opsEach: each client does n operations.
func opsEach(c *Config, threads int) int { return c.N * threads }

// opsSync: each client does as many as take seconds, since they wait for the
// disk together.
func opsSync(c *Config, threads int) int { return max(c.N/keysPerSync, minOps) * threads }

func opsSeek(c *Config, _ int) int { return max(c.N/keysPerSeek, minOps) }

// kindOf returns what the workload's name stands for.
func kindOf(w Workload) *kind {
	for i := range kinds {
		if kinds[i].name == w.Name {
			return &kinds[i]
		}
	}
	panic(fmt.Sprintf("bench: unknown workload %q", w.Name)) // ParseWorkloads has let it through
}

func opsOf(w Workload, c *Config) int { return kindOf(w).ops(c, w.Threads) }

// WorkloadNames are the names that ParseWorkloads knows.
func WorkloadNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// ParseWorkloads reads names such as fillsync, or fillsync@16 for 16 clients. A
// name alone has threads clients.
func ParseWorkloads(names []string, threads int) ([]Workload, error) {
	if threads < 1 || threads > maxThreads {
		return nil, refuse("threads is %d: want 1 to %d", threads, maxThreads)
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
	for _, known := range WorkloadNames() {
		if known == name {
			return Workload{Name: name, Threads: threads}, nil
		}
	}
	return Workload{}, refuse("unknown workload %q: have %s", name, strings.Join(WorkloadNames(), ", "))
}

// fillSeq writes new keys in order. The clients take turns, so that the keys of
// all together arrive nearly in order too.
func fillSeq(c *client) error {
	return c.each(func(i int) error { return c.put(c.place(i)) })
}

// fillRandom writes new keys in random order, each once.
func fillRandom(c *client) error {
	order := keys.NewPermutation(c.space.N, c.seed)
	return c.each(func(i int) error { return c.put(order.At(c.place(i))) })
}

// overwrite writes keys that are there, drawn at random.
func overwrite(c *client) error {
	return c.each(func(int) error { return c.put(c.draw.Next()) })
}

// readRandom gets keys that are there, drawn at random.
func readRandom(c *client) error {
	reader := c.db.NewReader()
	return c.each(func(int) error {
		c.space.Put(c.key, c.draw.Next())
		found, err := reader.Get(c.key)
		if found {
			c.found++
		}
		return err
	})
}

// readSeq reads the store from first to last. An operation is an entry.
func readSeq(c *client) error {
	it, err := c.db.NewIterator()
	if err != nil {
		return err
	}
	c.sampled(it)
	return it.Close()
}

// seekRandom seeks a key that is there, with a new iterator as db_bench does,
// and reads on from it.
func seekRandom(c *client) error {
	return c.each(func(int) error {
		c.space.Put(c.key, c.draw.Next())
		it, err := c.db.NewIterator()
		if err != nil {
			return err
		}
		ok := it.SeekGE(c.key)
		if ok && bytes.Equal(it.Key(), c.key) {
			c.found++
		}
		for range c.nexts {
			if !ok {
				break
			}
			c.sum += engine.Touch(it.Value())
			c.entries++
			ok = it.Next()
		}
		return it.Close()
	})
}
