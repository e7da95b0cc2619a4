package bench

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// syncfs writes all that is dirty on the file system of f.
func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// cpuNow returns what the process has used so far.
func cpuNow() cpuTime {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err)) // no argument can be wrong
	}
	return cpuTime{time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())}
}
