package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
)

// A workload appends, writes, syncs and trims as its seed says, and knows what a
// recovery may and must find.
type workload struct {
	rng      *rand.Rand
	payloads []string
	ends     []LSN
	acked    LSN // newest LSN for which Sync has returned nil
	written  LSN // newest LSN for which Write or Sync has
	from     LSN // where a replay starts: the last checkpoint
}

func newWorkload(seed uint64) *workload {
	return &workload{rng: rand.New(rand.NewPCG(seed, 0))}
}

// run makes n steps against l, and ends at the first error.
func (w *workload) run(l *Log, n int) error {
	for range n {
		if err := w.step(l); err != nil {
			return err
		}
	}
	return nil
}

func (w *workload) step(l *Log) error {
	size := w.rng.IntN(200)
	if w.rng.IntN(8) == 0 {
		size = w.rng.IntN(6000) // may be longer than a segment
	}
	payload := fmt.Sprintf("%d %s", len(w.payloads), strings.Repeat("x", size))
	end, err := l.Append([]byte(payload))
	if err != nil {
		return err
	}
	w.payloads, w.ends = append(w.payloads, payload), append(w.ends, end)
	switch w.rng.IntN(6) {
	case 0:
		if err := l.Write(end); err != nil {
			return err
		}
		w.written = end
	case 1, 2:
		if err := l.Sync(context.Background(), end); err != nil {
			return err
		}
		w.acked, w.written = end, end
	case 3: // a checkpoint is at the end of some durable record
		for _, end := range w.ends {
			if end <= w.acked && w.rng.IntN(3) > 0 {
				w.from = max(w.from, end)
			}
		}
		return l.Trim(w.from)
	}
	return nil
}

// check returns what is wrong with a recovery that found got and ended at end:
// it must be the records behind from, without a gap, to acked at least.
func (w *workload) check(got []string, end LSN) error {
	first := 0
	for first < len(w.ends) && w.ends[first] <= w.from {
		first++
	}
	want := w.payloads[first:]
	if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
		return fmt.Errorf("from %d: found %.20q, not a prefix of %.20q", w.from, got, want)
	}
	if end < w.acked {
		return fmt.Errorf("log ends at %d, but %d was durable", end, w.acked)
	}
	if n := first + len(got); n > 0 && w.ends[n-1] > end {
		return fmt.Errorf("log ends at %d, its last record at %d", end, w.ends[n-1])
	}
	return nil
}

// recovered forgets what was lost.
func (w *workload) recovered(got []string, end LSN) {
	n := len(w.ends)
	for n > 0 && w.ends[n-1] > end {
		n--
	}
	w.payloads, w.ends = w.payloads[:n:n], w.ends[:n:n]
	w.acked, w.written = end, end
}

func replayInto(o Options, from LSN) (l *Log, got []string, end LSN, err error) {
	if l, err = Open(o); err != nil {
		return nil, nil, 0, err
	}
	stats, err := l.Replay(from, func(payload []byte, _ LSN) error {
		got = append(got, string(payload))
		return nil
	})
	return l, got, stats.End, err
}

// TestCrash cuts the power, or kills the process, before every change that a
// workload makes, with every kind of loss, and again during the recovery, and
// compares what is then there with what was appended and what was acknowledged.
// The log that is recovered goes on, and is read once more.
func TestCrash(t *testing.T) {
	t.Run("heap", func(t *testing.T) { testCrash(t, testOptions) })
	t.Run("mapped", func(t *testing.T) { testCrash(t, mappedOptions) })
}

// mappedOptions are testOptions with a tail file, so small that records outgrow
// it.
func mappedOptions(m *memdisk.FS) Options {
	m.Maps = true
	o := testOptions(m)
	o.BufferBytes = 4096
	return o
}

func testCrash(t *testing.T, options func(*memdisk.FS) Options) {
	const steps = 60
	base := campaign.Seed(t)
	states := 0
	for i := range uint64(campaign.Scale(t, 6)) {
		seed := base + i
		for n := int64(0); ; n++ {
			m, w := memdisk.New(), newWorkload(seed)
			m.CutAt(n)
			if l, _, _, err := replayInto(options(m), 0); err == nil {
				err = w.run(l, steps)
				if err != nil && !errors.Is(err, memdisk.ErrCut) {
					t.Fatalf("seed %d, cut at %d: %v", seed, n, err)
				}
				if err == nil && l.Close() == nil {
					break // the cut is behind all that there is
				}
			}
			for how := range memdisk.NumLoss {
				states++
				name := fmt.Sprintf("seed %d, cut at %d, %v", seed, n, how)
				crashed := *w
				crashed.rng = rand.New(rand.NewPCG(seed, uint64(n)))
				crashAndGoOn(t, name, options, m, &crashed, how)
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d states", states)
}

func crashAndGoOn(t *testing.T, name string, options func(*memdisk.FS) Options, m *memdisk.FS, w *workload, how memdisk.Loss) {
	// Recovery meets a second power cut, at some change, and perhaps a third.
	for again := 0; again < 2; again++ {
		m = m.Crash(how, w.rng)
		m.CutAt(int64(w.rng.IntN(8)))
		_, got, end, err := replayInto(options(m), w.from)
		if how == memdisk.Kill && err == nil && end < w.written {
			t.Errorf("%s, recovery %d: log ends at %d, but %d was in the kernel", name, again, end, w.written)
		}
		if err != nil && !errors.Is(err, memdisk.ErrCut) {
			t.Errorf("%s, recovery %d: %v", name, again, err)
			return
		}
		w.acked = max(w.acked, end) // what was handed out must stay
		if err := w.check(got, w.acked); err != nil {
			t.Errorf("%s, recovery %d: %v", name, again, err)
		}
	}
	m = m.Crash(how, w.rng)
	l, got, end, err := replayInto(options(m), w.from)
	if err == nil {
		err = w.check(got, end)
	}
	if how == memdisk.Kill && err == nil && end < w.written {
		err = fmt.Errorf("log ends at %d, but %d was in the kernel", end, w.written)
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	w.recovered(got, end)
	if err := w.run(l, w.rng.IntN(10)); err != nil {
		t.Errorf("%s, after recovery: %v", name, err)
		return
	}
	if how == memdisk.Kill {
		how = memdisk.Drop // what was recovered must be durable now
	}
	m = m.Crash(how, w.rng)
	if _, got, end, err = replayInto(options(m), w.from); err == nil {
		err = w.check(got, end)
	}
	if err != nil {
		t.Errorf("%s, after recovery and another crash: %v", name, err)
	}
}

// TestCrashOracle is the control of TestCrash: with a disk that says that it has
// synced and has not, the oracle must find lost records.
func TestCrashOracle(t *testing.T) {
	for seed := range uint64(20) {
		m, w := memdisk.New(), newWorkload(seed)
		l := mustOpen(t, testOptions(m))
		if err := w.run(l, 60); err != nil {
			t.Fatal(err)
		}
		for _, name := range m.Names() {
			clear(m.Bytes(name))
		}
		m.Settle()
		_, got, end, err := replayInto(testOptions(m.Crash(memdisk.Drop, nil)), w.from)
		if err == nil {
			err = w.check(got, end)
		}
		if err == nil && w.acked > w.from {
			t.Errorf("seed %d: nothing found", seed)
		}
	}
}

// TestFailure fails the k-th change, and that one only, for every k. Nothing may
// be acknowledged after it, and no file may be synced again whose sync failed.
func TestFailure(t *testing.T) {
	errDisk := errors.New("disk on fire")
	for k := int64(1); ; k++ {
		m, w := memdisk.New(), newWorkload(1)
		var ops int64
		var failedOp, failedSync string
		m.SetHook(func(op, path string) error {
			if op == "sync" && path == failedSync {
				t.Errorf("%d: second sync of %s", k, path)
			}
			if ops++; ops != k {
				return nil
			}
			if failedOp = op; op == "sync" {
				failedSync = path
			}
			return errDisk
		})
		l, _, _, err := replayInto(testOptions(m), 0)
		if err != nil {
			if !errors.Is(err, errDisk) {
				t.Fatalf("%d: %v", k, err)
			}
			continue
		}
		for err = w.run(l, 40); err == nil; err = w.run(l, 1) {
			if ops > 400 {
				return
			}
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("%d: %v", k, err)
		}
		if failedOp != "remove" { // by Trim, who may fail
			checkStopped(t, fmt.Sprint(k), l, errDisk)
		}
		_, got, end, err := replayInto(testOptions(m.Crash(memdisk.Drop, nil)), w.from)
		if err == nil {
			err = w.check(got, end)
		}
		if err != nil {
			t.Errorf("%d: %v", k, err)
		}
	}
}

// checkStopped checks that l does nothing any more.
func checkStopped(t *testing.T, name string, l *Log, cause error) {
	t.Helper()
	durable, written, appended := l.Durable(), l.Written(), l.Appended()
	_, appendErr := l.Append(nil)
	for i, err := range []error{
		appendErr,
		l.Write(appended),
		l.Sync(context.Background(), appended),
		l.Sync(context.Background(), 0), // durable, but ask Durable for that
		l.Trim(0),
		l.Close(),
	} {
		if !errors.Is(err, ErrStopped) || !errors.Is(err, cause) {
			t.Errorf("%s: call %d: %v", name, i, err)
		}
	}
	if l.Durable() != durable || l.Written() != written || l.Appended() != appended {
		t.Errorf("%s: an LSN moved", name)
	}
}

// TestConcurrentCrash has goroutines that append, write and sync, with the
// helper, and a power cut at some change. What is found must be every record
// below some LSN, in the order of their LSNs, and all that was acknowledged.
func TestConcurrentCrash(t *testing.T) {
	const goroutines = 8
	for n := int64(0); n < 400; n += 7 {
		m := memdisk.New()
		o := testOptions(m)
		o.NoHelper = false
		o.BufferBytes = 3000
		l := mustOpen(t, o)
		m.CutAt(n)

		var mu sync.Mutex
		records := map[LSN]string{}
		acked := LSN(0)
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(g)))
				for i := range 50 {
					payload := fmt.Sprintf("%d/%d %s", g, i, strings.Repeat("x", rng.IntN(300)))
					end, err := l.Append([]byte(payload))
					if err != nil {
						return
					}
					mu.Lock()
					records[end] = payload
					mu.Unlock()
					if rng.IntN(2) == 0 {
						if l.Write(end) != nil {
							return
						}
					} else if l.Sync(context.Background(), end) == nil {
						mu.Lock()
						acked = max(acked, end)
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if err := l.Close(); err != nil && !errors.Is(err, memdisk.ErrCut) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		crashed := m.Crash(memdisk.Loss(n)%memdisk.NumLoss, rand.New(rand.NewPCG(uint64(n), 0)))
		_, got, end, err := replayInto(testOptions(crashed), 0)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		var want []string
		var ends []LSN
		for at := range records {
			if at <= end {
				ends = append(ends, at)
			}
		}
		slices.Sort(ends)
		for _, at := range ends {
			want = append(want, records[at])
		}
		if !slices.Equal(got, want) {
			t.Errorf("cut at %d: found %.12q, want %.12q", n, got, want)
		}
		if end < acked {
			t.Errorf("cut at %d: log ends at %d, but %d was acknowledged", n, end, acked)
		}
	}
}
