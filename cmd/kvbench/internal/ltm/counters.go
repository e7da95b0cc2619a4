package ltm

import (
	"sync/atomic"
	"unsafe"
)

// A counter is one client's, on a cache line of its own, in memory that parent
// and child share: what it says outlives the child.
type counter struct {
	atomic.Uint64
	_ [64 - 8]byte
}

const countersBytes = maxClients * int(unsafe.Sizeof(counter{}))

// countersFD is where a child finds the memory: after standard input, output and
// error.
const countersFD = 3

// countersIn returns the counters that are in shared memory of countersBytes.
func countersIn(memory []byte) []counter {
	return unsafe.Slice((*counter)(unsafe.Pointer(&memory[0])), maxClients)
}

// sum is what all clients have counted together.
func sum(counters []counter) (n uint64) {
	for i := range counters {
		n += counters[i].Load()
	}
	return n
}

// done is sum of the clients of the child that runs.
func (r *run) done() int64 { return int64(sum(r.counters)) }
