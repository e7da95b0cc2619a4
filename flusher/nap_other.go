//go:build !linux

package flusher

import "time"

// nap sleeps for d.
func nap(d time.Duration) { time.Sleep(d) }
