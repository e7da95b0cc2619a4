package store

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const benchKeys = 1_000_000

// benchKey is i in sixteen decimal digits; it allocates nothing.
func benchKey(dst []byte, i int) []byte {
	dst = append(dst[:0], "0000000000000000"...)
	for at := len(dst) - 1; i > 0; at-- {
		dst[at] = byte('0' + i%10)
		i /= 10
	}
	return dst
}

// benchStore is a store of benchKeys keys, all in memory.
func benchStore(b *testing.B) *DB {
	db := open(b, b.TempDir(), &Options{MemoryBudget: 2 << 30})
	value := make([]byte, 100)
	var key []byte
	var batch Batch
	for i := range benchKeys {
		key = benchKey(key, i)
		binary.LittleEndian.PutUint64(value, uint64(i))
		if err := batch.Put(key, value); err != nil {
			b.Fatal(err)
		}
		if batch.Len() == 1000 {
			if _, err := db.Apply(&batch, Async); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
		}
	}
	if err := db.Checkpoint(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return db
}

func BenchmarkGet(b *testing.B) {
	db := benchStore(b)
	r := rand.New(rand.NewPCG(1, 2))
	var key, value []byte
	for b.Loop() {
		key = benchKey(key, r.IntN(benchKeys))
		v, err := db.AppendGet(value[:0], key)
		if err != nil {
			b.Fatal(err)
		}
		value = v
	}
}

func BenchmarkGetParallel(b *testing.B) {
	db := benchStore(b)
	var seed atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(seed.Add(1), 2))
		var key, value []byte
		for pb.Next() {
			key = benchKey(key, r.IntN(benchKeys))
			v, err := db.AppendGet(value[:0], key)
			if err != nil {
				b.Error(err)
				return
			}
			value = v
		}
	})
}

func BenchmarkPut(b *testing.B) {
	for _, d := range []struct {
		name string
		d    Durability
	}{{"deferred", Deferred}, {"async", Async}, {"sync", Sync}} {
		b.Run(d.name, func(b *testing.B) {
			db := benchStore(b)
			r := rand.New(rand.NewPCG(1, 2))
			var key []byte
			value := make([]byte, 100)
			for b.Loop() {
				key = benchKey(key, r.IntN(benchKeys))
				if err := db.Put(key, value, d.d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkScan(b *testing.B) {
	benchScan(b, (*Iterator).First, (*Iterator).Next)
}

func BenchmarkScanBack(b *testing.B) {
	benchScan(b, (*Iterator).Last, (*Iterator).Prev)
}

func benchScan(b *testing.B, begin, step func(*Iterator) bool) {
	db := benchStore(b)
	it, err := db.NewIterator(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer it.Close()
	for b.Loop() {
		if !step(it) {
			begin(it)
		}
	}
}

// BenchmarkSeek makes an iterator, seeks, and reads the 50 entries from there on.
func BenchmarkSeek(b *testing.B) {
	db := benchStore(b)
	r := rand.New(rand.NewPCG(1, 2))
	var key []byte
	for b.Loop() {
		it, err := db.NewIterator(nil)
		if err != nil {
			b.Fatal(err)
		}
		key = benchKey(key, r.IntN(benchKeys))
		ok := it.SeekGE(key)
		for i := 0; ok && i < 50; i++ {
			ok = len(it.Value()) == 100 && it.Next()
		}
		if err := it.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkModify(b *testing.B) {
	db := benchStore(b)
	r := rand.New(rand.NewPCG(1, 2))
	key := make([]byte, 16)
	keys := [][]byte{key}
	fn := func(tx *Tx) error { return increment(tx, key) }
	for b.Loop() {
		key = benchKey(key, r.IntN(benchKeys))
		if _, err := db.Modify(context.Background(), keys, Deferred, fn); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGetPut is what BenchmarkModify does, without what makes it atomic.
func BenchmarkGetPut(b *testing.B) {
	db := benchStore(b)
	r := rand.New(rand.NewPCG(1, 2))
	var key, value []byte
	for b.Loop() {
		key = benchKey(key, r.IntN(benchKeys))
		v, err := db.AppendGet(value[:0], key)
		if err != nil {
			b.Fatal(err)
		}
		value = binary.BigEndian.AppendUint64(v[:0], countOf(v)+1)
		if err := db.Put(key, value, Deferred); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetAll(b *testing.B) {
	db := benchStore(b)
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, 10)
	for b.Loop() {
		for i := range keys {
			keys[i] = benchKey(keys[i], r.IntN(benchKeys))
		}
		if err := db.GetAll(keys, func(int, []byte, error) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeleteRange deletes half of the keys of a store, those in the middle: as a range,
// and one by one in batches of 1000. Memory "less" is a fifth of the data.
func BenchmarkDeleteRange(b *testing.B) {
	const keys = 2_000_000
	for _, memory := range []struct {
		name  string
		bytes int64
	}{{"all", 1 << 30}, {"less", 48 << 20}} {
		for _, way := range []struct {
			name string
			run  func(db *DB, from, to int) error
		}{{"range", deleteAsRange}, {"batches", deleteInBatches}} {
			b.Run(memory.name+"/"+way.name, func(b *testing.B) {
				var pages uint64
				for b.Loop() {
					b.StopTimer()
					db := open(b, b.TempDir(), &Options{MemoryBudget: memory.bytes})
					putAtRandom(b, db, keys)
					before := db.Metrics().Flush.PagesWritten
					b.StartTimer()
					if err := way.run(db, keys/4, keys*3/4); err != nil {
						b.Fatal(err)
					}
					if err := db.Checkpoint(context.Background()); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					pages += db.Metrics().Flush.PagesWritten - before
					if n := db.Len(); n != keys/2 {
						b.Fatalf("%d keys are left", n)
					}
					if err := db.Close(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				b.ReportMetric(float64(pages)/float64(b.N), "pages/op")
			})
		}
	}
}

// putAtRandom puts keys with 100 bytes each, in random order, and makes a checkpoint.
func putAtRandom(b *testing.B, db *DB, keys int) {
	value := make([]byte, 100)
	var key []byte
	var batch Batch
	for n, i := range rand.New(rand.NewPCG(1, 2)).Perm(keys) {
		key = benchKey(key, i)
		if err := batch.Put(key, value); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 999 {
			if _, err := db.Apply(&batch, Async); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
		}
	}
	if err := db.Checkpoint(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func deleteAsRange(db *DB, from, to int) error {
	_, err := db.DeleteRange(context.Background(), benchKey(nil, from), benchKey(nil, to), Sync)
	return err
}

func deleteInBatches(db *DB, from, to int) error {
	var key []byte
	var batch Batch
	for i := from; i < to; i++ {
		key = benchKey(key, i)
		if err := batch.Delete(key); err != nil {
			return err
		}
		if batch.Len() == 1000 || i == to-1 {
			if _, err := db.Apply(&batch, Sync); err != nil {
				return err
			}
			batch.Reset()
		}
	}
	return nil
}

// BenchmarkCut makes a checkpoint of 1 GiB of dirty pages while one client puts, and
// reports how long the gate was closed at most, and how long a put took.
func BenchmarkCut(b *testing.B) {
	const pages = 256 << 10
	db := open(b, b.TempDir(), &Options{MemoryBudget: 8 << 30, DirtyBudget: 2560 << 20, LogBytes: 4 << 30, CheckpointEvery: -1})
	var key []byte
	put := func(i int, value []byte) {
		key = benchKey(key, i)
		if err := db.Put(key, value, Deferred); err != nil {
			b.Fatal(err)
		}
	}
	value := make([]byte, 3900)
	for b.Loop() {
		for i := range pages {
			put(i, value)
		}
		ended := make(chan error, 1)
		go func() { ended <- db.Checkpoint(context.Background()) }()
		r := rand.New(rand.NewPCG(1, 2))
		var longest time.Duration
		for puts := 0; ; puts++ {
			began := time.Now()
			put(r.IntN(pages), value[:100])
			longest = max(longest, time.Since(began))
			if len(ended) > 0 {
				b.ReportMetric(float64(puts), "puts")
				break
			}
		}
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		m := db.Metrics().Flush
		b.ReportMetric(float64(m.MaxPause)/1e6, "ms-gate")
		b.ReportMetric(float64(m.LastPause)/1e6, "ms-cut")
		b.ReportMetric(float64(longest)/1e6, "ms-put")
		b.ReportMetric(float64(m.PagesWritten), "pages")
	}
}

// BenchmarkFill puts new keys into an empty store, in order and at random.
func BenchmarkFill(b *testing.B) {
	for _, order := range []string{"seq", "random"} {
		b.Run(order, func(b *testing.B) {
			db := open(b, b.TempDir(), &Options{MemoryBudget: 2 << 30})
			keys := rand.New(rand.NewPCG(1, 2)).Perm(benchKeys)
			value := make([]byte, 100)
			var key []byte
			b.ResetTimer()
			for i := range b.N {
				k := i % benchKeys
				if order == "random" {
					k = keys[k]
				}
				key = benchKey(key, k)
				if err := db.Put(key, value, Async); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBatch applies batches of 100 writes: new keys in order, and in random order, into
// an empty store; keys that are there, at random, and neighbours of each other in random
// order.
func BenchmarkBatch(b *testing.B) {
	shuffled := rand.New(rand.NewPCG(1, 2)).Perm(benchKeys)
	for _, kind := range []struct {
		name   string
		loaded bool
		key    func(i int) int
	}{
		{"seq", false, func(i int) int { return i % benchKeys }},
		{"random", false, func(i int) int { return shuffled[i%benchKeys] }},
		{"overwrite", true, func(i int) int { return shuffled[i%benchKeys] }},
		{"near", true, func(i int) int { return shuffled[i/100*100%benchKeys]/1000*1000 + i%100*37%1000 }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var db *DB
			if kind.loaded {
				db = benchStore(b)
			} else {
				db = open(b, b.TempDir(), &Options{MemoryBudget: 2 << 30})
			}
			var key []byte
			var batch Batch
			value := make([]byte, 100)
			before := cpuTime()
			for i := range b.N {
				batch.Reset()
				for j := range 100 {
					key = benchKey(key, kind.key(100*i+j))
					if err := batch.Put(key, value); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := db.Apply(&batch, Async); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(100*b.N), "cpu-ns/key")
			b.ReportMetric(float64(b.Elapsed())/float64(100*b.N), "ns/key")
		})
	}
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOpen opens a store of benchKeys keys whose log has as many overwrites that
// the data file has not, one a record.
func BenchmarkOpen(b *testing.B) {
	o := &Options{MemoryBudget: 2 << 30, LogBytes: 1 << 30, CheckpointEvery: -1}
	db := benchStore(b)
	r := rand.New(rand.NewPCG(1, 2))
	var key []byte
	value := make([]byte, 100)
	for range benchKeys {
		key = benchKey(key, r.IntN(benchKeys))
		if err := db.Put(key, value, Deferred); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.WaitWritten(db.LSN()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		dir := crashed(b, db)
		b.StartTimer()
		again := open(b, dir, o)
		b.StopTimer()
		if err := again.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
