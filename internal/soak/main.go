// Soak searches for faults for hours: it runs the tests that explore crashes,
// faults, damage, interleavings and histories again and again, each time from
// another seed and with more effort than in CI, and the fuzzers.
//
//	go run ./internal/soak --hours 8
//
// Every run is a line on the terminal and in soak.log: when, what, the seed, how
// long, and the figures that the test logs. The output of a run that fails is kept
// beside it. The exit status is 1 if one failed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var (
		s     soak
		hours float64
	)
	c := &cobra.Command{
		Use:           "soak",
		Short:         "Search for faults for hours",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			s.out = c.OutOrStdout()
			s.end = time.Now().Add(time.Duration(hours * float64(time.Hour)))
			return s.run(c.Context())
		},
	}
	f := c.Flags()
	f.Float64Var(&hours, "hours", 1, "how long; what has begun then is finished")
	f.Uint64Var(&s.seed, "seed", 0, "seed of the first run of each campaign; 0 takes one at random")
	f.Float64Var(&s.scale, "scale", 1, "effort of a run; 1 is some minutes for each campaign")
	f.StringSliceVar(&s.only, "only", nil, "names of campaigns: "+names())
	f.StringVar(&s.dir, "dir", "soak", "directory for soak.log and the output of failures")
	return c
}
