package store

import (
	"fmt"
	"io"
	"testing"
)

// BenchmarkLong writes and reads values of 64 MiB, over one another.
func BenchmarkLong(b *testing.B) {
	db := open(b, b.TempDir(), &Options{MemoryBudget: 256 << 20, CheckpointEvery: -1})
	value := longBytes(1, 64<<20)
	b.Run("put", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		for i := range b.N {
			if err := db.Put(fmt.Appendf(nil, "%d", i%2), value, Sync); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stream", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		for i := range b.N {
			if err := db.PutReader(b.Context(), fmt.Appendf(nil, "%d", i%2), io.LimitReader(endless{}, int64(len(value))), -1, Sync); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		var err error
		for range b.N {
			if value, err = db.AppendGet(value[:0], []byte("0")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("range of 64 KiB", func(b *testing.B) {
		b.SetBytes(64 << 10)
		var err error
		for i := range b.N {
			if value, err = db.AppendGetRange(value[:0], []byte("0"), int64(i)*98765432%(63<<20), 64<<10); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// An endless reader is a reader of the same bytes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
