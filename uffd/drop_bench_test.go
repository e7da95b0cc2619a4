//go:build linux && (amd64 || arm64)

package uffd

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/offheap"
)

// BenchmarkDrop is eviction: it gives back pages of an arena that are present and
// protected. each is one madvise a range, many is offheap.DropMany of ranges at
// once; run is pages a range, the ranges being scattered. Meanwhile as many
// threads as touching says read another part of the arena, so that each flush of
// the TLB has to interrupt them.
func BenchmarkDrop(b *testing.B) {
	const dropped, touched = 16384, 1024
	f, mem, addr := arena(b, dropped+touched)
	must(b, f.Copy(addr+dropped*page, pages(touched), true))
	src := pages(1024)
	fill := func() {
		must(b, offheap.Drop(mem[:dropped*page]))
		for p := uintptr(0); p < dropped; p += 1024 {
			must(b, f.Copy(addr+p*page, src, true))
		}
	}
	for _, touching := range []int{0, 1, 2} {
		for _, run := range []int{1, 8, 64} {
			for _, many := range []int{0, 64, 256, 1024} {
				if many*run > dropped/4 {
					continue
				}
				b.Run(fmt.Sprintf("touching=%d/run=%d/many=%d", touching, run, many), func(b *testing.B) {
					defer touch(mem[dropped*page:], touching)()
					var ranges [][]byte
					for done := 0; done < b.N; {
						if len(ranges) < max(many, 1) {
							b.StopTimer()
							fill()
							ranges = scattered(mem[:dropped*page], run)
							b.StartTimer()
						}
						if many == 0 {
							must(b, offheap.Drop(ranges[0]))
							ranges, done = ranges[1:], done+run
							continue
						}
						must(b, offheap.DropMany(ranges[:many]))
						ranges, done = ranges[many:], done+many*run
					}
				})
			}
		}
	}
}

// scattered returns every other run of n pages of mem, in random order.
func scattered(mem []byte, n int) (ranges [][]byte) {
	for r := range slices.Chunk(mem, n*int(page)) {
		ranges = append(ranges, r)
	}
	for i := range len(ranges) / 2 {
		ranges[i] = ranges[2*i]
	}
	ranges = ranges[:len(ranges)/2]
	rand.Shuffle(len(ranges), func(i, j int) { ranges[i], ranges[j] = ranges[j], ranges[i] })
	return ranges
}

// touch has n threads read the pages of mem over and over, until the function
// that it returns is called.
func touch(mem []byte, n int) (stop func()) {
	var ended atomic.Bool
	var threads sync.WaitGroup
	for range n {
		threads.Go(func() {
			runtime.LockOSThread()
			sum := byte(0)
			for !ended.Load() {
				for i := 0; i < len(mem); i += int(page) {
					sum += mem[i]
				}
			}
			runtime.KeepAlive(sum)
		})
	}
	return func() { ended.Store(true); threads.Wait() }
}
