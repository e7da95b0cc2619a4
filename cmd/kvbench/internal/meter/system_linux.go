package meter

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// deviceOf returns where sysfs has the device that dir is on, or nothing.
func deviceOf(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return ""
	}
	path := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// Allocated is what the files below dir take on the disk.
func Allocated(dir string) (n int64, err error) {
	const blockBytes = 512 // stat(2): whatever the file system's are
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		n += st.Blocks * blockBytes
		return nil
	})
	return n, err
}

// cpuSeconds is what this process has used, in its own code and in the kernel.
func cpuSeconds() (user, system float64) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err)) // no argument can be wrong
	}
	return time.Duration(u.Utime.Nano()).Seconds(), time.Duration(u.Stime.Nano()).Seconds()
}
