// Package figure has the figures that every report of kvbench is made of, and the
// machine that they come from.
package figure

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// A Machine is where the figures come from.
type Machine struct {
	CPU         string  `json:"cpu"`
	Cores       int     `json:"cores"`
	MaxProcs    int     `json:"gomaxprocs"`
	MemoryBytes uint64  `json:"memory_bytes"`
	Kernel      string  `json:"kernel"`
	FileSystem  string  `json:"file_system"`
	Go          string  `json:"go"`
	Cgo         string  `json:"cgo"` // 1 or 0, as CGO_ENABLED when built
	ClockNanos  float64 `json:"clock_read_ns"`
}

// NewMachine looks at this machine, with dir on the file system in question.
func NewMachine(dir string) (Machine, error) {
	m := Machine{
		CPU:        cpuModel(),
		Cores:      runtime.NumCPU(),
		MaxProcs:   runtime.GOMAXPROCS(0),
		Go:         runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Cgo:        "unknown",
		ClockNanos: clockNanos(),
	}
	if err := m.ask(dir); err != nil {
		return Machine{}, err
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			if s.Key == "CGO_ENABLED" {
				m.Cgo = s.Value
			}
		}
	}
	return m, nil
}

func (m Machine) String() string {
	return fmt.Sprintf("%d x %s, %s of memory, %s, %s, %s, GOMAXPROCS %d, CGO_ENABLED=%s; reading the clock takes %.0f ns",
		m.Cores, m.CPU, humanize.IBytes(m.MemoryBytes), m.Kernel, m.FileSystem, m.Go, m.MaxProcs, m.Cgo, m.ClockNanos)
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// clockNanos is what one read of the clock by a client takes, which is part of every latency: the
// best of some tries, since others may use the core.
func clockNanos() float64 {
	const tries, reads = 16, 10_000
	epoch := time.Now()
	best := math.Inf(1)
	for range tries {
		start := time.Since(epoch)
		for range reads - 1 {
			time.Since(epoch)
		}
		best = min(best, float64(time.Since(epoch)-start)/reads)
	}
	return best
}
