package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"text/template"
	"time"

	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/table"

	"github.com/dustin/go-humanize"
)

// A Report is all that came out of a run. Its JSON form keeps the raw figures.
type Report struct {
	Time    time.Time      `json:"time"`
	Config  Config         `json:"config"`
	Machine figure.Machine `json:"machine"`
	Engines []EngineReport `json:"engines"`
	Rows    []Row          `json:"rows"`
	Phases  []Phase        `json:"phases"`
}

// An EngineReport says what was measured.
type EngineReport struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Settings []string `json:"settings"`
}

// A Row is one workload on one engine over all repetitions.
type Row struct {
	Workload     string         `json:"workload"`
	Threads      int            `json:"threads"`
	Engine       string         `json:"engine"`
	OpsPerSecond figure.Spread  `json:"ops_per_second"`
	Latency      figure.Latency `json:"latency"` // of all repetitions together
	CPUMicros    figure.Spread  `json:"cpu_us_per_op"`
	SettleMicros figure.Spread  `json:"settle_cpu_us_per_op"`
	Ratio        *figure.Spread `json:"ratio_to_pebble"` // of ops/s in the same repetition; nil without Pebble
}

func newReport(c Config, dir string) (*Report, error) {
	m, err := figure.NewMachine(dir)
	if err != nil {
		return nil, err
	}
	r := &Report{Time: time.Now().UTC(), Config: c, Machine: m}
	for _, name := range c.Engines {
		e := c.engine(name)
		r.Engines = append(r.Engines, EngineReport{name, e.Version(), e.Settings()})
	}
	return r, nil
}

// sumUp makes the rows from the phases, in the order of the Config.
func (r *Report) sumUp() {
	for _, w := range r.Config.Workloads {
		baseline := r.phasesOf(w, baselineEngine)
		for _, engine := range r.Config.Engines {
			r.Rows = append(r.Rows, newRow(r.phasesOf(w, engine), baseline))
		}
	}
}

// phasesOf returns the phases of w on an engine, one for each repetition.
func (r *Report) phasesOf(w Workload, engine string) []Phase {
	var phases []Phase
	for _, p := range r.Phases {
		if p.Workload == w.Name && p.Threads == w.Threads && p.Engine == engine {
			phases = append(phases, p)
		}
	}
	return phases
}

func newRow(phases, baseline []Phase) Row {
	row := Row{Workload: phases[0].Workload, Threads: phases[0].Threads, Engine: phases[0].Engine}
	row.OpsPerSecond = spreadOver(phases, func(p Phase) float64 { return p.OpsPerSecond })
	row.CPUMicros = spreadOver(phases, func(p Phase) float64 { return p.CPUMicrosPerOp })
	row.SettleMicros = spreadOver(phases, func(p Phase) float64 { return p.SettleMicros })
	all := figure.NewHistogram()
	for _, p := range phases {
		all.Merge(p.histogram)
	}
	row.Latency = figure.LatencyOf(all)
	if len(baseline) > 0 {
		var ratios []float64
		for i := range phases {
			ratios = append(ratios, phases[i].OpsPerSecond/baseline[i].OpsPerSecond)
		}
		ratio := figure.SpreadOf(ratios)
		row.Ratio = &ratio
	}
	return row
}

func spreadOver(phases []Phase, of func(Phase) float64) figure.Spread {
	var figures []float64
	for _, p := range phases {
		figures = append(figures, of(p))
	}
	return figure.SpreadOf(figures)
}

// WriteJSON writes the report with all its figures.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// textColumns are workload and engine.
const textColumns = 2

// WriteMarkdown writes the table, and below it what the figures mean.
func (r *Report) WriteMarkdown(w io.Writer) error {
	rows := [][]string{{"workload", "engine", "threads", "ops/s", "p50", "p99", "p99.9", "CPU us/op", "ratio to Pebble"}}
	for i := range r.Rows {
		rows = append(rows, r.Rows[i].cells())
	}
	if _, err := io.WriteString(w, table.Markdown(rows, textColumns)); err != nil {
		return err
	}
	return notes.Execute(w, r)
}

func (row *Row) cells() []string {
	cpu := table.Digits(row.CPUMicros.Median)
	if row.SettleMicros.Median > 0 {
		cpu += " + " + table.Digits(row.SettleMicros.Median)
	}
	ratio := "-"
	if row.Ratio != nil {
		ratio = row.Ratio.Text(func(f float64) string { return fmt.Sprintf("%.2f", f) })
	}
	return []string{
		row.Workload, row.Engine, fmt.Sprint(row.Threads), row.OpsPerSecond.Text(table.Rate),
		table.Nanos(float64(row.Latency.P50)), table.Nanos(float64(row.Latency.P99)), table.Nanos(float64(row.Latency.P999)), cpu, ratio,
	}
}

// notes stand below the table.
var notes = template.Must(template.New("notes").Funcs(template.FuncMap{
	"bytes": func(n int64) string { return humanize.IBytes(uint64(n)) },
	"comma": func(n int) string { return humanize.Comma(int64(n)) },
	"ops":   func(c Config, w Workload) string { return humanize.Comma(int64(w.ops(&c))) },
}).Parse(`
{{- with .Config}}
- {{comma .N}} keys of {{.KeyBytes}} B, values of {{.ValueBytes}} B that compress to half, seed {{.Seed}}; {{bytes .Memory}} of memory for each engine.
- Writes are {{if .Sync}}synced{{else}}not synced, except fillsync's{{end}}.
- Operations of all threads together: {{range $i, $w := .Workloads}}{{if $i}}, {{end}}{{$w}} {{ops $.Config $w}}{{end}}
{{- if .Duration}}, or as many as it does in {{.Duration}}{{end}}.
- Repetitions: {{.Reps}}; ops/s and ratio are their median (min-max), CPU is the median, latencies are of all of them; the ratio is of ops/s within a repetition. The engine that goes first alternates.
- fill* write each key once into an empty store; the others run on a store loaded with all keys in random order, settled, opened again and read once. overwrite, readrandom and seekrandom draw keys with replacement. seekrandom makes an iterator, seeks and reads {{.SeekNexts}} entries. An operation of readseq is an entry.
{{- end}}
- A latency includes making the key and one read of the clock; every operation is timed, of readseq one entry in 32.
- CPU is that of the whole process while the clients run, + what settling takes after that.
- Machine: {{.Machine}}.
{{- range .Engines}}
- {{.Name}} {{.Version}}
{{- range .Settings}}
  - {{.}}
{{- end}}
{{- end}}
`))
