// Package meter reads what the process and its machine have used.
package meter

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"faultline/cmd/kvbench/internal/figure"
)

// A Reading is the counters at one moment.
type Reading struct {
	at                   time.Time
	user, system, busy   float64 // seconds: this process, and all of the machine
	read, write          int64
	deviceRead, deviceWr int64
}

// A Meter takes readings of this process. It is safe for concurrent use.
type Meter struct {
	device string // the directory in sysfs of the device, or empty
}

// New returns a meter that looks at the device which dir is on.
func New(dir string) *Meter { return &Meter{deviceOf(dir)} }

// Between subtracts two readings.
func Between(a, b Reading) figure.Usage {
	u := figure.Usage{
		Seconds:       b.at.Sub(a.at).Seconds(),
		SystemSeconds: b.system - a.system,
		CPUSeconds:    b.user - a.user + b.system - a.system,
		ReadBytes:     b.read - a.read, WriteBytes: b.write - a.write,
		DeviceReadBytes: b.deviceRead - a.deviceRead, DeviceWriteBytes: b.deviceWr - a.deviceWr,
	}
	if u.Seconds > 0 {
		u.OthersCores = max(0, (b.busy-a.busy-u.CPUSeconds)/u.Seconds)
	}
	return u
}

// Read takes a reading.
func (m *Meter) Read() (Reading, error) {
	r := Reading{at: time.Now()}
	r.user, r.system = cpuSeconds()
	var err error
	if r.busy, err = busySeconds(); err != nil {
		return r, err
	}
	if r.read, err = numberIn("/proc/self/io", "read_bytes:"); err != nil {
		return r, err
	}
	if r.write, err = numberIn("/proc/self/io", "write_bytes:"); err != nil {
		return r, err
	}
	if m.device == "" {
		return r, nil
	}
	text, err := os.ReadFile(filepath.Join(m.device, "stat"))
	if err != nil {
		return r, err
	}
	r.deviceRead, r.deviceWr, err = sectorsIn(string(text))
	return r, err
}

// sectorsIn returns the bytes of /sys/block/DEVICE/stat, which counts sectors of
// 512 bytes whatever those of the device are (Documentation/block/stat.rst).
func sectorsIn(text string) (read, write int64, err error) {
	const readAt, writeAt, sectorBytes = 2, 6, 512
	f := strings.Fields(text)
	if len(f) <= writeAt {
		return 0, 0, fmt.Errorf("device counters are %q", text)
	}
	if read, err = strconv.ParseInt(f[readAt], 10, 64); err != nil {
		return 0, 0, err
	}
	write, err = strconv.ParseInt(f[writeAt], 10, 64)
	return read * sectorBytes, write * sectorBytes, err
}

// userHertz is the unit of /proc/stat on every architecture that Go knows.
const userHertz = 100

// busySeconds returns how long the cores of the machine have worked.
func busySeconds() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return busyIn(line)
}

// busyIn sums up the first line of /proc/stat: user, nice, system, then idle and
// iowait, which are left out, then irq and softirq.
func busyIn(line string) (float64, error) {
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	sum := 0.0
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum / userHertz, nil
}

// numberIn returns the number after a name at the beginning of a line.
func numberIn(path, name string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no line %s", path, name)
}

// PeakRSS returns the most bytes that this process has had resident.
func PeakRSS() (int64, error) {
	const unit = 1024
	peak, err := numberIn("/proc/self/status", "VmHWM:")
	return unit * peak, err
}
