// Kvd serves a Faultline store to Redis clients, and checks stores.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

const (
	exitFailure = 1
	exitUsage   = 2
)

// run executes a command line and returns the exit status. An error is one line
// on stderr, whatever its origin.
func run(args []string, stdout, stderr io.Writer) (status int) {
	root := &cobra.Command{
		Use:           "kvd",
		Short:         "A persistent, ordered key-value server that Redis clients can talk to",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	started := false // so the command line is right
	for _, cmd := range []*cobra.Command{newServe(stderr), newCheck(), newDoctor(), newConfigCommand(), newVersion()} {
		runE := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			started = true
			return runE(cmd, args)
		}
		root.AddCommand(cmd)
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	err := root.Execute()
	var usage usageError
	switch {
	case err == nil:
		return 0
	case !started, errors.As(err, &usage):
		fmt.Fprintf(stderr, "kvd: %s (see kvd --help)\n", oneLine(err))
		return exitUsage
	}
	fmt.Fprintf(stderr, "kvd: %s\n", oneLine(err))
	return exitFailure
}

// A usageError is about the command line, but found only when the command ran.
type usageError struct{ error }

func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}
