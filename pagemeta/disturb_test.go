package pagemeta

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"faultline/internal/campaign"
)

// disturbances are what else may come to a goroutine in the middle of a trap. Each
// begins with a storm, and is ended with it.
var disturbances = []struct {
	name  string
	begin func(t *testing.T, s *storm)
}{
	{"profiles", profiles},
	{"trace", execution},
	{"signals", signals},
	{"stacks", stacks},
}

// profiles has SIGPROF come 2000 times a second of processor time, in which the
// stack is walked wherever it is, and walks it also at each wait.
func profiles(t *testing.T, _ *storm) {
	var cpu bytes.Buffer
	runtime.SetCPUProfileRate(2000) // it stays when pprof asks for 100, with a complaint
	if err := pprof.StartCPUProfile(&cpu); err != nil {
		t.Fatal(err)
	}
	runtime.SetBlockProfileRate(1)
	fraction := runtime.SetMutexProfileFraction(1)
	t.Cleanup(func() {
		pprof.StopCPUProfile()
		runtime.SetCPUProfileRate(0)
		runtime.SetBlockProfileRate(0)
		runtime.SetMutexProfileFraction(fraction)
		z, err := gzip.NewReader(&cpu)
		if err != nil {
			t.Fatal(err)
		}
		names, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("a sample was taken inside a trap: %t", bytes.Contains(names, []byte("runtime.sigpanic")))
	})
}

// execution records the execution trace, which walks stacks too.
func execution(t *testing.T, _ *storm) {
	if err := trace.Start(io.Discard); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trace.Stop)
}

// signals sends SIGURG, by which the runtime preempts, and SIGUSR1 to all threads
// in turn, without pause.
func signals(t *testing.T, s *storm) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, unix.SIGUSR1)
	var sent atomic.Int64
	var sender sync.WaitGroup
	ended := make(chan struct{})
	sender.Go(func() {
		for {
			tasks, err := filepath.Glob("/proc/self/task/*")
			if err != nil {
				t.Error(err)
				return
			}
			for _, task := range tasks {
				tid, err := strconv.Atoi(filepath.Base(task))
				if err != nil {
					t.Error(err)
					return
				}
				for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGUSR1} {
					if err := unix.Tgkill(os.Getpid(), tid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
						t.Error(err)
					}
					sent.Add(1)
				}
				select {
				case <-ended:
					return
				default:
					runtime.Gosched()
				}
			}
		}
	})
	t.Cleanup(func() {
		close(ended)
		sender.Wait()
		signal.Stop(got)
		t.Logf("%d signals", sent.Load())
	})
}

// stacks has each store trap from below a random number of frames, for which the
// stack grows between the boundary and the trap; the collections of the storm
// shrink it again.
func stacks(_ *testing.T, s *storm) {
	s.touch = func(p *Page) { touchBelow(p, rand.IntN(100)) }
}

//go:noinline
func touchBelow(p *Page, frames int) {
	var frame [512]byte
	if frames == 0 {
		p.Touch()
		return
	}
	frame[frames] = 1
	touchBelow(p, frames-int(frame[frames]))
}

// TestDisturbed is TestStorm with each disturbance, and with all of them at once.
func TestDisturbed(t *testing.T) {
	watchdog(t)
	run := func(t *testing.T, s *storm) {
		s.enough = campaign.Scale(t, stormRounds)
		if err := s.run(); err != nil {
			t.Error(err)
		}
		t.Logf("%d traps, %d captures", s.table.Metrics().MkwriteTraps, s.table.Metrics().Captured)
	}
	for _, d := range disturbances {
		t.Run(d.name, func(t *testing.T) {
			s := newStorm(t, true)
			d.begin(t, s)
			run(t, s)
		})
	}
	t.Run("all", func(t *testing.T) {
		s := newStorm(t, true)
		for _, d := range disturbances {
			d.begin(t, s)
		}
		run(t, s)
	})
}
