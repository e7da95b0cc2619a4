package main

import (
	"fmt"
	"time"

	"faultline/cmd/kvbench/internal/bench"
	"faultline/cmd/kvbench/internal/guard"
	"faultline/cmd/kvbench/internal/result"

	"github.com/spf13/cobra"
)

func newGuardCommand() *cobra.Command {
	c := bench.Config{
		Engines: guard.Engines,
		N:       50_000, KeyBytes: 16, ValueBytes: 100, SeekNexts: 50, BatchEntries: 100,
		Memory: 256 << 20, Reps: 3, Seed: 1, Warmup: 20 * time.Millisecond, Duration: 150 * time.Millisecond, PebbleBloom: true,
	}
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Fail if Faultline is much slower than it was, beside Pebble",
		Long: fmt.Sprintf(`Guard is a short run with a verdict, for CI. Faultline and Pebble do the same by
turns; where Faultline is %v times worse than docs/bench.md says, as a ratio to
Pebble, in %d tries, guard fails: in both speed and CPU time, or for what only
reads in CPU time. It takes a quarter of a minute, and no time on the clock decides.`, guard.Margin, guard.Tries),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out := terminal(cmd); out != nil {
				c.Progress = out
			}
			verdicts, err := guard.Judge(func(workloads []result.Workload) (*result.Run, error) {
				c.Workloads = workloads
				run, err := bench.Run(cmd.Context(), c)
				if err != nil {
					return nil, err
				}
				return run, run.Failures()
			})
			if err != nil {
				return refusedOrFailed(err)
			}
			return failed(guard.Markdown(cmd.OutOrStdout(), verdicts))
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().IntVar(&c.N, "n", c.N, "keys")
	cmd.Flags().IntVar(&c.Reps, "reps", c.Reps, "how often each workload runs on each engine")
	cmd.Flags().StringVar(&c.Dir, "dir", ".", "where the stores go, in a directory kvbench-* that is removed at the end, but not after a second signal or a crash")
	return cmd
}
