package ltm

import (
	"encoding/csv"
	"io"
	"strconv"

	"faultline/cmd/kvbench/internal/figure"
)

// WriteSeries writes the series of all phases that have one, a line for each
// interval, with its end, as comma-separated values. Latencies are in microseconds.
func (r *Report) WriteSeries(w io.Writer) error {
	out := csv.NewWriter(w)
	head := []string{"engine", "rep", "workload", "seconds"}
	for _, what := range []string{"write", "read"} {
		for _, column := range []string{"ops", "p50_us", "p99_us", "p99.9_us", "max_us"} {
			head = append(head, what+"_"+column)
		}
	}
	if err := out.Write(append(head, "rounds", "device_read_bytes", "written_bytes")); err != nil {
		return err
	}
	for i := range r.Children {
		p := &r.Children[i]
		for j := range p.Series {
			s := &p.Series[j]
			line := []string{p.Engine, strconv.Itoa(p.Rep), p.Workload.String(), strconv.FormatFloat(s.End, 'f', 1, 64)}
			line = append(append(line, timesCells(&s.Writes)...), timesCells(&s.Reads)...)
			line = append(line, strconv.FormatUint(s.Rounds, 10),
				strconv.FormatInt(s.ReadBytes, 10), strconv.FormatInt(s.WriteBytes, 10))
			if err := out.Write(line); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

func timesCells(t *figure.Times) []string {
	micros := func(nanos int64) string { return strconv.FormatFloat(float64(nanos)/1e3, 'f', 1, 64) }
	return []string{strconv.FormatInt(t.Ops, 10), micros(t.P50), micros(t.P99), micros(t.P999), micros(t.Max)}
}
