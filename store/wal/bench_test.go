package wal

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"faultline/internal/disk"
)

// benchPayload is a Put of a short key and a 100-byte value.
const benchPayload = 120

func openBench(b *testing.B) *Log {
	b.Helper()
	l, err := Open(Options{FS: disk.OS, Dir: filepath.Join(b.TempDir(), "wal")})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.Replay(0, nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

// run calls op b.N times, from n goroutines.
func run(b *testing.B, n int, op func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for range (b.N + i) / n {
				if err := op(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func benchLog(b *testing.B, commit func(l *Log, lsn LSN) error) {
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			l := openBench(b)
			payload := make([]byte, benchPayload)
			// The first segment is made before the clock runs.
			if lsn, err := l.Append(payload); err != nil || l.Sync(context.Background(), lsn) != nil {
				b.Fatal(err)
			}
			before := l.Metrics()
			run(b, n, func() error {
				lsn, err := l.Append(payload)
				if err != nil {
					return err
				}
				if lsn%(1<<24) < 1<<13 {
					l.Trim(lsn - 1<<20)
				}
				return commit(l, lsn)
			})
			m := l.Metrics()
			if groups := m.Groups - before.Groups; groups > 0 {
				b.ReportMetric(float64(m.Appends-before.Appends)/float64(groups), "records/group")
			}
			b.ReportMetric(float64(m.Writes-before.Writes)/float64(b.N), "writes/op")
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	benchLog(b, func(l *Log, lsn LSN) error { return nil })
}

func BenchmarkAppendWrite(b *testing.B) {
	benchLog(b, func(l *Log, lsn LSN) error { return l.Write(lsn) })
}

func BenchmarkAppendSync(b *testing.B) {
	benchLog(b, func(l *Log, lsn LSN) error { return l.Sync(context.Background(), lsn) })
}

// BenchmarkRaw is what the log is measured against: one goroutine writes records
// of the same size one after the other to a file of written zeros.
func BenchmarkRaw(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%t", sync), func(b *testing.B) {
			name := filepath.Join(b.TempDir(), "raw")
			s := segments{fs: disk.OS, size: DefaultSegmentBytes}
			if err := s.fill(name); err != nil {
				b.Fatal(err)
			}
			f, err := disk.OS.Open(name, false)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			record := make([]byte, recordBytes(benchPayload))
			off := int64(0)
			run(b, 1, func() error {
				if _, err := f.WriteAt(record, off); err != nil {
					return err
				}
				if off += int64(len(record)); off+int64(len(record)) > DefaultSegmentBytes {
					off = 0
				}
				if sync {
					return f.Sync()
				}
				return nil
			})
		})
	}
}
