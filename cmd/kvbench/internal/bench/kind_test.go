package bench

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// modelConfig is of a run on a model.
func modelConfig() Config {
	return Config{N: 2000, KeyBytes: 16, ValueBytes: 10, SeekNexts: 5, BatchEntries: 10, Seed: 1}
}

// keysOf returns the keys of all deeds of a kind.
func keysOf(m *model, what string) (keys []string) {
	for _, d := range m.did {
		if d.what == what {
			keys = append(keys, d.key)
		}
	}
	return keys
}

// TestKinds runs each workload of one client on a model, and checks what it has done
// to it, call by call.
func TestKinds(t *testing.T) {
	c := modelConfig()
	var all []string
	for i := range c.N {
		all = append(all, fmt.Sprintf("%016d", i))
	}
	different := func(keys []string) int {
		slices.Sort(keys)
		return len(slices.Compact(keys))
	}
	// Of n draws of n numbers 1-1/e are different.
	uniform := func(n int) bool { return math.Abs(float64(n)/float64(c.N)-0.632) < 0.04 }
	for name, is := range map[string]func(m *model) bool{
		"fillseq": func(m *model) bool { return slices.Equal(keysOf(m, "put"), all) },
		"fillrandom": func(m *model) bool {
			puts := keysOf(m, "put")
			return !slices.IsSorted(puts) && slices.Equal(slices.Sorted(slices.Values(puts)), all)
		},
		"fillbatch": func(m *model) bool {
			return slices.Equal(keysOf(m, "put"), all) && len(keysOf(m, "commit")) == c.N/c.BatchEntries
		},
		"fillsync":   func(m *model) bool { return different(keysOf(m, "put")) == 1000 },
		"overwrite":  func(m *model) bool { return uniform(different(keysOf(m, "put"))) },
		"readrandom": func(m *model) bool { return uniform(different(keysOf(m, "get"))) },
		"readzipf": func(m *model) bool {
			count := map[string]int{}
			for _, key := range keysOf(m, "get") {
				count[key]++
			}
			return slices.Max(slices.Collect(maps.Values(count))) > c.N/50
		},
		"readmissing": func(m *model) bool {
			misses := keysOf(m, "miss")
			return uniform(different(misses)) && strings.HasSuffix(misses[0], ".")
		},
		"readseq": func(m *model) bool { return slices.Equal(append(keysOf(m, "first"), keysOf(m, "next")...), all) },
		"readreverse": func(m *model) bool {
			got := append(keysOf(m, "last"), keysOf(m, "prev")...)
			slices.Reverse(got)
			return slices.Equal(got, all)
		},
		"seekrandom": func(m *model) bool {
			return len(keysOf(m, "seek")) == 1000 && math.Abs(float64(len(keysOf(m, "next"))-1000*c.SeekNexts)) < 100
		},
		"deleterandom": func(m *model) bool { return uniform(different(keysOf(m, "delete"))) && len(m.store) < c.N/2 },
		"ycsbload": func(m *model) bool {
			return different(keysOf(m, "put")) == c.N && !slices.IsSorted(keysOf(m, "put")) && !slices.Contains(keysOf(m, "put"), all[1])
		},
		"readwhilewriting": func(m *model) bool { return uniform(different(keysOf(m, "get"))) && len(keysOf(m, "put")) > 0 },
	} {
		m, _ := onModel(t, c, Workload{Name: name, Threads: 1})
		if !is(m) {
			t.Errorf("%s did something else: %d calls, first %v", name, len(m.did), m.did[:min(3, len(m.did))])
		}
	}
}

// TestYCSB checks the shares of YCSB's workloads, and which records they choose.
func TestYCSB(t *testing.T) {
	c := modelConfig()
	for name, want := range map[string]struct{ gets, puts, seeks float64 }{
		"ycsba": {0.5, 0.5, 0}, "ycsbb": {0.95, 0.05, 0}, "ycsbc": {1, 0, 0}, "ycsbd": {0.95, 0.05, 0},
		"ycsbe": {0, 0.05, 0.95}, "ycsbf": {1, 0.5, 0},
	} {
		m, clients := onModel(t, c, Workload{Name: name, Threads: 1})
		ops := float64(clients[0].done)
		for what, share := range map[string]float64{"get": want.gets, "put": want.puts, "seek": want.seeks, "miss": 0} {
			if got := float64(len(keysOf(m, what))) / ops; math.Abs(got-share) > 0.04 {
				t.Errorf("%s: %.2f of the operations %s, want %.2f", name, got, what, share)
			}
		}
		inserted := len(m.store) - c.N
		if inserts := name == "ycsbd" || name == "ycsbe"; inserts != (inserted > 0) {
			t.Errorf("%s: %d records inserted", name, inserted)
		}
		if name == "ycsbe" {
			if perScan := float64(len(keysOf(m, "next"))) / ops; perScan < 40 || perScan > 55 {
				t.Errorf("ycsbe: %.1f entries a scan, want about 50", perScan)
			}
		}
	}
}

// TestDistributions checks which records are read most.
func TestDistributions(t *testing.T) {
	c := modelConfig()
	share := func(name string, d Distribution) (first, newest float64) {
		c.Distribution = d
		m, clients := onModel(t, c, Workload{Name: name, Threads: 1})
		count := map[string]int{}
		for _, key := range keysOf(m, "get") {
			count[key]++
		}
		key := make([]byte, c.KeyBytes)
		for i := c.N - 1; i >= c.N-20; i-- {
			clients[0].names.Put(key, uint64(i))
			newest += float64(count[string(key)])
		}
		return float64(slices.Max(slices.Collect(maps.Values(count)))) / float64(c.N), newest / float64(c.N)
	}
	if first, _ := share("ycsbc", OwnDistribution); math.Abs(first-1/26.5) > 0.02 {
		t.Errorf("zipfian: the favourite gets %.3f", first)
	}
	if first, _ := share("ycsbc", Uniform); first > 0.01 {
		t.Errorf("uniform: the favourite gets %.3f", first)
	}
	if _, newest := share("ycsbc", Latest); newest < 0.3 {
		t.Errorf("latest: the newest hundredth gets %.3f", newest)
	}
}

// TestReproducible wants the same calls of the same seed, and others of another.
func TestReproducible(t *testing.T) {
	for _, k := range kinds {
		if k.beside != nil {
			continue // two clients, in no order
		}
		c := modelConfig()
		w := Workload{Name: k.name, Threads: 1}
		a, _ := onModel(t, c, w)
		b, _ := onModel(t, c, w)
		if !slices.Equal(a.did, b.did) || !maps.Equal(a.store, b.store) {
			t.Errorf("%s: another run of the same seed does something else", k.name)
		}
		c.Seed++
		if b, _ = onModel(t, c, w); slices.Equal(a.did, b.did) && maps.Equal(a.store, b.store) {
			t.Errorf("%s: another seed does the same", k.name)
		}
	}
}

// TestThreads runs each workload with several clients on a model: verify then finds what
// one did twice or left out.
func TestThreads(t *testing.T) {
	for _, k := range kinds {
		c := modelConfig()
		c.N = 1999 // which three do not share evenly
		_, clients := onModel(t, c, Workload{Name: k.name, Threads: 3})
		for _, cl := range clients[:3] {
			if cl.done == 0 {
				t.Errorf("%s: client %d did nothing", k.name, cl.index)
			}
		}
	}
}

// TestRate checks that a latency is from the time at which an operation was due: where
// the rate is beyond any store, nearly all wait for nearly all before them.
func TestRate(t *testing.T) {
	c := modelConfig()
	c.Rate = 1e9
	_, clients := onModel(t, c, Workload{Name: "overwrite", Threads: 1})
	h := clients[0].latency[0]
	if h.TotalCount() != int64(c.N) || h.Mean()*float64(c.N) < 10*float64(h.Max()) {
		t.Errorf("%d latencies of %v ns on average, %d at most: want a queue that grows", h.TotalCount(), h.Mean(), h.Max())
	}
}

// TestTooSlow has rates at which no second operation is due before the time is over: none
// is begun.
func TestTooSlow(t *testing.T) {
	c := modelConfig()
	c.Duration = time.Millisecond
	for _, c.Rate = range []float64{0.1, 1e-9, 1e-10, 1e-300} {
		_, clients := onModel(t, c, Workload{Name: "overwrite", Threads: 2})
		if clients[0].done != 1 || clients[1].done != 0 {
			t.Errorf("%v a second: clients did %d and %d operations, want 1 and none", c.Rate, clients[0].done, clients[1].done)
		}
	}
}

// TestEndless gives workloads a time instead of a number: what draws keys or scans goes on
// for all of it, what fills a store does not.
func TestEndless(t *testing.T) {
	c := modelConfig()
	c.N, c.Duration = 10, 20*time.Millisecond
	for name, want := range map[string]bool{"overwrite": true, "readseq": true, "ycsbd": true, "fillseq": false, "deleterandom": false} {
		_, clients := onModel(t, c, Workload{Name: name, Threads: 1})
		if got := clients[0].done > c.N; got != want {
			t.Errorf("%s: %d operations of %d keys", name, clients[0].done, c.N)
		}
	}
}

// TestSampling checks that of cheap operations some are timed, and that these stand for all.
func TestSampling(t *testing.T) {
	c := modelConfig()
	_, clients := onModel(t, c, Workload{Name: "readrandom", Threads: 1})
	want := int64(c.N / everyGet)
	if got := clients[0].latency[0].TotalCount(); got < want/2 || got > 2*want {
		t.Errorf("%d of %d operations were timed, want about %d", got, c.N, want)
	}
}
