//go:build linux && (amd64 || arm64) && !race

package uffd

import (
	"sync/atomic"
	"testing"
	"unsafe"
)

// TestTrapAtomic shows that a compare-and-swap on a protected page traps even
// where it fails. Under the race detector it kills the process: the detector
// runs atomic operations in C, where a trap cannot become a panic. Hence the
// build constraint.
func TestTrapAtomic(t *testing.T) {
	f, mem, addr := arena(t, 1)
	must(t, f.Copy(addr, pages(1), true))
	word := (*uint32)(unsafe.Pointer(&mem[8]))
	wantTrap(t, "failed compare-and-swap", addr+8, func() { atomic.CompareAndSwapUint32(word, 77, 78) })
	wantTrap(t, "atomic add", addr+8, func() { atomic.AddUint32(word, 1) })
	wantTrap(t, "atomic load", 0, func() { atomic.LoadUint32(word) })
}
