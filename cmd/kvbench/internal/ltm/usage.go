package ltm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Usage is what a process has used of the machine, between two readings.
type Usage struct {
	CPUSeconds  float64 `json:"cpu_seconds"`
	OthersCores float64 `json:"others_cores"` // cores that all else kept busy, the kernel's threads too

	// Of the process, as the kernel counts them: reads from the device, read-ahead
	// included; and what it has made dirty, be it on the device yet or not.
	ReadBytes  int64 `json:"read_bytes"`
	WriteBytes int64 `json:"write_bytes"`

	// Of the device that the store is on, whoever it was for; 0 where it has none.
	DeviceReadBytes  int64 `json:"device_read_bytes"`
	DeviceWriteBytes int64 `json:"device_write_bytes"`
}

// A reading is the counters at one moment.
type reading struct {
	seconds              float64 // of the clock
	cpu, busy            float64 // seconds: this process, the machine
	read, write          int64
	deviceRead, deviceWr int64
}

// A meter takes readings.
type meter struct {
	device string // the directory in sysfs of the device, or empty
	clock  func() float64
}

func newMeter(dir string, clock func() float64) *meter { return &meter{deviceOf(dir), clock} }

// usageBetween subtracts two readings.
func usageBetween(a, b reading) Usage {
	u := Usage{
		CPUSeconds: b.cpu - a.cpu,
		ReadBytes:  b.read - a.read, WriteBytes: b.write - a.write,
		DeviceReadBytes: b.deviceRead - a.deviceRead, DeviceWriteBytes: b.deviceWr - a.deviceWr,
	}
	if d := b.seconds - a.seconds; d > 0 {
		u.OthersCores = max(0, (b.busy-a.busy-u.CPUSeconds)/d)
	}
	return u
}

func (m *meter) read() (reading, error) {
	r := reading{seconds: m.clock(), cpu: cpuSeconds()}
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

// A Memory is what a process has and had resident.
type Memory struct {
	PeakRSS   int64 `json:"peak_rss_bytes"`
	Anonymous int64 `json:"anonymous_bytes"` // at the end: all but pages of files
}

func readMemory() (Memory, error) {
	const path, unit = "/proc/self/status", 1024
	peak, err := numberIn(path, "VmHWM:")
	if err != nil {
		return Memory{}, err
	}
	anonymous, err := numberIn(path, "RssAnon:")
	if err != nil {
		return Memory{}, err
	}
	shmem, err := numberIn(path, "RssShmem:")
	return Memory{unit * peak, unit * (anonymous + shmem)}, err
}
