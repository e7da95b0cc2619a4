//go:build linux && (amd64 || arm64)

package uffd

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func pagemap(t testing.TB) *Pagemap {
	t.Helper()
	opened(t, sigbusWP)
	p, err := OpenPagemap()
	must(t, err)
	t.Cleanup(func() { p.Close() })
	if _, err := p.Writable(0, page, nil); errors.Is(err, errors.ErrUnsupported) {
		// Optional, so that its absence is no failure under CI either.
		t.Skip(err)
	}
	return p
}

// TestWritable puts pages of all kinds side by side; only those that a store
// can change without a trap are listed.
func TestWritable(t *testing.T) {
	p := pagemap(t)
	f, mem, addr := arena(t, 12)
	length := uintptr(len(mem))
	region := func(from, to uintptr) Region { return Region{addr + from*page, addr + to*page} }
	check := func(what string, from, to uintptr, want ...Region) {
		t.Helper()
		got, err := p.Writable(addr+from*page, (to-from)*page, nil)
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %#x, want %#x", what, got, want)
		}
	}

	check("all missing", 0, 12)
	must(t, f.Copy(addr, pages(10), true)) // 10 and 11 stay missing
	check("all protected", 0, 12)
	must(t, f.Unprotect(addr+page, 2*page))
	must(t, f.Unprotect(addr+5*page, page))
	check("three unprotected", 0, 12, region(1, 3), region(5, 6))
	check("a part of them", 2, 5, region(2, 3))
	mem[page] = 9
	check("one of them stored to", 0, 12, region(1, 3), region(5, 6))
	must(t, f.Protect(addr, 10*page))
	check("all protected again", 0, 12)
	must(t, f.Copy(addr+10*page, pages(1), false))
	check("one born writable", 0, 12, region(10, 11))
	must(t, f.Zero(addr+11*page, page))
	check("and one of zeros", 0, 12, region(10, 12))
	must(t, unix.Madvise(mem, unix.MADV_DONTNEED))
	check("all dropped", 0, 12)

	// Where markers exist, they are protection without a page.
	if g, err := Open(sigbusWP | FeatureWPUnpopulated); err == nil {
		defer g.Close()
		must(t, f.Unregister(addr, length))
		must(t, g.Register(addr, length, ModeMissing|ModeWP))
		must(t, g.Protect(addr, length))
		check("markers", 0, 12)
	}
}

// TestWritableManyRuns has more runs than one call of the kernel returns, and a
// run that the end of such a call would cut.
func TestWritableManyRuns(t *testing.T) {
	p := pagemap(t)
	const n = 512
	f, _, addr := arena(t, n)
	must(t, f.Copy(addr, pages(n), true))
	var want []Region
	for i := uintptr(0); i < n/2; i += 2 {
		must(t, f.Unprotect(addr+i*page, page))
		want = append(want, Region{addr + i*page, addr + (i+1)*page})
	}
	must(t, f.Unprotect(addr+n/2*page, n/2*page))
	want = append(want, Region{addr + n/2*page, addr + n*page})

	given := Region{1, addr} // ends where the first run begins, yet is not of this call
	got, err := p.Writable(addr, n*page, []Region{given})
	must(t, err)
	if !slices.Equal(got, append([]Region{given}, want...)) {
		t.Errorf("%d runs, want %d: %#x", len(got), len(want)+1, got)
	}

	dst := make([]Region, 0, len(want))
	if allocs := testing.AllocsPerRun(10, func() { dst, _ = p.Writable(addr, n*page, dst[:0]) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestPagemapErrors(t *testing.T) {
	p := pagemap(t)
	_, err := p.Writable(1, page, nil)
	wantErrno(t, "Writable off a page boundary", err, unix.EINVAL)
	if got, err := p.Writable(page, 0, nil); err != nil || len(got) != 0 {
		t.Errorf("Writable of nothing = %v, %v", got, err)
	}
	if !errors.Is(errPagemapScan, errors.ErrUnsupported) || !errors.Is(errPagemapScan, unix.ENOTTY) {
		t.Error("errPagemapScan must wrap ErrUnsupported and ENOTTY")
	}
	q := &Pagemap{fd: -1}
	_, err = q.Writable(page, page, nil)
	wantErrno(t, "Writable of a closed Pagemap", err, unix.EBADF)
}

func BenchmarkWritable(b *testing.B) {
	p := pagemap(b)
	const n = 16384
	f, _, addr := arena(b, n)
	must(b, f.Copy(addr, pages(n), true))
	for i := uintptr(0); i < n; i += 100 {
		must(b, f.Unprotect(addr+i*page, page))
	}
	var dst []Region
	for b.Loop() {
		dst, _ = p.Writable(addr, n*page, dst[:0])
	}
	b.ReportMetric(float64(len(dst)), "runs")
}
