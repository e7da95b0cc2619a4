package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"faultline/cmd/kvbench/internal/report"
	"faultline/cmd/kvbench/internal/result"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// outputs are the forms of a report beside the one on the terminal: files, where
// they are named.
type outputs struct{ json, html, benchfmt string }

func (o *outputs) define(fs *pflag.FlagSet) {
	fs.StringVar(&o.json, "json", "", "write all figures to this file, which kvbench report reads")
	o.defineForms(fs)
}

// defineForms has the flags of all but what forms are made of.
func (o *outputs) defineForms(fs *pflag.FlagSet) {
	fs.StringVar(&o.html, "html", "", "write one page with plots to this file, which needs no other")
	fs.StringVar(&o.benchfmt, "benchfmt", "", "write Go benchmark lines to this file, one a repetition, for benchstat")
}

// open opens the files, before a run: it would be a pity after it. What it returns
// writes all forms.
func (o *outputs) open() (write func(*cobra.Command, ...report.Source) error, err error) {
	var saves []func([]report.Source) error
	for _, form := range []struct {
		flag, file string
		write      func(io.Writer, []report.Source) error
	}{
		{"json", o.json, func(w io.Writer, s []report.Source) error { return s[0].Run.Write(w) }},
		{"html", o.html, report.HTML},
		{"benchfmt", o.benchfmt, report.Benchmarks},
	} {
		save, err := openFor(form.flag, form.file, func(s []report.Source, w io.Writer) error { return form.write(w, s) })
		if err != nil {
			return nil, err
		}
		saves = append(saves, save)
	}
	return func(cmd *cobra.Command, sources ...report.Source) error {
		var errs []error
		for _, save := range saves {
			errs = append(errs, save(sources))
		}
		// The files came first: a reader of the terminal may go away before its end.
		return errors.Join(append(errs, report.Markdown(cmd.OutOrStdout(), sources))...)
	}, nil
}

func newReportCommand() *cobra.Command {
	var o outputs
	var baseline string
	cmd := &cobra.Command{
		Use:   "report FILE...",
		Short: "Show results that --json has kept",
		Long: `Report prints the tables of runs that --json of kvbench or of kvbench ltm has kept,
one after the other, and makes the other forms of a report of them. It measures nothing.`,
		Example: `  kvbench report run.json --html run.html
  kvbench report old.json --benchfmt old.txt && benchstat old.txt new.txt
  kvbench report run.json --benchfmt run.txt && benchstat -col /engine run.txt`,
		Args:         cobra.MinimumNArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			sources, err := readSources(files, baseline)
			if err != nil {
				return err
			}
			write, err := o.open()
			if err != nil {
				return err
			}
			return failed(write(cmd, sources...))
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	o.defineForms(fs)
	fs.StringVar(&baseline, "baseline", "", "the engine that ratios are to (default that of the run)")
	return cmd
}

// readSources reads files of results. A baseline is put in place of theirs.
func readSources(files []string, baseline string) ([]report.Source, error) {
	var sources []report.Source
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		r, err := result.Read(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if baseline != "" {
			if !slices.ContainsFunc(r.Engines, func(e result.Engine) bool { return e.Name == baseline }) {
				return nil, fmt.Errorf("--baseline: %s has no engine %q", name, baseline)
			}
			r.Setup.Baseline = baseline
		}
		sources = append(sources, report.Source{Name: name, Run: r})
	}
	return sources, nil
}
