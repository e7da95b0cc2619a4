package bench

import (
	"fmt"
	"os"
	"strings"
	"time"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/result"

	"github.com/dustin/go-humanize"
)

// newResults returns what is known before the first phase.
func (r *run) newResults() (*result.Run, error) {
	c := &r.Config
	m, err := figure.NewMachine(r.dir)
	if err != nil {
		return nil, err
	}
	results := &result.Run{
		Format: result.Format, Time: time.Now().UTC(), Command: os.Args[1:], Machine: m,
		Setup: result.Setup{
			Keys: int64(c.N), KeyBytes: c.KeyBytes, ValueBytes: c.ValueBytes, MemoryBytes: c.Memory,
			Sync: c.Sync, Duration: c.Duration, Reps: c.Reps, Seed: c.Seed, Baseline: result.BaselineOf(c.Engines),
			Warmup: c.Warmup, Rate: c.Rate, BatchEntries: c.BatchEntries, SeekNexts: c.SeekNexts, Distribution: string(c.Distribution),
		},
		Notes: notes(c),
	}
	for _, name := range c.Engines {
		e := r.stores[name]
		results.Engines = append(results.Engines, result.Engine{Name: name, Version: e.Version(), Settings: e.Settings()})
	}
	return results, nil
}

// notes says what the workloads do, and how they are timed.
func notes(c *Config) []string {
	synced := "not synced, except fillsync's"
	if c.Sync {
		synced = "synced"
	}
	lines := []string{
		"Writes are " + synced + "; values compress to half. The engine that goes first alternates.",
		amounts(c),
		"fill* and ycsbload write each key once into an empty store; the others run on a store loaded with all keys in random order, " +
			"settled, opened again and read once" + warmed(c) + ". Keys are drawn with replacement, of readzipf as YCSB's zipfian. " +
			fmt.Sprintf("seekrandom makes an iterator, seeks and reads %d entries; fillbatch writes %d keys a batch, its latency is that of a batch. ", c.SeekNexts, c.BatchEntries) +
			"An operation of readseq and readreverse is an entry; readmissing looks for a key that is there with a dot behind it; " +
			"those of readwhilewriting are the readers', with one more client that overwrites.",
		"YCSB: A 50 % update, B 5 % update, C reads, D 5 % insert and reads of the latest, E 5 % insert and scans of 1 to 100 entries, F 50 % read-modify-write; " +
			"an update writes the whole value. " + distributed(c),
		fmt.Sprintf("A latency includes making the key, one read of the clock, and keeping the latency before it. Every operation is timed, but of the workloads that only get one in %d, and of scans one entry in %d.", everyGet, everyStep),
	}
	if data := int64(c.N) * int64(c.KeyBytes+c.ValueBytes); data > c.Memory {
		lines = append(lines, fmt.Sprintf("The data, %s, is larger than the memory. Nothing here bounds the page cache, which is the memory of bbolt and LMDB: kvbench ltm does.",
			humanize.IBytes(uint64(data))))
	}
	if c.Rate > 0 {
		lines = append(lines, fmt.Sprintf("Open loop: clients begin %s operations a second together, walks aside; a latency is from the time at which the operation was due, "+
			"so what waits behind a stall counts as late. Clients that wait for the next one use the processor.", humanize.Commaf(c.Rate)))
	}
	return lines
}

// amounts says how much of each workload was done.
func amounts(c *Config) string {
	var counted, timed []string
	for _, w := range c.Workloads {
		if endless(w, c) {
			timed = append(timed, w.String())
		} else {
			counted = append(counted, fmt.Sprintf("%s %s", w, humanize.Comma(int64(opsOf(w, c)))))
		}
	}
	var parts []string
	if len(counted) > 0 {
		limit := ""
		if c.Duration > 0 {
			limit = fmt.Sprintf(", or as many as in %v", c.Duration)
		}
		parts = append(parts, "Operations of all threads together"+limit+": "+strings.Join(counted, ", ")+".")
	}
	if len(timed) > 0 {
		parts = append(parts, fmt.Sprintf("For %v: %s.", c.Duration, strings.Join(timed, ", ")))
	}
	return strings.Join(parts, " ")
}

func warmed(c *Config) string {
	if c.Warmup == 0 {
		return ""
	}
	return fmt.Sprintf(", then all but deleterandom are done for %v before the clock starts", c.Warmup)
}

func distributed(c *Config) string {
	if c.Distribution == OwnDistribution {
		return "Records are chosen as zipfian (scrambled, 0.99), of D the latest."
	}
	return "Records are chosen as " + string(c.Distribution) + " in all of them."
}
