package flusher

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps for d, a few milliseconds at most, in a system call. A timer of the Go
// scheduler would be a millisecond late when the process has nothing else to do: it
// waits for timers in epoll_wait, which counts in milliseconds. Who can run goes first.
func nap(d time.Duration) {
	runtime.Gosched()
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // a signal ends it early
}
