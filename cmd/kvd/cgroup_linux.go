package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// availableMemory returns the bytes of memory that the machine has, and those of them
// that its control groups leave to this process.
func availableMemory() (machine, available int64, err error) {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return 0, 0, fmt.Errorf("sysinfo: %w", err)
	}
	machine = int64(si.Totalram) * int64(si.Unit)
	if limit, ok := cgroupLimit(); ok {
		return machine, min(machine, limit), nil
	}
	return machine, machine, nil
}

// cgroupLimit returns the bytes of memory that the control groups of this process leave
// to it, the least of theirs, and false if none has a limit.
func cgroupLimit() (int64, bool) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	return leastLimit(string(groups), "/sys/fs/cgroup")
}

// leastLimit is cgroupLimit with the text of /proc/self/cgroup, and where the
// hierarchies are mounted. A container may not see the directories above its own: what
// is not there has no limit.
func leastLimit(groups, mounted string) (int64, bool) {
	least := int64(math.MaxInt64)
	for _, line := range strings.Split(strings.TrimSpace(groups), "\n") {
		parts := strings.SplitN(line, ":", 3) // number, controllers, path
		if len(parts) < 3 {
			continue
		}
		root, file := mounted, "memory.max" // version 2
		if parts[1] != "" {
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
			root, file = filepath.Join(mounted, "memory"), "memory.limit_in_bytes" // version 1
		}
		for dir := filepath.Clean("/" + parts[2]); ; dir = filepath.Dir(dir) {
			least = min(least, limitIn(filepath.Join(root, dir, file)))
			if dir == "/" {
				break
			}
		}
	}
	const none = 1 << 60 // version 1 says a little less than 1<<63 for no limit
	return least, least < none
}

func limitIn(file string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n <= 0 { // "max"
		return math.MaxInt64
	}
	return n
}
