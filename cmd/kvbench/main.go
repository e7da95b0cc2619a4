// Kvbench measures Faultline beside other stores, in one run, with the workloads of
// LevelDB's db_bench and of YCSB.
//
// It prints Markdown tables; --json keeps all figures, of which kvbench report makes
// other forms. Kvbench guard is a short run with a verdict, for CI. Kvbench ltm and
// big do the same for stores that are larger than their memory, and check them;
// kvbench faults measures what a page trap costs on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"faultline/cmd/kvbench/internal/bench"
	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/report"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1 // the run did not end well
	exitUsage  = 2 // nothing was run: the command line makes no sense
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, cancel) // a second signal ends the process at once
	os.Exit(kvbench(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// kvbench runs the command line and returns the exit code.
func kvbench(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "kvbench: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	if run := new(runError); errors.As(err, run) {
		return exitFailed
	}
	return exitUsage // cobra's own errors are about the command line
}

// A runError is an error that came after the command line was understood.
type runError struct{ error }

func (e runError) Unwrap() error { return e.error }

// failed makes err a runError, unless it is nil.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return runError{err}
}

// flags are a bench.Config as the command line has it.
type flags struct {
	engines, workloads []string
	threads            int
	value              length
	memory, memTable   size
	outputs
	bench.Config
}

func newCommand() *cobra.Command {
	f := flags{value: 100, memory: 1 << 30}
	cmd := &cobra.Command{
		Use:   "kvbench",
		Short: "Measure Faultline beside other stores",
		Long: `Kvbench runs the workloads of LevelDB's db_bench and of YCSB on Faultline and on
other stores, one beside the other with the same memory and durability, and prints
tables. Without flags it runs the canonical list, for three quarters of an hour.

--json keeps what was measured. Of that, --html makes a page with plots and --benchfmt
lines for benchstat; kvbench report makes both of a file, and the tables.`,
		Example: `  kvbench
  kvbench --engines faultline,pebble --workloads fillsync,fillsync@16 --reps 5
  kvbench --engines faultline,pebble --workloads overwrite@4 --rate 50000 --duration 5m
  kvbench --engines redis --redis-addr 127.0.0.1:6379 --workloads fillrandom,readrandom@50
  kvbench --engines faultline --workloads readrandom --cpuprofile cpu.pprof
  kvbench --json run.json --html run.html && kvbench report run.json --benchfmt run.txt`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(newReportCommand(), newLTMCommand(), newBigCommand(), newFaultsCommand(), newGuardCommand(), newChildCommand(), newWriteCommand())
	f.define(cmd)
	return cmd
}

// engines are what is measured without flags, and LMDB if it is built in.
var engines = engine.Embedded

// canonical is what runs without flags: the table of docs/bench.md.
var canonical = []string{
	"fillseq", "fillseq@4", "fillrandom", "fillrandom@4", "fillbatch", "fillsync", "fillsync@16", "fillsync@64",
	"overwrite", "overwrite@4", "readrandom", "readzipf", "readmissing", "readseq", "readreverse", "seekrandom",
	"readwhilewriting", "deleterandom", "ycsba", "ycsbb", "ycsbc", "ycsbd", "ycsbe", "ycsbf",
}

func (f *flags) define(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringSliceVar(&f.engines, "engines", engines, "what to measure: "+strings.Join(engine.Names, ", "))
	fs.StringSliceVar(&f.workloads, "workloads", canonical, "what to do: "+strings.Join(bench.WorkloadNames(), ", ")+"; name@N for N threads")
	fs.IntVar(&f.N, "n", 2_000_000, "keys; fillsync does n/100 writes a thread, seekrandom and ycsbe n/10 scans, at least 1000")
	fs.IntVar(&f.KeyBytes, "key-size", 16, "bytes in a key")
	fs.Var(&f.value, "value-size", "bytes in a value")
	fs.IntVar(&f.threads, "threads", 1, "clients of a workload that does not say")
	fs.BoolVar(&f.Sync, "sync", false, "sync every write, not only fillsync's")
	fs.IntVar(&f.SeekNexts, "seek-nexts", 50, "entries that seekrandom reads after each seek")
	fs.Var(&f.memory, "memory", "memory budget of each engine")
	fs.IntVar(&f.Reps, "reps", 3, "how often each workload runs on each engine")
	fs.DurationVar(&f.Duration, "duration", 5*time.Second, "do a workload that draws keys or scans for this long, and end the others and deleterandom after it, done or not; 0 = as many operations as there are keys")
	fs.DurationVar(&f.Warmup, "warmup", 500*time.Millisecond, "do a workload that draws keys or scans, but for deleterandom, for this long before it is timed")
	fs.Float64Var(&f.Rate, "rate", 0, "operations a second that clients begin, on time or late; 0 = each when the one before has ended")
	fs.IntVar(&f.BatchEntries, "batch", 100, "entries in a batch of fillbatch")
	fs.StringVar((*string)(&f.Distribution), "distribution", "", "records that YCSB's workloads choose: uniform, zipfian or latest (default each its own)")
	fs.BoolVar(&f.Opens, "opens", true, "measure how long stores take to open, closed and killed")
	fs.StringVar(&f.RedisAddr, "redis-addr", "", "server of the engine redis, host:port or the path of a socket; it must be empty, and is in the end")
	fs.Uint64Var(&f.Seed, "seed", 1, "of keys and values")
	fs.StringVar(&f.Dir, "dir", ".", "where the stores go, in a directory kvbench-* that is removed at the end, but not after a second signal or a crash")
	f.outputs.define(fs)
	fs.StringVar(&f.CPUProfile, "cpuprofile", "",
		"write CPU profiles of the faultline phases, each to this name with workload and repetition put in")
	fs.BoolVar(&f.PebbleBloom, "pebble-bloom", true, "give Pebble bloom filters of 10 bits a key")
	fs.Var(&f.memTable, "pebble-memtable", "size of Pebble's memtables (default Pebble's own)")
}

func (f *flags) run(cmd *cobra.Command) error {
	c, err := f.config()
	if err != nil {
		return err
	}
	if out := terminal(cmd); out != nil {
		c.Progress = out
	}
	if err := f.outputs.check(); err != nil {
		return err
	}
	c.Keep = f.keep
	results, err := bench.Run(cmd.Context(), c)
	if results == nil || len(results.Phases) == 0 {
		return refusedOrFailed(err)
	}
	return failed(errors.Join(err, f.write(cmd, report.Source{Run: results}), results.Failures()))
}

// refusedOrFailed makes err, with which a run has ended, a runError, unless the run was
// refused.
func refusedOrFailed(err error) error {
	if refused := new(bench.ConfigError); errors.As(err, &refused) {
		return err
	}
	return failed(err)
}

// config turns the flags that are words into the figures that they mean.
func (f *flags) config() (bench.Config, error) {
	c := f.Config
	c.Engines = f.engines
	var err error
	if c.Workloads, err = bench.ParseWorkloads(f.workloads, f.threads); err != nil {
		return c, err
	}
	c.ValueBytes, c.Memory, c.PebbleMemTable = int(f.value), int64(f.memory), uint64(f.memTable)
	self, err := os.Executable()
	c.Child = []string{self, writeCommand}
	return c, err
}

// writeCommand is what kvbench starts itself with to have a process that it can kill.
const writeCommand = "write-child"

func newWriteCommand() *cobra.Command {
	return &cobra.Command{
		Use:    writeCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return failed(bench.RunChild(os.Stdin, os.Stdout)) },
	}
}
