// Package result is what kvbench has measured, and its JSON form, out of which
// every report can be drawn again.
//
// It holds the raw figures of each phase, and nothing that follows from them:
// medians, spreads and ratios are of package report.
package result

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"faultline/cmd/kvbench/internal/figure"
)

// A Run is all that came out of one start of kvbench.
type Run struct {
	Format  int            `json:"format"` // see Format
	Time    time.Time      `json:"time"`
	Command []string       `json:"command"` // the arguments
	Machine figure.Machine `json:"machine"`
	Setup   Setup          `json:"setup"`
	Engines []Engine       `json:"engines"` // in the order of reports
	Phases  []Phase        `json:"phases"`  // in the order of doing them
	Opens   []Open         `json:"opens,omitempty"`
	Checks  []Check        `json:"checks,omitempty"`
	Notes   []string       `json:"notes"` // what a reader must know of the workloads and figures, a line each
}

// A Setup is what all phases of a run have in common.
type Setup struct {
	Keys        int64         `json:"keys"` // in a loaded store
	KeyBytes    int           `json:"key_bytes"`
	ValueBytes  int           `json:"value_bytes"`
	MemoryBytes int64         `json:"memory_bytes"` // for each engine
	Sync        bool          `json:"sync"`         // every write is synced, also of workloads that do not say
	Duration    time.Duration `json:"duration_ns"`  // a phase ends after this; 0 = only when it is done
	Reps        int           `json:"reps"`
	Seed        uint64        `json:"seed"`
	Baseline    string        `json:"baseline"` // the engine that ratios are to, empty without one

	// 0 or empty where they are not set, or matter to no workload.
	Warmup       time.Duration `json:"warmup_ns,omitempty"` // of phases that can be done for a while before
	Rate         float64       `json:"rate,omitempty"`      // see Phase
	BatchEntries int           `json:"batch_entries,omitempty"`
	SeekNexts    int           `json:"seek_nexts,omitempty"`
	Distribution string        `json:"distribution,omitempty"` // of YCSB's records, empty = that of each workload
}

// usualBaseline is the engine that ratios are to, where it was measured.
const usualBaseline = "pebble"

// BaselineOf returns the engine that ratios are to: the usual one, or else the last. One
// engine alone has none.
func BaselineOf(engines []string) string {
	switch {
	case len(engines) < 2:
		return ""
	case slices.Contains(engines, usualBaseline):
		return usualBaseline
	}
	return engines[len(engines)-1]
}

// An Engine says what was measured, and how it was set up.
type Engine struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Settings []string `json:"settings"` // one fact a line, its memory and durability among them
}

// A Workload is a name with a number of clients.
type Workload struct {
	Name    string `json:"workload"`
	Threads int    `json:"threads"`
}

// A Phase is what one workload on one engine in one repetition came to.
type Phase struct {
	Workload
	Engine string `json:"engine"`
	Rep    int    `json:"rep"`   // from 1
	Place  int    `json:"place"` // 1 = this engine was first

	// Cannot says why the engine does not do this workload. There are no figures then.
	Cannot string `json:"cannot,omitempty"`
	// Failed says what went wrong. There are no figures then either.
	Failed string `json:"failed,omitempty"`

	Ops     int `json:"ops"`
	Found   int `json:"found"`   // keys that a get or seek met
	Entries int `json:"entries"` // entries that an iterator returned
	Stored  int `json:"stored"`  // entries in the store afterwards, where it was written

	Warm      Warm          `json:"warm,omitzero"`            // what was done before, where that wrote
	Seconds   float64       `json:"seconds"`                  // that the clients ran
	Run       figure.Usage  `json:"run"`                      // while they ran
	Settle    figure.Usage  `json:"settle"`                   // while what they wrote was settled
	PutBytes  int64         `json:"put_bytes"`                // keys and values that the clients wrote
	GotBytes  int64         `json:"got_bytes"`                // and that they read
	DiskBytes int64         `json:"disk_bytes"`               // of the store on the disk, settled; 0 = not looked at
	DataBytes int64         `json:"data_bytes"`               // keys and values in it then
	PeakRSS   int64         `json:"peak_rss_bytes,omitempty"` // 0 where the process is not this engine's alone
	Cgroup    *Cgroup       `json:"cgroup,omitempty"`         // nil where there is none
	Rate      float64       `json:"rate"`                     // operations a second that clients were to begin, 0 = as fast as they could
	Parts     []Part        `json:"parts,omitempty"`          // where operations are of several kinds
	Series    figure.Series `json:"series,omitempty"`         // where it is long enough for one

	Latency figure.Latency `json:"latency"` // of all operations
}

// A Warm is what clients have done before a phase that writes was timed. What they wrote
// reaches the device later, or is overwritten before it does.
type Warm struct {
	Ops        int   `json:"ops"`
	PutBytes   int64 `json:"put_bytes"`   // see Phase
	WriteBytes int64 `json:"write_bytes"` // see figure.Usage
}

// A Part is the operations of one kind.
type Part struct {
	Kind    string         `json:"kind"` // such as read or update
	Ops     int            `json:"ops"`
	Latency figure.Latency `json:"latency"`
}

// An Open is how long a store took to open.
type Open struct {
	Engine  string  `json:"engine"`
	Rep     int     `json:"rep"`
	After   Ending  `json:"after"`
	Seconds float64 `json:"seconds"`
	Cannot  string  `json:"cannot,omitempty"` // why there is no figure
	Failed  string  `json:"failed,omitempty"` // what went wrong; there is no figure then either
}

// A Check is what came of reading every key of a store.
type Check struct {
	Engine  string  `json:"engine"`
	Rep     int     `json:"rep"`
	After   Ending  `json:"after"`
	Failed  string  `json:"failed,omitempty"` // what is wrong; the store is not whole then
	Keys    uint64  `json:"keys"`
	Writes  uint64  `json:"writes"` // to them since they were loaded
	Acked   uint64  `json:"acked"`  // writes that a killed process had acknowledged
	Lost    uint64  `json:"lost"`   // of those
	Seconds float64 `json:"seconds"`
	PeakRSS int64   `json:"peak_rss_bytes"`
	Cgroup  *Cgroup `json:"cgroup,omitempty"`
}

// A Cgroup is what the memory cgroup of a process has counted, page cache too.
type Cgroup struct {
	LimitBytes int64 `json:"limit_bytes"`
	PeakBytes  int64 `json:"peak_bytes"` // -1 = the kernel does not say
	AtLimit    int64 `json:"at_limit"`   // times that memory was reclaimed for it
	OOMKills   int64 `json:"oom_kills"`
}

// An Ending is how the process before has left a store.
type Ending string

const (
	Closed Ending = "close"   // by Close
	Killed Ending = "kill -9" // by SIGKILL while clients wrote
)

func (w Workload) String() string { return fmt.Sprintf("%s@%d", w.Name, w.Threads) }

// OpsPerSecond is the throughput.
func (p *Phase) OpsPerSecond() float64 { return float64(p.Ops) / p.Seconds }

// CPUMicros is the CPU time of an operation while the clients ran.
func (p *Phase) CPUMicros() float64 { return 1e6 * p.Run.CPUSeconds / float64(p.Ops) }

// SettleMicros is what settling took after that, for each operation.
func (p *Phase) SettleMicros() float64 { return 1e6 * p.Settle.CPUSeconds / float64(p.Ops) }

// Written is how many bytes went to the device until all that the clients wrote was
// settled, from the warm-up on.
func (p *Phase) Written() int64 { return p.Warm.WriteBytes + p.Run.WriteBytes + p.Settle.WriteBytes }

// Interrupted returns the error of a run that was ended before its end.
func (r *Run) Interrupted() error {
	if len(r.Phases) == 0 {
		return errors.New("interrupted before anything was measured")
	}
	return errors.New("interrupted")
}

// Failures returns what went wrong, or nil.
func (r *Run) Failures() error {
	var errs []error
	add := func(what string, rep int, reason string) {
		if reason != "" {
			errs = append(errs, fmt.Errorf("%s, repetition %d: %s", what, rep, strings.ReplaceAll(reason, "\n", "; ")))
		}
	}
	for i := range r.Phases {
		p := &r.Phases[i]
		add(p.Engine+" "+p.Workload.String(), p.Rep, p.Failed)
	}
	for _, o := range r.Opens {
		add(o.Engine+", time to open after "+string(o.After), o.Rep, o.Failed)
	}
	for _, c := range r.Checks {
		add(c.Engine+", check after "+string(c.After), c.Rep, c.Failed)
	}
	return errors.Join(errs...)
}
