package offheap

import (
	"bytes"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const page = 4096

func reserved(t testing.TB, pages int) []byte {
	t.Helper()
	mem, err := Reserve(pages * page)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Free(mem); err != nil {
			t.Error(err)
		}
	})
	return mem
}

// TestDropMany drops scattered pages and runs, more than fit in one call, in both
// ways, and looks at every page: those are zeros, their neighbours are as before.
func TestDropMany(t *testing.T) {
	for _, each := range []bool{false, true} {
		oneByOne.Store(each)
		mem := reserved(t, 3*dropRanges)
		for i := range mem {
			mem[i] = 0xaa
		}
		var ranges [][]byte
		dropped := map[int]bool{}
		for p := 0; p+3 < len(mem)/page; p += 2 {
			n := 1 + p%3
			ranges = append(ranges, mem[p*page:(p+n)*page])
			for i := range n {
				dropped[p+i] = true
			}
			p += n
		}
		if err := DropMany(ranges); err != nil {
			t.Fatal(err)
		}
		for p := range len(mem) / page {
			want := byte(0xaa)
			if dropped[p] {
				want = 0
			}
			if got := mem[p*page : (p+1)*page]; !bytes.Equal(got, bytes.Repeat([]byte{want}, page)) {
				t.Fatalf("one by one %t: page %d holds %#x, want %#x", each, p, got[0], want)
			}
		}
	}
	oneByOne.Store(false)
}

// TestDropManyRefused checks that a range that cannot be dropped is an error, and
// does not make later calls drop one by one.
func TestDropManyRefused(t *testing.T) {
	oneByOne.Store(false)
	mem := reserved(t, 2)
	if err := DropMany([][]byte{mem[:page], mem[page+1:]}); err == nil {
		t.Error("a range that does not begin at a page: no error")
	}
	if oneByOne.Load() {
		t.Error("a wrong range changed how later calls drop")
	}
}

// TestAdvance goes on after every number of bytes that a call may have done.
func TestAdvance(t *testing.T) {
	mem := reserved(t, 4)
	for done := 0; done <= 4*page; done += page {
		vec := []unix.Iovec{iovec(mem[:page]), iovec(mem[page : 3*page]), iovec(mem[3*page:])}
		rest, at := 0, uintptr(unsafe.Pointer(&mem[0]))+uintptr(done)
		for _, v := range advance(vec, uintptr(done)) {
			if uintptr(unsafe.Pointer(v.Base)) != at {
				t.Fatalf("after %d bytes: goes on %d bytes too far", done, uintptr(unsafe.Pointer(v.Base))-at)
			}
			at += uintptr(v.Len)
			rest += int(v.Len)
		}
		if rest != len(mem)-done {
			t.Errorf("after %d bytes: %d are left", done, rest)
		}
	}
}

func iovec(mem []byte) (v unix.Iovec) {
	v.Base = &mem[0]
	v.SetLen(len(mem))
	return v
}

// TestDropManyAllocates nothing: eviction runs where memory is short.
func TestDropManyAllocates(t *testing.T) {
	mem := reserved(t, 4)
	ranges := [][]byte{mem[:page], mem[2*page : 3*page]}
	if n := testing.AllocsPerRun(100, func() { _ = DropMany(ranges) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
