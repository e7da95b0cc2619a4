package report

import (
	"fmt"
	"io"
	"strings"
	"text/template"

	"faultline/cmd/kvbench/internal/result"
	"faultline/cmd/kvbench/internal/table"

	"github.com/dustin/go-humanize"
)

// textColumns are workload and engine.
const textColumns = 2

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
	cells := [][]string{{"workload", "engine", "ops/s", "p50", "p99", "p99.9", "CPU us/op", "ratio to " + r.Setup.Baseline}}
	for i := range rows {
		cells = append(cells, rows[i].cells())
	}
	if _, err := io.WriteString(w, table.Markdown(cells, textColumns)); err != nil {
		return err
	}
	return notes.Execute(w, r)
}

func (r *row) cells() []string {
	if r.cannot != "" {
		return []string{r.Workload.String(), r.engine, "-", "-", "-", "-", "-", r.cannot}
	}
	cpu := table.Digits(r.cpuMicros.Median)
	if r.settleMicros.Median > 0 {
		cpu += " + " + table.Digits(r.settleMicros.Median)
	}
	ratio := "-"
	if r.ratio != nil {
		ratio = r.ratio.Text(func(f float64) string { return fmt.Sprintf("%.2f", f) })
	}
	nanos := func(n int64) string { return table.Nanos(float64(n)) }
	return []string{
		r.Workload.String(), r.engine, r.opsPerSecond.Text(table.Rate),
		nanos(r.latency.P50), nanos(r.latency.P99), nanos(r.latency.P999), cpu, ratio,
	}
}

// notes stand below the table.
var notes = template.Must(template.New("notes").Funcs(template.FuncMap{
	"bytes": func(n int64) string { return humanize.IBytes(uint64(n)) },
	"comma": humanize.Comma,
}).Parse(`
{{- with .Setup}}
- {{comma .Keys}} keys of {{.KeyBytes}} B, values of {{.ValueBytes}} B, seed {{.Seed}}; {{bytes .MemoryBytes}} of memory for each engine.
- Repetitions: {{.Reps}}; ops/s and ratio are their median (min-max), CPU is the median, latencies are of all of them; the ratio is of ops/s within a repetition.
{{- end}}
- CPU is that of the whole process while the clients run, + what settling takes after that.
{{- range .Notes}}
- {{.}}
{{- end}}
- Machine: {{.Machine}}.
{{- range .Engines}}
- {{.Name}} {{.Version}}
{{- range .Settings}}
  - {{.}}
{{- end}}
{{- end}}
`))
