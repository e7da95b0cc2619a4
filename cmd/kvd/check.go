package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"faultline/store"
)

type checkOptions struct {
	memory size
	rate   size
	json   bool
}

func newCheck() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Verify a store that nobody has open",
		Long: `Verify a store that nobody has open. First every page that is in use, and the
log, are read from the disk, and their checksums, numbers and versions compared.
If nothing is damaged, the tree is compared with itself: the order of all keys, and
which pages are in use; for that the log is replayed in memory. Nothing is written.

The exit status is 1 if anything is damaged. Each place is named, with the file and
the byte where it begins.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return check(cmd, args[0], &o) },
	}
	f := cmd.Flags()
	f.Var(&o.memory, "memory", "memory of the store, e.g. 1GiB (default half of the machine's)")
	f.Var(&o.rate, "rate", "the most that is read in a second while pages and log are compared, e.g. 50MiB (default no limit)")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	return cmd
}

// check prints what it finds on stdout. The error is one line: what is damaged
// stands on stdout then.
func check(cmd *cobra.Command, dir string, o *checkOptions) error {
	// Open would say so too, but of a file within the directory.
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	bar := progressOn(cmd.ErrOrStderr())
	r := result{Dir: dir}
	err := r.scrub(cmd.Context(), bar, o)
	if err == nil {
		err = r.verify(cmd.Context(), bar, o)
	}
	if err != nil && r.Scrub.Damaged == 0 {
		return err
	}
	show := r.print
	if o.json {
		show = r.printJSON
	}
	if err := show(cmd.OutOrStdout()); err != nil {
		return err
	}
	if n := r.Scrub.Damaged; n > 0 {
		return fmt.Errorf("check %s: %s", dir, places(n))
	}
	return nil
}

func (r *result) scrub(ctx context.Context, bar progress, o *checkOptions) (err error) {
	show, stop := bar.bytes("scrub")
	defer stop()
	r.Scrub, err = store.ScrubDir(ctx, r.Dir, &store.Options{MemoryBudget: int64(o.memory)}, &store.ScrubOptions{
		BytesPerSecond: int64(o.rate),
		Progress:       func(p store.ScrubProgress) { show(p.Bytes, p.Total) },
	})
	return err
}

func (r *result) verify(ctx context.Context, bar progress, o *checkOptions) (err error) {
	defer bar.busy("verify")()
	db, err := store.Open(r.Dir, &store.Options{ReadOnly: true, MemoryBudget: int64(o.memory)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, err := db.Verify(ctx)
	if err != nil {
		return fmt.Errorf("check %s: %w", r.Dir, err)
	}
	r.Verify, r.Spaces = &v, db.Metrics().Spaces
	return nil
}
