package ltm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/template"
	"time"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/table"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/dustin/go-humanize"
)

// A Report is all that came out of a run. Its JSON form keeps the raw figures.
type Report struct {
	Time    time.Time      `json:"time"`
	Config  Config         `json:"config"`
	Keys    int64          `json:"keys"`
	Machine figure.Machine `json:"machine"`
	Engines []EngineReport `json:"engines"`
	Rows    []Row          `json:"rows"`
	Phases  []Phase        `json:"phases"`
}

// An EngineReport says what was measured.
type EngineReport struct {
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Settings  []string `json:"settings"`
	HeapLimit int64    `json:"gomemlimit_bytes"`
}

// A Row is one workload on one engine over all repetitions in which it did not
// fail.
type Row struct {
	Workload     Workload       `json:"workload"`
	Engine       string         `json:"engine"`
	Reps         int            `json:"reps"`   // that it did not fail in
	Failed       int            `json:"failed"` // repetitions that it failed in
	OpsPerSecond figure.Spread  `json:"ops_per_second"`
	Latency      figure.Latency `json:"latency"` // of all repetitions together
	CPUMicros    figure.Spread  `json:"cpu_us_per_op"`
	SettleMicros figure.Spread  `json:"settle_cpu_us_per_op"`
	ReadFactor   figure.Spread  `json:"read_factor"`  // bytes read from the device over those of the operations
	WriteFactor  figure.Spread  `json:"write_factor"` // settling included
	PeakRSS      figure.Spread  `json:"peak_rss_bytes"`
	CgroupPeak   figure.Spread  `json:"cgroup_peak_bytes"`
	AtLimit      figure.Spread  `json:"at_limit"`
	OOMKills     int64          `json:"oom_kills"` // of those that failed
	DiskBytes    figure.Spread  `json:"disk_bytes"`
	OthersCores  figure.Spread  `json:"others_cores"`
	Ratio        *figure.Spread `json:"ratio_to_pebble"` // of ops/s in the same repetition; nil without Pebble
}

func newReport(c Config, dir string) (*Report, error) {
	m, err := figure.NewMachine(dir)
	if err != nil {
		return nil, err
	}
	r := &Report{Time: time.Now().UTC(), Config: c, Keys: c.n(), Machine: m}
	for _, name := range c.Engines {
		e := engine.New(name, c.setup())
		r.Engines = append(r.Engines, EngineReport{name, e.Version(), e.Settings(), c.heapLimit(e)})
	}
	return r, nil
}

// Failures returns what went wrong, or nil.
func (r *Report) Failures() error {
	var errs []error
	for i := range r.Phases {
		if p := &r.Phases[i]; p.Failed != "" {
			errs = append(errs, fmt.Errorf("%s %s, repetition %d: %s", p.Engine, p.Workload, p.Rep, p.Failed))
		}
	}
	return errors.Join(errs...)
}

// sumUp makes the rows from the phases, in the order of doing them.
func (r *Report) sumUp() {
	for _, w := range append([]Workload{{stepLoad, 1}}, r.Config.Workloads...) {
		baseline := map[int]float64{}
		for _, p := range r.phasesOf(w, baselineEngine) {
			baseline[p.Rep] = p.opsPerSecond()
		}
		for _, name := range r.Config.Engines {
			r.Rows = append(r.Rows, r.newRow(w, name, baseline))
		}
	}
}

// phasesOf returns the phases of w on an engine that did not fail.
func (r *Report) phasesOf(w Workload, name string) (phases []*Phase) {
	for i := range r.Phases {
		if p := &r.Phases[i]; p.Workload == w && p.Engine == name && p.Failed == "" {
			phases = append(phases, p)
		}
	}
	return phases
}

func (p *Phase) opsPerSecond() float64 { return float64(p.Ops) / p.Seconds }

func (r *Report) newRow(w Workload, name string, baseline map[int]float64) Row {
	row := Row{Workload: w, Engine: name}
	for i := range r.Phases {
		p := &r.Phases[i]
		if p.Workload != w || p.Engine != name || p.Failed == "" {
			continue
		}
		row.Failed++
		if p.Cgroup != nil {
			row.OOMKills += p.Cgroup.OOMKills
		}
	}
	phases := r.phasesOf(w, name)
	row.Reps = len(phases)
	if row.Reps == 0 {
		return row
	}
	user := float64(r.Config.entryBytes())
	over := func(of func(*Phase) float64) figure.Spread { return spreadOver(phases, of) }
	row.OpsPerSecond = over((*Phase).opsPerSecond)
	row.CPUMicros = over(func(p *Phase) float64 { return 1e6 * p.Run.CPUSeconds / float64(p.Ops) })
	row.SettleMicros = over(func(p *Phase) float64 { return 1e6 * p.Settle.CPUSeconds / float64(p.Ops) })
	row.ReadFactor = over(func(p *Phase) float64 { return float64(p.Run.ReadBytes) / (user * float64(p.Ops)) })
	row.WriteFactor = over(func(p *Phase) float64 {
		return float64(p.Run.WriteBytes+p.Settle.WriteBytes) / (user * float64(max(p.Puts, 1)))
	})
	row.PeakRSS = over(func(p *Phase) float64 { return float64(p.Memory.PeakRSS) })
	row.DiskBytes = over(func(p *Phase) float64 { return float64(p.DiskBytes) })
	row.OthersCores = over(func(p *Phase) float64 { return p.Run.OthersCores })
	if phases[0].Cgroup != nil {
		row.CgroupPeak = over(func(p *Phase) float64 { return float64(p.Cgroup.PeakBytes) })
		row.AtLimit = over(func(p *Phase) float64 { return float64(p.Cgroup.AtLimit) })
	}
	row.Latency = latencyOver(phases)
	row.Ratio = ratioOver(phases, baseline)
	return row
}

func spreadOver(phases []*Phase, of func(*Phase) float64) figure.Spread {
	var figures []float64
	for _, p := range phases {
		figures = append(figures, of(p))
	}
	return figure.SpreadOf(figures)
}

// latencyOver merges what the children have sent.
func latencyOver(phases []*Phase) figure.Latency {
	all := figure.NewHistogram()
	for _, p := range phases {
		h, err := hdrhistogram.Decode([]byte(p.Latency.Histogram))
		if err != nil {
			panic(fmt.Sprintf("ltm: histogram of a child: %v", err)) // it is this program
		}
		all.Merge(h)
	}
	return figure.LatencyOf(all)
}

func ratioOver(phases []*Phase, baseline map[int]float64) *figure.Spread {
	var ratios []float64
	for _, p := range phases {
		if base := baseline[p.Rep]; base > 0 {
			ratios = append(ratios, p.opsPerSecond()/base)
		}
	}
	if len(ratios) == 0 {
		return nil
	}
	ratio := figure.SpreadOf(ratios)
	return &ratio
}

// WriteJSON writes the report with all its figures.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// textColumns are workload and engine.
const textColumns = 2

// WriteMarkdown writes the tables, and below them what the figures mean.
func (r *Report) WriteMarkdown(w io.Writer) error {
	rows := [][]string{{
		"workload", "engine", "ops/s", "p50", "p99", "p99.9", "max", "CPU us/op",
		"read x", "write x", "RSS", "cgroup (at limit)", "disk", "ratio to Pebble",
	}}
	for i := range r.Rows {
		rows = append(rows, r.Rows[i].cells())
	}
	checks := [][]string{{
		"check", "engine", "rep", "keys", "writes", "open", "scan", "RSS", "cgroup", "acknowledged", "lost", "result",
	}}
	for i := range r.Phases {
		if p := &r.Phases[i]; p.Step == stepCheck {
			checks = append(checks, p.checkCells())
		}
	}
	text := table.Markdown(rows, textColumns) + "\n" + table.Markdown(checks, textColumns)
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return notes.Execute(w, r)
}

// disturbedCores is from how much work of others on a figure is marked.
const disturbedCores = 0.5

func (row *Row) cells() []string {
	if row.Reps == 0 {
		why := "not run"
		switch {
		case row.OOMKills > 0:
			why = "out of memory"
		case row.Failed > 0:
			why = "failed"
		}
		return append([]string{row.Workload.String(), row.Engine, why}, slices.Repeat([]string{"-"}, 11)...)
	}
	cpu := table.Digits(row.CPUMicros.Median)
	if row.SettleMicros.Median > 0 {
		cpu += " + " + table.Digits(row.SettleMicros.Median)
	}
	speed := row.OpsPerSecond.Text(table.Rate)
	if row.OthersCores.Median > disturbedCores {
		speed += " ?"
	}
	ratio := "-"
	if row.Ratio != nil {
		ratio = row.Ratio.Text(func(f float64) string { return fmt.Sprintf("%.2f", f) })
	}
	group := "-"
	if row.CgroupPeak.Median > 0 {
		group = fmt.Sprintf("%s (%s)", mebibytes(row.CgroupPeak.Max), table.Rate(row.AtLimit.Median))
	}
	if row.OOMKills > 0 {
		group += fmt.Sprintf(" %d OOM", row.OOMKills)
	}
	nanos := func(n int64) string { return table.Nanos(float64(n)) }
	return []string{
		row.Workload.String(), row.Engine, speed,
		nanos(row.Latency.P50), nanos(row.Latency.P99), nanos(row.Latency.P999), nanos(row.Latency.Max), cpu,
		table.Digits(row.ReadFactor.Median), table.Digits(row.WriteFactor.Median),
		mebibytes(row.PeakRSS.Max), group, mebibytes(row.DiskBytes.Max), ratio,
	}
}

func (p *Phase) checkCells() []string {
	cells := []string{p.Workload.Name, p.Engine, fmt.Sprint(p.Rep)}
	if p.Check == nil {
		return append(append(cells, slices.Repeat([]string{"-"}, 8)...), p.Failed)
	}
	group, acked, lost := "-", "-", "-"
	if p.Cgroup != nil {
		group = mebibytes(float64(p.Cgroup.PeakBytes))
	}
	if p.Workload.Name != stepCheck {
		acked, lost = humanize.Comma(int64(p.Check.Acked)), humanize.Comma(int64(p.Check.Lost))
	}
	return append(cells, humanize.Comma(int64(p.Check.Keys)), humanize.Comma(int64(p.Check.Writes)),
		table.Nanos(1e9*p.OpenSeconds), table.Nanos(1e9*p.Seconds), mebibytes(float64(p.Memory.PeakRSS)), group, acked, lost, "whole")
}

// mebibytes writes a size, the largest of which is some gibibytes.
func mebibytes(n float64) string { return table.Digits(n/(1<<20)) + "M" }

// notes stand below the tables.
var notes = template.Must(template.New("notes").Funcs(template.FuncMap{
	"bytes":   func(n int64) string { return humanize.IBytes(uint64(n)) },
	"comma":   humanize.Comma,
	"percent": func(f float64) string { return fmt.Sprintf("%.2f", f) },
}).Parse(`
{{- with .Config}}
- Data: {{comma $.Keys}} keys of {{.KeyBytes}} B with values of {{.ValueBytes}} B, {{bytes .DataBytes}} together ({{if .Compressible}}values compress to half{{else}}values do not compress{{end}}), seed {{.Seed}}. Memory of each engine: {{bytes .Memory}}; of that Pebble's cache is less, so that with malloc's overhead and Go's heap the process takes about as much. MALLOC_ARENA_MAX is 1.
{{- if .Cgroup}}
- Each phase is a process of its own in a memory cgroup of {{bytes .Cgroup}}, page cache counted, no swap. It begins cold: the store's files are taken out of the page cache before.
{{- else}}
- Each phase is a process of its own. No cgroup bounds it: the page cache is as large as the machine allows. The store's files are taken out of it before.
{{- end}}
- load writes all keys in {{if .Sequential}}their order{{else}}random order{{end}}, in batches of {{.BatchEntries}}{{if .FreeLoad}}, outside of the cgroup{{end}}; its latencies are those of batches. readseq reads the whole store once; an operation is an entry, and one in 32 is timed. All else runs for {{.Duration}} after {{.Warmup}} that are not timed. readzipf has favourites (YCSB, theta 0.99, scrambled), all other keys are drawn evenly; each client that writes has keys of its own. mixed puts or gets by a coin; of readwrite's clients each second one writes. Writes are not synced.
- Repetitions: {{.Reps}}; ops/s and ratio are their median (min-max), latencies are of all, sizes are the largest, all else is the median. All phases of a repetition use one store, in this order; the engines take turns.
{{- end}}
- CPU is that of the process while the clients run, + what settling takes after that. read x: bytes that the process had read from the device (/proc/self/io, read-ahead included) over the bytes of all operations' keys and values. write x: bytes that it made dirty until it was settled, over those of all puts. RSS is its peak, mapped pages of files included; cgroup is the peak of all, page cache included, and in brackets how often it was at its limit. ?: others kept more than {{percent ` + fmt.Sprint(disturbedCores) + `}} cores busy, the kernel's own threads included.
- check reads every key: each must be there once, in order, with the value of the last write to it. kill sends SIGKILL to a process whose {{` + fmt.Sprint(killClients) + `}} clients overwrite, opens the store again and checks: nothing that was acknowledged may be lost, where the engine promises that; each client's writes must be there up to some point, and none after it.
- Machine: {{.Machine}}.
{{- range .Engines}}
- {{.Name}} {{.Version}}, GOMEMLIMIT {{bytes .HeapLimit}}: what its cgroup leaves of what the engine keeps outside of Go's heap
{{- range .Settings}}
  - {{.}}
{{- end}}
{{- end}}
`))
