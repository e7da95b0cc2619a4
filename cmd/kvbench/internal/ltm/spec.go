package ltm

import (
	"time"

	"faultline/cmd/kvbench/internal/cgroup"
	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/figure"
	"faultline/cmd/kvbench/internal/keys"
	"faultline/cmd/kvbench/internal/result"
)

// What a child is to do.
const (
	stepLoad  = "load"
	stepRun   = "run"
	stepCheck = "check"
)

// A Spec is what a child gets to do.
type Spec struct {
	Step         string        `json:"step"`
	Engine       string        `json:"engine"`
	Setup        engine.Setup  `json:"setup"`
	Dir          string        `json:"dir"`
	Space        keys.Space    `json:"space"`
	ValueBytes   int           `json:"value_bytes"`
	Compressible bool          `json:"compressible"`
	Seed         uint64        `json:"seed"`
	Sequential   bool          `json:"sequential"`    // load
	BatchEntries int           `json:"batch_entries"` // load
	Workload     Workload      `json:"workload"`      // run
	Warmup       time.Duration `json:"warmup"`        // run
	Duration     time.Duration `json:"duration"`      // run
	Series       bool          `json:"series"`        // run
	StepSeed     uint64        `json:"step_seed"`     // run: of this step's draws
	History      history       `json:"history"`       // of steps that have written before
	Killed       bool          `json:"killed"`        // check: the last one was
}

// A Result is what a child answers.
type Result struct {
	Ops     uint64 `json:"ops"` // timed
	Puts    uint64 `json:"puts"`
	Found   uint64 `json:"found"`
	Entries uint64 `json:"entries"`

	Seconds     float64 `json:"seconds"`
	OpenSeconds float64 `json:"open_seconds"`

	Warm    result.Warm    `json:"warm"`           // before that, where the clients write
	Run     figure.Usage   `json:"run"`            // while the clients were timed
	Settle  figure.Usage   `json:"settle"`         // and while what they wrote was settled
	PeakRSS int64          `json:"peak_rss_bytes"` // at the end, before the store was closed
	Latency figure.Latency `json:"latency"`

	Done   []uint64      `json:"done,omitempty"` // for each client, all its writes
	Check  *Check        `json:"check,omitempty"`
	Series figure.Series `json:"series,omitempty"`
}

// A Phase is what one child came to, with what its parent has seen.
type Phase struct {
	Step     string
	Workload Workload
	Engine   string
	Rep      int // from 1
	Place    int // 1 = this engine was first
	Result
	Cgroup      *cgroup.Stats
	CgroupBytes int64
	CachedBytes int64 // of the store's files in the page cache, when the child began
	DiskBytes   int64 // of the store, afterwards
	Failed      string
}
