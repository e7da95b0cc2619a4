//go:build !amd64 && !arm64

package pagemeta

import "sync/atomic"

var fence atomic.Uint32

// loadFence keeps the loads before it before the loads after it.
func loadFence() { fence.Add(0) }

// storeFence keeps the stores before it before the stores after it.
func storeFence() { fence.Add(0) }

func clearDirection() {}
