//go:build linux && (amd64 || arm64)

package uffd

import (
	"fmt"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The benchmarks bring batch pages into the state to start from, with the clock
// stopped, then run operations of perOp pages each until all are through.
const batch = 256

func batches(b *testing.B, perOp int, prepare, run func()) {
	for done := 0; done < b.N; done += batch / perOp {
		b.StopTimer()
		prepare()
		b.StartTimer()
		run()
	}
	if perOp > 1 {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perOp), "ns/page")
	}
}

// dirtied returns batch writable pages and a function that stores to each.
func dirtied(b *testing.B) (f *FD, addr uintptr, dirty func()) {
	f, mem, addr := arena(b, batch)
	must(b, f.Copy(addr, pages(batch), false))
	return f, addr, func() {
		must(b, f.Unprotect(addr, batch*page))
		for i := range uintptr(batch) {
			mem[i*page]++
		}
	}
}

// BenchmarkProtect protects pages that have just been stored to, n a call.
func BenchmarkProtect(b *testing.B) {
	for _, n := range []uintptr{1, 16, 256} {
		b.Run(fmt.Sprintf("pages=%d", n), func(b *testing.B) {
			f, addr, dirty := dirtied(b)
			batches(b, int(n), dirty, func() {
				for i := uintptr(0); i < batch; i += n {
					must(b, f.Protect(addr+i*page, n*page))
				}
			})
		})
	}
}

func BenchmarkUnprotect(b *testing.B) {
	for _, n := range []uintptr{1, 16, 256} {
		b.Run(fmt.Sprintf("pages=%d", n), func(b *testing.B) {
			f, addr, dirty := dirtied(b)
			protect := func() { dirty(); must(b, f.Protect(addr, batch*page)) }
			batches(b, int(n), protect, func() {
				for i := uintptr(0); i < batch; i += n {
					must(b, f.Unprotect(addr+i*page, n*page))
				}
			})
		})
	}
}

func BenchmarkCopy(b *testing.B) {
	for _, protect := range []bool{true, false} {
		for _, n := range []uintptr{1, 16, 256} {
			b.Run(fmt.Sprintf("protect=%t/pages=%d", protect, n), func(b *testing.B) {
				f, mem, addr := arena(b, batch)
				src := pages(int(n))
				drop := func() { must(b, unix.Madvise(mem, unix.MADV_DONTNEED)) }
				batches(b, int(n), drop, func() {
					for i := uintptr(0); i < batch; i += n {
						must(b, f.Copy(addr+i*page, src, protect))
					}
				})
			})
		}
	}
}

// BenchmarkZero compares the two ways to a page of zeros, with and without the
// first store.
func BenchmarkZero(b *testing.B) {
	zeros := make([]byte, page)
	for _, way := range []struct {
		name string
		make func(f *FD, addr uintptr) error
	}{
		{"Zero", func(f *FD, addr uintptr) error { return f.Zero(addr, page) }},
		{"Copy", func(f *FD, addr uintptr) error { return f.Copy(addr, zeros, false) }},
	} {
		for _, store := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/store=%t", way.name, store), func(b *testing.B) {
				f, mem, addr := arena(b, batch)
				drop := func() { must(b, unix.Madvise(mem, unix.MADV_DONTNEED)) }
				batches(b, 1, drop, func() {
					for i := range uintptr(batch) {
						must(b, way.make(f, addr+i*page))
						if store {
							mem[i*page] = 1
						}
					}
				})
			})
		}
	}
}

// BenchmarkTrap is the whole way of a store to a protected page: SIGBUS, panic,
// recover, Unprotect, the store again.
func BenchmarkTrap(b *testing.B) {
	f, mem, addr := arena(b, batch)
	must(b, f.Copy(addr, pages(batch), true))
	protect := func() { must(b, f.Protect(addr, batch*page)) }
	batches(b, 1, protect, func() {
		for i := range uintptr(batch) {
			store := func() { mem[i*page]++ }
			at := trap(store)
			if at != addr+i*page {
				b.Fatalf("trap at %#x", at)
			}
			must(b, f.Unprotect(at, page))
			store()
		}
	})
}

// BenchmarkSyscallKinds compares the ways into the kernel: what Syscall costs
// over RawSyscall, alone and in an Unprotect.
func BenchmarkSyscallKinds(b *testing.B) {
	b.Run("getppid/Syscall", func(b *testing.B) {
		for b.Loop() {
			unix.Syscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	})
	b.Run("getppid/RawSyscall", func(b *testing.B) {
		for b.Loop() {
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	})
	for _, kind := range []struct {
		name string
		call func(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err unix.Errno)
	}{{"Syscall", unix.Syscall}, {"RawSyscall", unix.RawSyscall}} {
		b.Run("unprotect/"+kind.name, func(b *testing.B) {
			f, addr, dirty := dirtied(b)
			protect := func() { dirty(); must(b, f.Protect(addr, batch*page)) }
			arg := &uffdioWriteprotect{}
			batches(b, 1, protect, func() {
				for i := range uintptr(batch) {
					arg.rng = uffdioRange{uint64(addr + i*page), uint64(page)}
					if _, _, errno := kind.call(unix.SYS_IOCTL, uintptr(f.fd), ioctlWriteprotect, uintptr(unsafe.Pointer(arg))); errno != 0 {
						b.Fatal(errno)
					}
				}
			})
		})
	}
}
