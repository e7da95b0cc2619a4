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

// outputs are the forms of a report beside the one on the terminal.
type outputs struct{ json, html, benchfmt output }

func (o *outputs) define(fs *pflag.FlagSet) {
	o.json.define(fs, "json", "write all figures to this file, which kvbench report reads; it has what there is after each workload")
	o.defineForms(fs)
}

// defineForms has the flags of all but what forms are made of.
func (o *outputs) defineForms(fs *pflag.FlagSet) {
	o.html.define(fs, "html", "write one page with plots to this file, which needs no other")
	o.benchfmt.define(fs, "benchfmt", "write Go benchmark lines to this file, one a repetition, for benchstat")
}

func (o *outputs) check(others ...*output) error {
	return checkOutputs(append(others, &o.json, &o.html, &o.benchfmt)...)
}

// keep saves what a run has measured so far: it outlives the process.
func (o *outputs) keep(r *result.Run) {
	now := *r
	now.Notes = append(slices.Clip(r.Notes), "The run had not ended when this was written.")
	_ = o.json.save(now.Write) // write comes to it again, and says it
}

// write writes all forms. The files come first: a reader of the terminal may go away
// before its end.
func (o *outputs) write(cmd *cobra.Command, sources ...report.Source) error {
	return errors.Join(
		o.json.save(func(w io.Writer) error { return sources[0].Run.Write(w) }),
		o.html.save(func(w io.Writer) error { return report.HTML(w, sources) }),
		o.benchfmt.save(func(w io.Writer) error { return report.Benchmarks(w, sources) }),
		report.Markdown(cmd.OutOrStdout(), sources),
	)
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
			if err := o.check(); err != nil {
				return err
			}
			return failed(o.write(cmd, sources...))
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
