package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"faultline/cmd/kvbench/internal/cgroup"
	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/ltm"
	"faultline/cmd/kvbench/internal/report"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// ltmFlags are an ltm.Config as the command line has it.
type ltmFlags struct {
	workloads            []string
	memory, data, cgroup size // 0 = the default
	cache, memTable      size
	value                length
	dataFactor           float64
	noCgroup             bool
	load                 string
	series               output
	outputs
	ltm.Config
}

// childCommand is what kvbench starts itself with.
const childCommand = "ltm-child"

// ltmWorkloads are what runs without flags.
var ltmWorkloads = []string{
	"readrandom", "readrandom@16", "readzipf", "readzipf@16", "readseq", "overwrite", "overwrite@4", "mixed@4",
}

func newLTMCommand() *cobra.Command {
	f := ltmFlags{}
	cmd := &cobra.Command{
		Use:   "ltm",
		Short: "Measure stores that are larger than their memory",
		Long: `Ltm measures Faultline beside Pebble and bbolt on a store that is some times
larger than the memory that each may have. Each phase runs in a process of its
own, in a memory cgroup that counts the page cache too. At the end every key is
checked, and again after a process that was writing has been killed.

The cgroup needs root, or a cgroup v2 that is delegated to the user.`,
		Example: `  kvbench ltm --memory 128MiB --data-factor 10
  kvbench ltm --engines faultline,pebble --workloads readrandom@16,mixed@4 --reps 3
  kvbench ltm --engines faultline --memory 256MiB --data-factor 2 \
      --workloads readwrite@8 --duration 10m --warmup 0s --series latency.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.define(cmd, ltmDefaults{
		engines: engine.Embedded, workloads: ltmWorkloads, memory: 128 << 20, reps: 1,
	})
	return cmd
}

// newBigCommand is ltm with other defaults.
func newBigCommand() *cobra.Command {
	f := ltmFlags{}
	cmd := &cobra.Command{
		Use:   "big",
		Short: "Load, use, kill and check one large store",
		Long: `Big is kvbench ltm on Faultline alone with a store of 16 GiB: it is loaded, read
and written at random, scanned, killed and checked, key by key. What counts is
that memory stays bounded and that nothing is lost.`,
		Example: `  kvbench big --data 16GiB --memory 512MiB
  kvbench big --data 2GiB --memory 64MiB --engines bbolt --load sequential`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.define(cmd, ltmDefaults{
		engines: []string{"faultline"}, memory: 512 << 20, data: 16 << 30, reps: 1,
		workloads: []string{"readrandom@16", "overwrite@4", "mixed@4", "readseq"},
	})
	return cmd
}

// newChildCommand is what a run of ltm starts for each phase.
func newChildCommand() *cobra.Command {
	return &cobra.Command{
		Use:    childCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(ltm.RunChild(cmd.Context(), os.Stdin, os.Stdout))
		},
	}
}

// ltmDefaults are what ltm and big differ in.
type ltmDefaults struct {
	engines, workloads []string
	memory, data       size
	reps               int
}

func (f *ltmFlags) define(cmd *cobra.Command, d ltmDefaults) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringSliceVar(&f.Engines, "engines", d.engines, "what to measure: "+strings.Join(engine.Embedded, ", "))
	fs.StringSliceVar(&f.workloads, "workloads", d.workloads,
		"what to do after the load, in this order: "+strings.Join(ltm.WorkloadNames(), ", ")+"; name@N for N threads")
	f.memory, f.data, f.value = d.memory, d.data, 100
	fs.Var(&f.memory, "memory", "memory of each engine")
	fs.Float64Var(&f.dataFactor, "data-factor", 10, "the data is this many times the memory")
	fs.Var(&f.data, "data", "the data, keys and values together, instead of --data-factor")
	fs.Var(&f.cgroup, "cgroup", "memory of each process, page cache counted (default 1.2 times --memory)")
	fs.BoolVar(&f.noCgroup, "no-cgroup", false, "do not bound the processes: the page cache then is no part of --memory")
	fs.IntVar(&f.KeyBytes, "key-size", 16, "bytes in a key")
	fs.Var(&f.value, "value-size", "bytes in a value")
	fs.BoolVar(&f.Compressible, "compressible", false, "make values that compress to half")
	fs.StringVar(&f.load, "load", "random", "order of the load: random or sequential")
	fs.BoolVar(&f.FreeLoad, "load-free", false, "load outside of the cgroup")
	fs.IntVar(&f.BatchEntries, "load-batch", 1000, "entries in a batch of the load")
	fs.DurationVar(&f.Warmup, "warmup", 5*time.Second, "before a workload is timed")
	fs.DurationVar(&f.Duration, "duration", 30*time.Second, "that a workload is timed, but for readseq")
	fs.DurationVar(&f.KillAfter, "kill-after", 5*time.Second, "kill a process that has written for this long; 0 = none")
	f.series.define(fs, "series",
		"write what workloads that write do in each second to this file, and curves of it to SVG files beside it")
	fs.IntVar(&f.Reps, "reps", d.reps, "how often all is done")
	fs.Uint64Var(&f.Seed, "seed", 1, "of keys and values")
	fs.StringVar(&f.Dir, "dir", ".", "where the stores go, in a directory kvbench-* that is removed at the end, but not after a second signal or a crash")
	f.outputs.define(fs)
	fs.BoolVar(&f.PebbleBloom, "pebble-bloom", true, "give Pebble bloom filters of 10 bits a key")
	fs.Var(&f.cache, "pebble-cache",
		"Pebble's block cache, memtables taken out of it (default three quarters of --memory, as which the process takes about all of it)")
	fs.Var(&f.memTable, "pebble-memtable", "size of Pebble's memtables (default an eighth of --memory, up to 64MiB)")
	cmd.MarkFlagsMutuallyExclusive("cgroup", "no-cgroup")
	cmd.MarkFlagsMutuallyExclusive("data", "data-factor")
}

func (f *ltmFlags) run(cmd *cobra.Command) error {
	if cmd.Flags().Changed("data-factor") {
		f.data = 0 // which big has a default for
	}
	c, err := f.config()
	if err != nil {
		return err
	}
	if out := terminal(cmd); out != nil {
		c.Progress = out
	}
	if err := f.outputs.check(&f.series); err != nil {
		return err
	}
	c.Keep = f.keep
	results, err := ltm.Run(cmd.Context(), c)
	if refused := new(ltm.ConfigError); errors.As(err, &refused) {
		return err
	}
	if errors.Is(err, cgroup.ErrUnavailable) {
		err = fmt.Errorf("%w; run kvbench as root, or with systemd-run --user --scope -p Delegate=yes, or with --no-cgroup", err)
	}
	if results == nil || len(results.Phases) == 0 {
		return failed(err)
	}
	errs := []error{err, f.series.save(results.WriteSeries)}
	if name := f.series.name; name != "" {
		errs = append(errs, results.DrawSeries(strings.TrimSuffix(name, filepath.Ext(name))))
	}
	return failed(errors.Join(append(errs, f.write(cmd, report.Source{Run: results.Run}), results.Failures())...))
}

// config turns the flags that are words into the figures that they mean.
func (f *ltmFlags) config() (c ltm.Config, err error) {
	c = f.Config
	if c.Workloads, err = ltm.ParseWorkloads(f.workloads); err != nil {
		return c, err
	}
	c.ValueBytes, c.Memory, c.DataBytes = int(f.value), int64(f.memory), int64(f.data)
	if f.data == 0 {
		data := f.dataFactor * float64(f.memory)
		if !(data > 0 && data <= maxSize) { // nor is it NaN
			return c, fmt.Errorf("invalid argument %v for --data-factor: want above 0, and data of at most %s", f.dataFactor, humanize.IBytes(maxSize))
		}
		c.DataBytes = int64(data)
	}
	c.Cgroup = cmp.Or(int64(f.cgroup), c.Memory+c.Memory/5)
	if f.noCgroup {
		c.Cgroup = 0
	}
	c.PebbleCache, c.PebbleMemTable = int64(f.cache), uint64(f.memTable)
	switch f.load {
	case "random":
	case "sequential":
		c.Sequential = true
	default:
		return c, fmt.Errorf("invalid argument %q for --load: want random or sequential", f.load)
	}
	c.Series = f.series.name != ""
	self, err := os.Executable()
	c.Child = []string{self, childCommand}
	return c, err
}
