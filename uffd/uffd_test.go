//go:build linux && (amd64 || arm64)

package uffd

import (
	"errors"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The tests talk to the kernel they run on. Where it has no userfaultfd they are
// skipped, with the reason; under CI that is a failure.

var page = uintptr(os.Getpagesize())

const sigbusWP = FeatureSigbus | FeaturePagefaultFlagWP

func TestMain(m *testing.M) {
	if os.Getenv(deniedEnv) != "" {
		os.Exit(deniedChild())
	}
	flag.Parse()
	if _, err := Probe(); err != nil && os.Getenv("CI") != "true" {
		flag.Set("test.skip", "^Example$") // an example cannot skip itself
	}
	os.Exit(m.Run())
}

// opened returns an FD with the features want, closed at the end of the test.
func opened(t testing.TB, want Features) *FD {
	t.Helper()
	f, err := Open(want)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() {
		if f.Fd() >= 0 {
			f.Close()
		}
	})
	return f
}

// mapped returns n pages that are all missing. They are never unmapped: Go's
// heap could grow into the addresses while a slice of them is still in sight.
func mapped(t testing.TB, n int) (mem []byte, addr uintptr) {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, n*int(page), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Madvise(mem, unix.MADV_DONTNEED)
		unix.Mprotect(mem, unix.PROT_NONE)
	})
	return mem, uintptr(unsafe.Pointer(&mem[0]))
}

// arena returns an FD in SIGBUS mode and n registered, missing pages.
func arena(t testing.TB, n int) (f *FD, mem []byte, addr uintptr) {
	t.Helper()
	f = opened(t, sigbusWP)
	mem, addr = mapped(t, n)
	must(t, f.Register(addr, uintptr(len(mem)), ModeMissing|ModeWP))
	return f, mem, addr
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pages returns n pages of Go memory, each filled with its number plus one.
func pages(n int) []byte {
	src := make([]byte, n*int(page))
	for i := range src {
		src[i] = byte(i/int(page) + 1)
	}
	return src
}

// trap runs touch and returns the address at which it trapped, 0 for none.
func trap(touch func()) (addr uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface{ Addr() uintptr })
		if !ok {
			panic(r)
		}
		addr = fault.Addr()
	}()
	touch()
	return 0
}

func wantTrap(t *testing.T, what string, want uintptr, touch func()) {
	t.Helper()
	if got := trap(touch); got != want {
		t.Errorf("%s: trap at %#x, want %#x", what, got, want)
	}
}

func wantErrno(t *testing.T, what string, err error, want unix.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

var sink byte

func TestProbe(t *testing.T) {
	opened(t, 0)
	info, err := Probe()
	must(t, err)
	t.Logf("%+v", info)
	if info.Kernel == "" || info.Via == "" || info.Features&FeatureSigbus == 0 {
		t.Errorf("Probe() = %+v", info)
	}
	if want := releaseAtLeast(info.Kernel, "6.7"); info.PagemapScan != want {
		t.Errorf("PagemapScan = %t on %s", info.PagemapScan, info.Kernel)
	}
}

// TestOpenMissingFeature asks for a bit that no kernel has.
func TestOpenMissingFeature(t *testing.T) {
	opened(t, 0)
	_, err := Open(sigbusWP | 1<<62)
	var u *UnavailableError
	if !errors.As(err, &u) || !errors.Is(err, errors.ErrUnsupported) || u.Missing != 1<<62 {
		t.Fatalf("Open of bit 62 = %v", err)
	}
	if !strings.Contains(err.Error(), "0x4000000000000000") {
		t.Errorf("%q does not name the bit", err)
	}
}

func TestOpenRefusesEvents(t *testing.T) {
	_, err := Open(FeatureSigbus | FeatureEventFork)
	wantErrno(t, "Open", err, unix.EINVAL)
	if err == nil || !strings.Contains(err.Error(), "EVENT_FORK") {
		t.Errorf("%v does not name EVENT_FORK", err)
	}
}

// TestTrap shows what traps and what does not, and that the address is that of
// the touched byte.
func TestTrap(t *testing.T) {
	f, mem, addr := arena(t, 4)
	at := 2*page + 123

	wantTrap(t, "load of a missing page", addr+at, func() { sink = mem[at] })
	wantTrap(t, "store to a missing page", addr+at, func() { mem[at] = 1 })

	must(t, f.Copy(addr+2*page, pages(1), true))
	wantTrap(t, "load of a protected page", 0, func() { sink = mem[at] })
	wantTrap(t, "store to a protected page", addr+at, func() { mem[at] = 9 })
	if mem[at] != 1 {
		t.Errorf("the trapped store has changed the page to %d", mem[at])
	}

	must(t, f.Unprotect(addr+2*page, page))
	wantTrap(t, "store to a writable page", 0, func() { mem[at] = 9 })
	if mem[at] != 9 {
		t.Errorf("after the store the page holds %d", mem[at])
	}
	must(t, f.Protect(addr+2*page, page))
	wantTrap(t, "store to a page protected again", addr+at, func() { mem[at] = 10 })
}

// TestCopy copies several pages at once in both ways.
func TestCopy(t *testing.T) {
	f, mem, addr := arena(t, 8)
	src := pages(4)
	must(t, f.Copy(addr, src, true))
	must(t, f.Copy(addr+4*page, src, false))
	for i := range uintptr(8) {
		if got, want := mem[i*page], byte(i%4+1); got != want {
			t.Errorf("page %d holds %d, want %d", i, got, want)
		}
		want := uintptr(0)
		if i < 4 {
			want = addr + i*page
		}
		wantTrap(t, "store", want, func() { mem[i*page] = 99 })
	}
}

// TestCopyErrors has Copy stop in the middle of a range: the error says where.
func TestCopyErrors(t *testing.T) {
	f, mem, addr := arena(t, 4)
	must(t, f.Copy(addr+2*page, pages(1), false))
	mem[2*page] = 42

	err := f.Copy(addr, pages(4), true)
	wantErrno(t, "Copy over a present page", err, unix.EEXIST)
	var op *OpError
	if !errors.As(err, &op) || op.Addr != addr+2*page || op.Len != 2*page {
		t.Errorf("%+v, want the error at %#x for two pages", op, addr+2*page)
	}
	if mem[0] != 1 || mem[page] != 2 || mem[2*page] != 42 {
		t.Errorf("pages hold %d %d %d, want 1 2 42", mem[0], mem[page], mem[2*page])
	}
	wantTrap(t, "page after the error", addr+3*page, func() { sink = mem[3*page] })

	wantErrno(t, "Copy of nothing", f.Copy(addr+3*page, nil, false), unix.EINVAL)
	wantErrno(t, "Copy of half a page", f.Copy(addr+3*page, make([]byte, page/2), false), unix.EINVAL)
	wantErrno(t, "Copy from a missing page", f.Copy(addr+3*page, mem[3*page:], false), unix.EFAULT)
}

// TestZero checks that a store into a page from Zero works, though what is
// mapped is the kernel's read-only page of zeros, and that no other page from
// Zero changes with it.
func TestZero(t *testing.T) {
	f, mem, addr := arena(t, 4)
	must(t, f.Zero(addr, 3*page))
	wantTrap(t, "load", 0, func() { sink = mem[page] })
	wantTrap(t, "store", 0, func() { mem[page] = 7 })
	if mem[0] != 0 || mem[page] != 7 || mem[2*page] != 0 {
		t.Errorf("pages hold %d %d %d, want 0 7 0", mem[0], mem[page], mem[2*page])
	}
	wantErrno(t, "Zero of a present page", f.Zero(addr+2*page, 2*page), unix.EEXIST)

	must(t, f.Protect(addr, 3*page))
	wantTrap(t, "store to a protected page of zeros", addr, func() { mem[0] = 1 })
	wantTrap(t, "store to a protected page", addr+page, func() { mem[page] = 1 })
	must(t, f.Unprotect(addr, 3*page))
	wantTrap(t, "store after Unprotect", 0, func() { mem[0] = 1 })
	if mem[2*page] != 0 {
		t.Error("a store went to the shared page of zeros")
	}
}

func TestRangeErrors(t *testing.T) {
	f, _, addr := arena(t, 2)
	mem, other := mapped(t, 2)
	mem[0] = 1
	for _, c := range []struct {
		what string
		err  error
		want unix.Errno
	}{
		{"Protect of an unregistered range", f.Protect(other, page), unix.ENOENT},
		{"Unprotect of an unregistered range", f.Unprotect(other, page), unix.ENOENT},
		{"Copy into an unregistered range", f.Copy(other+page, pages(1), true), unix.ENOENT},
		{"Zero of an unregistered range", f.Zero(other+page, page), unix.ENOENT},
		{"Protect off a page boundary", f.Protect(addr+1, page), unix.EINVAL},
		{"Protect of nothing", f.Protect(addr, 0), unix.EINVAL},
		{"Register without a mode", f.Register(other, page, 0), unix.EINVAL},
	} {
		wantErrno(t, c.what, c.err, c.want)
		var op *OpError
		if !errors.As(c.err, &op) {
			t.Errorf("%s: %T, want *OpError", c.what, c.err)
		}
	}

	second := opened(t, sigbusWP)
	wantErrno(t, "Register with a second FD", second.Register(addr, page, ModeWP), unix.EBUSY)
}

func TestOpErrorText(t *testing.T) {
	for _, c := range []struct {
		err  OpError
		want string
	}{
		{OpError{"write-protect", 0x7f0000001000, 16384, unix.ENOENT},
			"uffd: write-protect 16384 bytes at 0x7f0000001000: no such file or directory"},
		{OpError{Op: "close", Err: unix.EBADF}, "uffd: close: bad file descriptor"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestProtectMissing pins what Protect does to a page that is not there: at
// most a marker, which a plain Copy wipes out.
func TestProtectMissing(t *testing.T) {
	check := func(t *testing.T, f *FD) {
		mem, addr := mapped(t, 2)
		must(t, f.Register(addr, 2*page, ModeMissing|ModeWP))
		must(t, f.Protect(addr, 2*page))
		wantTrap(t, "load", addr, func() { sink = mem[0] })
		must(t, f.Copy(addr, pages(1), false))
		wantTrap(t, "store after a plain Copy", 0, func() { mem[0] = 1 })
		must(t, f.Copy(addr+page, pages(1), true))
		wantTrap(t, "store after a protecting Copy", addr+page, func() { mem[page] = 1 })
	}
	t.Run("without WP_UNPOPULATED", func(t *testing.T) { check(t, opened(t, sigbusWP)) })
	t.Run("with WP_UNPOPULATED", func(t *testing.T) {
		opened(t, sigbusWP)
		f, err := Open(sigbusWP | FeatureWPUnpopulated)
		if err != nil {
			t.Skip(err)
		}
		defer f.Close()
		check(t, f)
	})
}

// TestDontneed pins that MADV_DONTNEED takes the page and its protection away.
func TestDontneed(t *testing.T) {
	f, mem, addr := arena(t, 1)
	must(t, f.Copy(addr, pages(1), true))
	must(t, unix.Madvise(mem, unix.MADV_DONTNEED))
	wantTrap(t, "load", addr, func() { sink = mem[0] })
	must(t, f.Copy(addr, pages(1), false))
	wantTrap(t, "store", 0, func() { mem[0] = 2 })
}

// TestCloseDropsProtection shows the hazard for which FD holds no os.File:
// after Close there are no traps and there is no error.
func TestCloseDropsProtection(t *testing.T) {
	f, mem, addr := arena(t, 2)
	must(t, f.Copy(addr, pages(1), true))
	wantTrap(t, "store before Close", addr, func() { mem[0] = 2 })
	must(t, f.Close())
	wantTrap(t, "store after Close", 0, func() { mem[0] = 2 })
	wantTrap(t, "load of a missing page after Close", 0, func() { sink = mem[page] })
	if mem[0] != 2 || mem[page] != 0 {
		t.Errorf("pages hold %d %d, want 2 0", mem[0], mem[page])
	}
	wantErrno(t, "Protect after Close", f.Protect(addr, page), unix.EBADF)
	wantErrno(t, "Close after Close", f.Close(), unix.EBADF)
}

func TestUnregister(t *testing.T) {
	f, mem, addr := arena(t, 4)
	must(t, f.Copy(addr, pages(2), true))
	must(t, f.Unregister(addr+page, 2*page))
	wantTrap(t, "store to a page still registered", addr, func() { mem[0] = 9 })
	wantTrap(t, "store to an unregistered page", 0, func() { mem[page] = 9 })
	wantTrap(t, "load of a missing unregistered page", 0, func() { sink = mem[2*page] })
	wantTrap(t, "load of a missing registered page", addr+3*page, func() { sink = mem[3*page] })
	must(t, f.Wake(addr, page))
}

// TestSystemCalls pins that the kernel does not trap on behalf of a system call:
// it answers EFAULT, or a short count.
func TestSystemCalls(t *testing.T) {
	f, mem, addr := arena(t, 3)
	must(t, f.Copy(addr, pages(2), true)) // page 2 stays missing
	must(t, f.Unprotect(addr, page))

	file, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer file.Close()
	fd := int(file.Fd())
	writable, protected, missing := mem[:page], mem[page:2*page], mem[2*page:]

	for _, c := range []struct {
		what  string
		call  func(int, []byte, int64) (int, error)
		buf   []byte
		n     int
		errno error
	}{
		{"pwrite from writable", unix.Pwrite, writable, int(page), nil},
		{"pwrite from protected", unix.Pwrite, protected, int(page), nil},
		{"pwrite from missing", unix.Pwrite, missing, -1, unix.EFAULT},
		{"pwrite from protected and missing", unix.Pwrite, mem[page:], int(page), nil},
		{"pread into writable", unix.Pread, writable, int(page), nil},
		{"pread into protected", unix.Pread, protected, -1, unix.EFAULT},
		{"pread into missing", unix.Pread, missing, -1, unix.EFAULT},
	} {
		n, err := c.call(fd, c.buf, 0)
		if n != c.n || err != c.errno {
			t.Errorf("%s = %d, %v, want %d, %v", c.what, n, err, c.n, c.errno)
		}
	}
	for _, advice := range []int{unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE} {
		wantErrno(t, "MADV_POPULATE of a missing page", unix.Madvise(missing, advice), unix.EFAULT)
	}
}

// TestNoStoreAfterProtect has a goroutine store to a page as fast as it can
// while Protect comes and goes. Once Protect has returned the page stands still:
// no CPU may use an old translation. The word is not atomic: see
// TestTrapAtomic; increment and load keep the compiler from holding it in a
// register.
func TestNoStoreAfterProtect(t *testing.T) {
	f, mem, addr := arena(t, 1)
	must(t, f.Copy(addr, pages(1), false))
	word := (*uint64)(unsafe.Pointer(&mem[0]))

	var stop atomic.Bool
	var traps atomic.Int64
	var writer sync.WaitGroup
	writer.Go(func() {
		for !stop.Load() {
			if trap(func() {
				for !stop.Load() {
					increment(word)
				}
			}) != 0 {
				traps.Add(1)
			}
		}
	})
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for round := range rounds {
		must(t, f.Protect(addr, page))
		before := load(word)
		for range 2000 {
			if after := load(word); after != before {
				t.Errorf("round %d: %d became %d after Protect had returned", round, before, after)
				break
			}
		}
		must(t, f.Unprotect(addr, page))
		if round%100 == 0 {
			// On one CPU the writer needs a turn to have anything to do.
			for start := load(word); load(word) == start; {
				runtime.Gosched()
			}
		}
	}
	stop.Store(true)
	must(t, f.Unprotect(addr, page))
	writer.Wait()
	t.Logf("%d traps in %d rounds", traps.Load(), rounds)
}

//go:noinline
func increment(p *uint64) { *p++ }

//go:noinline
func load(p *uint64) uint64 { return *p }

// TestNoAllocation: the operations run inside page locks of callers.
func TestNoAllocation(t *testing.T) {
	f, mem, addr := arena(t, 4)
	src := pages(2)
	allocs := testing.AllocsPerRun(100, func() {
		must(t, f.Copy(addr, src, true))
		must(t, f.Zero(addr+2*page, page))
		must(t, f.Unprotect(addr, 2*page))
		must(t, f.Protect(addr, 2*page))
		must(t, f.Wake(addr, page))
		must(t, unix.Madvise(mem, unix.MADV_DONTNEED))
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
