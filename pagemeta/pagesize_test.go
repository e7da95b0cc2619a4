package pagemeta

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkPageSize makes the touches of a lookup in a leaf, in 300 MiB that the kernel
// maps by pages of 4 KiB or of 2 MiB, with the leaf expected or not: what an arena in
// large pages would gain at most.
func BenchmarkPageSize(b *testing.B) {
	const pages = 300 << 8
	for _, size := range []struct {
		name   string
		advice int
	}{{"4KiB", unix.MADV_NOHUGEPAGE}, {"2MiB", unix.MADV_HUGEPAGE}} {
		const large = 2 << 20
		mem, err := unix.Mmap(-1, 0, pages*PageBytes+large, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Munmap(mem)
		arena := mem[-uintptr(unsafe.Pointer(&mem[0]))%large:]
		if err := unix.Madvise(arena, size.advice); err != nil {
			b.Fatal(err)
		}
		for at := 0; at < len(arena); at += LineBytes {
			arena[at] = byte(at / 7919)
		}
		for _, expected := range []bool{false, true} {
			name := size.name + "/plain"
			if expected {
				name = size.name + "/expected"
			}
			b.Run(name, func(b *testing.B) {
				x := uint64(1)
				began := cpuTime(b)
				for b.Loop() {
					x ^= x << 13
					x ^= x >> 7
					x ^= x << 17
					page := (*Page)(arena[x%pages*PageBytes:])
					if expected {
						prefetch(unsafe.Pointer(page), 5)
						prefetch(unsafe.Pointer(&page[PageBytes-LineBytes]), 1)
					}
					x += uint64(lookUp(page, x) & 1) // the next one waits for this one
				}
				b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// lookUp reads header, prefix, some slots and a cell, each where it is only if it has read
// what is before it.
func lookUp(p *Page, key uint64) int {
	if p[HeaderBytes] == 255 || p[PageBytes-8] == 255 {
		return 0
	}
	lo, hi := 0, 28
	for lo < hi {
		mid := (lo + hi) / 2
		if uint64(p[32+8*mid])^key>>mid&255 < 128 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	cell := p[400+118*lo:]
	return int(cell[0]) + int(cell[59]) + int(cell[117])
}

// cpuTime is the processor time of the process, in nanoseconds: others use the machine too.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
