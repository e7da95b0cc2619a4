package client_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"faultline/client"
	"faultline/kv"
	"faultline/server"
)

// BenchmarkClient has many goroutines that get and put values of 64 bytes, and counts
// the CPU time that this process takes for each. FAULTLINE_URL is a server in another
// process, as docs/bench.md has it; without it the server is in this one, and counts.
func BenchmarkClient(b *testing.B) {
	url := os.Getenv("FAULTLINE_URL")
	if url == "" {
		d, err := serve(server.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer d.stop()
		url = d.url
	}
	db, err := client.Open(context.Background(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	const keys = 10_000
	key := func(i int64) []byte { return fmt.Appendf(nil, "key%09d", i*7919%keys) }
	value := make([]byte, 64)
	if err := db.Write(context.Background(), kv.Async, func(b kv.Batch) error {
		for i := range int64(keys) {
			if err := b.Put(key(i), value); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		call func(key []byte) error
	}{
		{"get", func(key []byte) error { _, err := db.Get(key); return err }},
		{"put", func(key []byte) error { return db.Put(key, value, kv.Async) }},
	} {
		for _, callers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/%d", c.name, callers), func(b *testing.B) {
				var next atomic.Int64
				var wg sync.WaitGroup
				before := cpu(b)
				for range callers {
					wg.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							if err := c.call(key(i)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(cpu(b)-before)/1e3/float64(b.N), "us-cpu/op")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
			})
		}
	}
}

// cpu returns the CPU time that this process has taken, in ns.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
