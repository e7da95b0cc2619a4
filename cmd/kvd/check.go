package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"faultline/store"
)

func newCheck() *cobra.Command {
	var memory sizeFlag
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Verify a store that nobody has open",
		Long: `Verify a store that nobody has open: every page, the order of all keys, and the
log, which is replayed in memory. Nothing is written.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return check(cmd, args[0], int64(memory)) },
	}
	cmd.Flags().Var(&memory, "memory", "memory of the store, e.g. 1GiB (default half of the machine's)")
	return cmd
}

func check(cmd *cobra.Command, dir string, memoryBytes int64) (err error) {
	// Open would say so too, but of a file within the directory.
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	db, err := store.Open(dir, &store.Options{ReadOnly: true, MemoryBudget: memoryBytes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r, err := db.Verify(cmd.Context())
	if err != nil {
		return fmt.Errorf("check %s: %w", dir, err)
	}
	printReport(cmd.OutOrStdout(), &r)
	return nil
}

func printReport(w io.Writer, r *store.Report) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "pages\t%s (%s leaves, %s inner, %s free)\n",
		count(r.Pages), count(r.Leaves), count(r.Inner), count(r.Free))
	fmt.Fprintf(out, "height\t%d\n", r.Height)
	fmt.Fprintf(out, "keys\t%s, in order\n", count(r.Keys))
	fmt.Fprintf(out, "journal\t%s pages restored in memory\n", count(uint64(r.Recovered)))
	fmt.Fprintf(out, "log\t%s records replayed in memory, %s\n", count(r.LogRecords), humanize.IBytes(r.LogBytes))
	if r.Audited {
		fmt.Fprintln(out, "audit\tevery writable page is known as dirty")
	} else {
		fmt.Fprintln(out, "audit\tnot possible: it needs Linux 6.7")
	}
	fmt.Fprintln(out, "ok")
	out.Flush()
}

func count(n uint64) string { return humanize.Comma(int64(n)) }
