package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"faultline/cmd/kvbench/internal/result"
	"faultline/cmd/kvbench/internal/table"

	"github.com/dustin/go-humanize"
)

// Markdown writes tables for a terminal, and below them what the figures mean.
func Markdown(w io.Writer, sources []Source) error {
	for i, s := range sources {
		if len(sources) > 1 {
			if _, err := fmt.Fprintf(w, "%s# %s\n\n", strings.Repeat("\n", min(i, 1)), s.Name); err != nil {
				return err
			}
		}
		if err := markdownOf(w, s.Run); err != nil {
			return err
		}
	}
	return nil
}

func markdownOf(w io.Writer, r *result.Run) error {
	rows, err := rowsOf(r)
	if err != nil {
		return err
	}
	openings := openingsOf(r)
	grids := []*grid{summary(rows, r.Setup.Baseline)}
	for _, g := range []*grid{ratios(r, rows), parts(rows), written(rows), memory(rows), openTimes(openings), checks(r)} {
		if len(g.Lines) > 0 {
			grids = append(grids, g)
		}
	}
	for _, g := range grids {
		if _, err := io.WriteString(w, g.markdown()+"\n"); err != nil {
			return err
		}
	}
	return notes.Execute(w, struct {
		*result.Run
		Explanations []string
	}{r, append(missing(r, rows, openings), explain(rows)...)})
}

// explain says how the figures of a report are made.
func explain(rows []row) []string {
	lines := []string{
		"ops/s and ratios are the median of the repetitions (least-most); a ratio is of ops/s in the same repetition. " +
			"Latencies are of all repetitions together.",
		"CPU/op is the time of the whole process while the clients run and until what they wrote is settled.",
	}
	if slices.ContainsFunc(rows, func(r row) bool { return r.disturbed() }) {
		lines = append(lines, fmt.Sprintf("?: others kept more than %s cores busy meanwhile, the kernel's own threads included.", table.Digits(disturbedCores)))
	}
	if len(written(rows).Lines) > 0 {
		lines = append(lines, "To device: bytes that the process made dirty from the warm-up until that, in whole folios of the page cache, which makes it a bound; "+
			"x: over the keys and values that the clients wrote. "+
			"On disk: the store's files after it, x: over the keys and values in them.")
	}
	if len(memory(rows).Lines) > 0 {
		lines = append(lines, "From device: bytes that the process had read while the clients ran, read-ahead included, x: over the keys and "+
			"values of all operations. Resident and cgroup are the most of all repetitions, mapped files and page cache counted.")
	}
	return lines
}

// notes stand below the tables.
var notes = template.Must(template.New("notes").Funcs(template.FuncMap{
	"bytes": func(n int64) string { return bytesOf(float64(n)) },
	"comma": humanize.Comma,
}).Parse(`
{{- range .Explanations}}- {{.}}
{{end}}
{{- with .Setup}}- {{comma .Keys}} keys of {{.KeyBytes}} B, values of {{.ValueBytes}} B, seed {{.Seed}}; {{bytes .MemoryBytes}} of memory for each engine.
{{end}}
{{- range .Notes}}- {{.}}
{{end -}}
- Machine: {{.Machine}}.
{{range .Engines}}- {{.Name}} {{.Version}}
{{range .Settings}}  - {{.}}
{{end}}{{end}}`))
