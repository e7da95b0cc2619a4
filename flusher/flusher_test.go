package flusher

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

var errDisk = errors.New("the disk does not want to")

// TestFail lets each call of a run of three rounds fail, one at a time. The
// Flusher must stop: the round, Checkpoint, Begin and mkwrite return the cause and
// ErrStopped, and nothing more is written. Pages can still be read. What is there
// then, with and without a power cut, must be one cut, and good for more rounds.
// That the run without a failure ends well is the control.
func TestFail(t *testing.T) {
	for k := 0; ; k++ {
		calls, after := 0, 0
		m := memdisk.New()
		r := newRig(t, m)
		letters := ""
		r.fail = func(l string) error {
			letters += l
			switch calls++; {
			case calls == k+1:
				return fmt.Errorf("call %d: %w", k, errDisk)
			case calls > k+1:
				after++
			}
			return nil
		}
		if err := r.tryOpen(false); err != nil {
			if !errors.Is(err, errDisk) {
				t.Fatalf("call %d (%s): open: %v", k, letters, err)
			}
			r = r.reopened(m) // as if nothing had been
			r.open()
			r.writeAll()
			r.checkpoint()
			r.close()
			continue
		}
		r.start()
		err := r.threeRounds()
		if calls <= k {
			if err != nil {
				t.Fatal(err)
			}
			r.fail = nil
			r.close()
			if k < 30 {
				t.Errorf("only %d calls", k)
			}
			return
		}
		when := fmt.Sprintf("call %d fails (%s)", k, letters)
		stopped := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, ErrStopped) || !errors.Is(err, errDisk) {
				t.Fatalf("%s: %s: %v", when, what, err)
			}
		}
		stopped("run", err)
		stopped("err", r.f.Err())
		stopped("checkpoint", r.f.Checkpoint(t.Context()))
		_, err = r.f.Begin(t.Context(), 1, 0)
		stopped("begin", err)
		for id := range pagemeta.PageID(r.pages) {
			if err := r.f.Pages.Prepare(id); err != nil { // as an operation that is inside does
				t.Fatalf("%s: mkwrite of page %d: %v", when, id, err)
			}
			if got, err := r.load(id); err != nil || got != r.state[id] {
				t.Fatalf("%s: page %d: %d, %v, want %d", when, id, got, err, r.state[id])
			}
		}
		stopped("close", r.f.Close(t.Context()))
		if after > 0 {
			t.Fatalf("%s: %d calls after", when, after)
		}
		for _, how := range []memdisk.Loss{memdisk.Kill, memdisk.Drop} {
			r2 := r.reopened(m.Crash(how, nil))
			r2.open()
			r2.check(fmt.Sprintf("%s, %v", when, how))
			r2.writeAll()
			r2.checkpoint()
			r2.close()
		}
	}
}

// TestReadOnly opens a directory, read-only, whose journal is whole and whose
// data file is the mixture that a crash in step C leaves. All pages must be those
// of the journal's cut, and no call may change a file. Without the journal the
// mixture must show, or the test shows nothing.
func TestReadOnly(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	r.write(1, 3, 4, 6)
	left := r.crashAt("write", "rounds", memdisk.Kill)
	newest := r.cuts[len(r.cuts)-1]

	ro := r.reopened(left.Crash(memdisk.Kill, nil))
	ro.openReadOnly()
	ro.start()
	if lsn := ro.check("read-only"); lsn != newest {
		t.Errorf("cut %d, want %d", lsn, newest)
	}
	ro.write(2, 3) // as recovery does, in memory
	if got, err := ro.load(3); err != nil || got != *r.stamp {
		t.Errorf("page 3: %d, %v, want %d", got, err, *r.stamp)
	}
	ro.f.Kick()
	ro.close()
	if ro.trace.Len() > 0 {
		t.Errorf("calls that write: %s", ro.trace)
	}

	mixed := r.reopened(left.Crash(memdisk.Kill, nil))
	clear(mixed.fs.Bytes(r.path("journal")))
	mixed.openReadOnly()
	if _, err := mixed.tryCheck(); err == nil {
		t.Error("without the journal the data file is not a mixture: the test shows nothing")
	}
	mixed.abandon()

	gone := r.reopened(memdisk.New())
	if err := gone.tryOpen(true); err == nil {
		t.Error("read-only open of nothing")
	}
}

// TestSmallerCapacity opens what a crash between B and C has left with room for
// fewer pages than the journal has, or for fewer than the number of one, then with
// enough. The first may fail; it must not take the journal for torn, and must leave
// everything as it was.
func TestSmallerCapacity(t *testing.T) {
	for _, pages := range []int{6, 7, 1500} {
		for _, readOnly := range []bool{false, true} {
			r := newRig(t, memdisk.New())
			r.pages, r.capacity = pages, 2048
			r.open()
			r.writeAll()
			at := "allocate"
			if pages == 6 {
				r.checkpoint()
				r.write(5)
				at = "write"
			}
			left := r.crashAt(at, "data", memdisk.Kill)
			small := r.reopened(left)
			small.capacity = 4
			if err := small.tryOpen(readOnly); err == nil {
				if readOnly {
					t.Errorf("%d pages: room for 4, and no error", pages)
				}
				small.f.closeFiles()
			}
			r = r.reopened(left)
			r.open()
			if lsn, want := r.check("with room"), r.cuts[len(r.cuts)-1]; lsn != want {
				t.Errorf("%d pages, read-only %t: cut %d, want %d", pages, readOnly, lsn, want)
			}
			r.close()
		}
	}
}

// TestCheckpointContext ends the context of a Checkpoint while its round waits for
// the disk. Checkpoint must return, and the round go on and be complete.
func TestCheckpointContext(t *testing.T) {
	watchdog(t)
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	r.when["j"] = func() { cancel(); <-release }
	if err := r.f.Checkpoint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("checkpoint: %v", err)
	}
	if err := r.f.Checkpoint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("checkpoint with a context that has ended: %v", err)
	}
	if n := r.f.Metrics().Rounds; n != 0 {
		t.Errorf("%d rounds", n)
	}
	close(release)
	r.checkpoint()
	r.close()
	r = r.reopened(r.fs)
	r.open()
	if r.check("after it") != 6 {
		t.Error("the round was not complete")
	}
	r.close()
}

// TestCheckpointBeside closes a Flusher, without the patience for a last round,
// while one goroutine waits for the round that is running, and another one for the
// next, which may never come. It must end for all.
func TestCheckpointBeside(t *testing.T) {
	watchdog(t)
	for range 30 {
		r := newRig(t, memdisk.New())
		r.open()
		r.writeAll()
		var wg sync.WaitGroup
		checkpoint := func() {
			if err := r.f.Checkpoint(context.Background()); err != nil && !errors.Is(err, ErrStopped) {
				t.Errorf("checkpoint beside close: %v", err)
			}
		}
		running := make(chan struct{})
		r.when["L"] = func() {
			close(running)
			<-r.f.quit // Close is past its checkpoint
		}
		wg.Go(checkpoint)
		<-running
		wg.Go(checkpoint)
		for len(r.f.kick) == 0 { // until it waits
			runtime.Gosched()
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := r.f.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("close: %v", err)
		}
		wg.Wait()
		if _, err := r.f.Begin(context.Background(), 1, 0); !errors.Is(err, ErrStopped) {
			t.Errorf("begin after close: %v", err)
		}
	}
}

// TestMetrics counts what rounds do, and the credits: none is kept by a page that
// is Clean.
func TestMetrics(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	if free := r.f.Metrics().CreditsFree; free != 4000-6 {
		t.Errorf("%d credits with 6 dirty pages", free)
	}
	r.checkpoint()
	r.when["L"] = func() { r.write(1, 2) } // Frozen
	r.when["d"] = func() { r.write(1, 3) } // Frozen and in Flight
	r.write(1, 2, 3)
	r.checkpoint()
	m := r.f.Metrics()
	if m.Rounds != 2 || m.PagesWritten != 7+4 || m.CreditsFree != 4000-3 || m.CreditsTotal != 4000 {
		t.Errorf("%+v", m)
	}
	r.checkpoint()
	if m := r.f.Metrics(); m.Rounds != 3 || m.PagesWritten != 7+4+4 || m.CreditsFree != 4000 {
		t.Errorf("%+v", m)
	}
	r.close()
}

// A slowFS holds up reads of the data file, and tells whether a file is closed
// while one is under way.
type slowFS struct {
	disk.FS
	armed, reading, bad atomic.Bool
	closing             chan struct{} // closed when Close has been called
}

type slowFile struct {
	disk.File
	fs *slowFS
}

func (s *slowFS) Open(name string, create bool) (disk.File, error) {
	f, err := s.FS.Open(name, create)
	return &slowFile{f, s}, err
}

func (f *slowFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.armed.Load() {
		f.fs.reading.Store(true)
		<-f.fs.closing
		for range 1000 { // let Close go as far as it does
			runtime.Gosched()
		}
		f.fs.reading.Store(false)
	}
	return f.File.ReadAt(p, off)
}

func (f *slowFile) Close() error {
	if f.fs.reading.Load() {
		f.fs.bad.Store(true)
	}
	return f.File.Close()
}

// TestCloseBesideLoad closes a Flusher while a page is read from the data file.
// Files and the memory of the journal, which a read-only Flusher reads pages
// from, must be there until that has ended.
func TestCloseBesideLoad(t *testing.T) {
	watchdog(t)
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	r.close()
	slow := &slowFS{FS: r.fs, closing: make(chan struct{})}
	r.fs.SetHook(nil)
	f, _, err := Open(Config{FS: slow, Dir: rigDir, Capacity: 64, Credits: 100})
	if err != nil {
		t.Fatal(err)
	}
	slow.armed.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Pages.Ask(3, pagemeta.Warm); err != nil {
			t.Errorf("load beside close: %v", err)
		}
	})
	for !slow.reading.Load() {
		runtime.Gosched()
	}
	close(slow.closing)
	if err := f.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if slow.bad.Load() {
		t.Error("a file was closed while a page was read from it")
	}
	if err := f.Pages.Ask(4, pagemeta.Warm); !errors.Is(err, pagemeta.ErrClosed) {
		t.Errorf("load after close: %v", err)
	}
}

// TestLoadBesideRounds reads pages from the data file while rounds write others:
// for the race detector.
func TestLoadBesideRounds(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		image := pagemeta.NewPage()
		for !over.Load() {
			for _, id := range []pagemeta.PageID{5, 6} {
				if err := r.f.ReadPage(id, image); err != nil {
					t.Error(err)
				}
			}
			runtime.Gosched()
		}
	})
	for range 20 {
		r.write(1, 2)
		r.checkpoint()
	}
	over.Store(true)
	wg.Wait()
	r.close()
}

// TestCorrupt damages the data file: the page that is damaged, and no other, must
// give an error that says where; and so must a page that the file ends before.
func TestCorrupt(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	r.writeAll()
	r.checkpoint()
	r.close()
	data := r.fs.Bytes(r.path("data"))
	data[3*pagemeta.PageBytes+4000] ^= 1
	copy(data[5*pagemeta.PageBytes:], data[4*pagemeta.PageBytes:5*pagemeta.PageBytes]) // misplaced
	clear(data[6*pagemeta.PageBytes : 7*pagemeta.PageBytes])
	r = r.reopened(r.fs)
	r.open()
	for id, bad := range []bool{false, false, false, true, false, true, true} {
		_, err := r.load(pagemeta.PageID(id))
		where := fmt.Sprintf("data at byte %d", id*pagemeta.PageBytes)
		if bad != errors.Is(err, disk.ErrCorrupt) || bad && !strings.Contains(err.Error(), where) {
			t.Errorf("page %d: %v", id, err)
		}
	}
	if _, err := r.load(pagemeta.PageID(63)); err == nil {
		t.Error("page 63 of a file of zeros: no error")
	}
	r.done = 0
	r.abandon()
}
