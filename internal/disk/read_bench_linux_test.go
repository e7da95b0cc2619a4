package disk

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const benchBytes = 2 << 30

// BenchmarkRead reads random pages of a file of 2 GiB, made in TMPDIR, in
// goroutines. threads is a pread in each, queue is AIO for each, ReadAt is what
// the store does, ReadMany is a goroutine that asks for 64 at once. With
// beside=compute a goroutine computes meanwhile; turns/s says how often it came
// around.
//
//	TMPDIR=/on/the/disk go test ./internal/disk -run '^$' -bench 'Read$' -benchtime 60000x
func BenchmarkRead(b *testing.B) {
	f := benchFile(b)
	ways := []struct {
		name string
		read func(reads []Access)
		many int // reads a call
	}{
		{"threads", func(r []Access) { _, r[0].Err = f.pread(r[0].Mem, r[0].Off) }, 1},
		{"queue", func(r []Access) { f.queue.one(f.fd, iocbPread, r[0].Mem, r[0].Off) }, 1},
		{"ReadAt", func(r []Access) { _, r[0].Err = f.ReadAt(r[0].Mem, r[0].Off) }, 1},
		{"ReadMany", func(r []Access) { f.ReadMany(r, func(int) {}) }, 64},
	}
	for _, beside := range []string{"nothing", "compute"} {
		for _, way := range ways {
			for _, goroutines := range []int{1, 2, 4, 16, 64} {
				if way.many > 1 && goroutines > 4 {
					continue
				}
				name := fmt.Sprintf("beside=%s/way=%s/goroutines=%d", beside, way.name, goroutines)
				b.Run(name, func(b *testing.B) {
					if beside == "compute" {
						defer compute(b)()
					}
					readPages(b, goroutines, way.many, way.read)
				})
			}
		}
	}
}

// readPages makes b.N reads of random pages, and reports what they cost. Times are
// those of one call.
func readPages(b *testing.B, goroutines, many int, read func([]Access)) {
	mem, err := unix.Mmap(-1, 0, goroutines*many*DirectBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	must(b, err)
	defer unix.Munmap(mem)
	var left atomic.Int64
	left.Store(int64(b.N))
	times := make([][]time.Duration, goroutines)
	used := cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			reads := make([]Access, many)
			for left.Add(-int64(many)) > -int64(many) {
				for i := range reads {
					at := (g*many + i) * DirectBytes
					reads[i] = Access{Mem: mem[at : at+DirectBytes], Off: rand.Int64N(benchBytes/DirectBytes) * DirectBytes}
				}
				began := time.Now()
				read(reads)
				times[g] = append(times[g], time.Since(began))
				for i := range reads {
					must(b, reads[i].Err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	used = cpuTime() - used
	all := slices.Concat(times...)
	slices.Sort(all)
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
	b.ReportMetric(micros(used)/float64(b.N), "cpu-us/read")
	b.ReportMetric(micros(all[len(all)/2]), "p50-us")
	b.ReportMetric(micros(all[len(all)*99/100]), "p99-us")
}

// compute has a goroutine compute until the function that it returns is called.
func compute(b *testing.B) (stop func()) {
	var ended atomic.Bool
	var wg sync.WaitGroup
	turns := 0
	wg.Go(func() {
		x := uint64(1)
		for ; !ended.Load(); turns++ {
			for range 1000 {
				x = x*6364136223846793005 + 1
			}
		}
		runtime.KeepAlive(x)
	})
	return func() {
		ended.Store(true)
		wg.Wait()
		b.ReportMetric(float64(turns)/b.Elapsed().Seconds(), "turns/s")
	}
}

// cpuTime is what the process has used of the CPUs.
func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchFile is a direct file of benchBytes, all written.
func benchFile(b *testing.B) *directFile {
	plain, err := OS.Open(filepath.Join(b.TempDir(), "file"), true)
	must(b, err)
	opened, err := Direct(plain)
	must(b, err)
	b.Cleanup(func() { must(b, opened.Close()) })
	f, ok := opened.(*directFile)
	if !ok {
		b.Skip("no O_DIRECT in TMPDIR")
	}
	must(b, f.Allocate(benchBytes))
	mem := block(b, 1<<20)
	for i := range mem {
		mem[i] = byte(rand.Uint32())
	}
	for off := int64(0); off < benchBytes; off += int64(len(mem)) {
		_, err := f.WriteAt(mem, off)
		must(b, err)
	}
	must(b, f.Sync())
	if !f.queue.start() {
		b.Skip("no AIO")
	}
	return f
}
