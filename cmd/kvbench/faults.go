package main

import (
	"fmt"
	"os"

	"faultline/cmd/kvbench/internal/faults"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newFaultsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "faults",
		Short: "Measure what a page trap costs on this machine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(faults.Run(cmd.Context(), cmd.OutOrStdout(), titles(cmd)))
		},
	}
}

// titles shows on a terminal what is being measured, each title over the last.
func titles(cmd *cobra.Command) func(string) {
	out := terminal(cmd)
	if out == nil {
		return func(string) {}
	}
	const clearLine = "\r\033[K"
	return func(title string) { fmt.Fprint(out, clearLine, title) }
}

// terminal returns standard error if a person is looking at it, or nil.
func terminal(cmd *cobra.Command) *os.File {
	f, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}
