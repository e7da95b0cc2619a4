package ltm

import (
	"fmt"
	"os"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"

	"github.com/dustin/go-humanize"
)

// A Report is what came out of a run: the results, and what each child has said.
type Report struct {
	*result.Run
	Children []Phase
}

func newReport(c Config, dir string) (*Report, error) {
	m, err := figure.NewMachine(dir)
	if err != nil {
		return nil, err
	}
	r := &result.Run{
		Format: result.Format, Time: time.Now().UTC(), Command: os.Args[1:], Machine: m,
		Setup: result.Setup{
			Keys: c.n(), KeyBytes: c.KeyBytes, ValueBytes: c.ValueBytes, MemoryBytes: c.Memory,
			Warmup: c.Warmup, Duration: c.Duration, Reps: c.Reps, Seed: c.Seed, Baseline: result.BaselineOf(c.Engines),
			BatchEntries: c.BatchEntries,
		},
		Notes: c.notes(),
	}
	for _, name := range c.Engines {
		e := engine.New(name, c.setup())
		limit := "GOMEMLIMIT " + humanize.IBytes(uint64(c.heapLimit(e))) +
			": what its cgroup leaves of what the engine keeps outside of Go's heap"
		r.Engines = append(r.Engines, result.Engine{Name: name, Version: e.Version(), Settings: append(e.Settings(), limit)})
	}
	return &Report{Run: r}, nil
}

// add keeps what a child came to.
func (r *Report) add(c *Config, p Phase) {
	r.Children = append(r.Children, p)
	if p.Step == stepCheck {
		r.addCheck(&p)
		return
	}
	entry, puts := c.entryBytes(), int64(p.Puts)
	r.Phases = append(r.Phases, result.Phase{
		Workload: result.Workload(p.Workload), Engine: p.Engine, Rep: p.Rep, Place: p.Place, Failed: p.Failed,
		Ops: int(p.Ops), Found: int(p.Found), Entries: int(p.Entries), Stored: int(c.n()),
		Warm: p.Warm, Seconds: p.Seconds, Run: p.Run, Settle: p.Settle,
		PutBytes: entry * puts, GotBytes: entry * (int64(p.Ops) - puts),
		DiskBytes: p.DiskBytes, DataBytes: entry * c.n(),
		PeakRSS: p.PeakRSS, Cgroup: p.cgroup(), Series: p.Series, Latency: p.Latency,
	})
}

// addCheck keeps a check, and how long the store took to open for it.
func (r *Report) addCheck(p *Phase) {
	after := result.Closed
	if p.Workload.Name != stepCheck {
		after = result.Killed
	}
	check := result.Check{
		Engine: p.Engine, Rep: p.Rep, After: after, Failed: p.Failed,
		Seconds: p.Seconds, PeakRSS: p.PeakRSS, Cgroup: p.cgroup(),
	}
	if p.Check != nil {
		check.Keys, check.Writes, check.Acked, check.Lost = p.Check.Keys, p.Check.Writes, p.Check.Acked, p.Check.Lost
		r.Opens = append(r.Opens, result.Open{Engine: p.Engine, Rep: p.Rep, After: after, Seconds: p.OpenSeconds})
	}
	r.Checks = append(r.Checks, check)
}

// cgroup is what its group has counted of a child, or nil.
func (p *Phase) cgroup() *result.Cgroup {
	if p.Cgroup == nil {
		return nil
	}
	return &result.Cgroup{
		LimitBytes: p.CgroupBytes, PeakBytes: p.Cgroup.PeakBytes, AtLimit: p.Cgroup.AtLimit, OOMKills: p.Cgroup.OOMKills,
	}
}

// notes say what a reader must know of a run.
func (c *Config) notes() []string {
	values, group, order, free := "do not compress", "No cgroup bounds it: the page cache is as large as the machine allows.", "random order", ""
	if c.Compressible {
		values = "compress to half"
	}
	if c.Cgroup > 0 {
		group = fmt.Sprintf("It is in a memory cgroup of %s, page cache counted, no swap.", humanize.IBytes(uint64(c.Cgroup)))
	}
	if c.Sequential {
		order = "their order"
	}
	if c.FreeLoad {
		free = ", outside of the cgroup"
	}
	return []string{
		fmt.Sprintf("The data is %s, values %s. Of its memory Pebble's cache is less, so that with malloc's overhead and Go's heap "+
			"the process takes about as much. MALLOC_ARENA_MAX is 1.", humanize.IBytes(uint64(c.DataBytes)), values),
		"Each phase is a process of its own. " + group + " The store's files are taken out of the page cache before.",
		fmt.Sprintf("load writes all keys in %s, in batches of %d%s; its latencies are those of batches. readseq reads the whole store once; "+
			"an operation is an entry, and one in 32 is timed. All else runs for %v after %v that are not timed. readzipf has favourites "+
			"(YCSB, theta 0.99, scrambled), all other keys are drawn evenly; each client that writes has keys of its own. mixed puts or gets "+
			"by a coin; of readwrite's clients each second one writes. Writes are not synced.",
			order, c.BatchEntries, free, c.Duration, c.Warmup),
		"All phases of a repetition use one store, in this order; the engines take turns.",
		fmt.Sprintf("A check reads every key: each must be there once, in order, with the value of the last write to it. kill -9 is sent to a "+
			"process whose %d clients overwrite; the store is opened again and checked: nothing that was acknowledged may be lost, where the "+
			"engine promises that; each client's writes must be there up to some point, and none after it.", killClients),
	}
}
