package memdisk

import (
	"errors"
	"io/fs"
	"testing"
	"unsafe"

	"faultline/internal/disk"
)

// TestDirect makes accesses of which offset, length or memory is not aligned, each
// alone: a direct file must refuse them, and only them.
func TestDirect(t *testing.T) {
	const block = disk.DirectBytes
	mem := make([]byte, 3*block)
	mem = mem[-uintptr(unsafe.Pointer(&mem[0]))%block:]
	m := New()
	plain, err := m.Open("/file", true)
	if err != nil {
		t.Fatal(err)
	}
	direct, err := disk.Direct(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []struct {
		name string
		mem  []byte
		off  int64
		ok   bool
	}{
		{"aligned", mem[:block], block, true},
		{"offset", mem[:block], 512, false},
		{"length", mem[:512], 0, false},
		{"memory", mem[512 : 512+block], 0, false},
	} {
		for _, f := range []disk.File{plain, direct} {
			_, werr := f.WriteAt(a.mem, a.off)
			_, rerr := f.ReadAt(a.mem, a.off)
			want := a.ok || f == plain
			if (werr == nil) != want || (rerr == nil) != want {
				t.Errorf("%s, direct %t: write %v, read %v", a.name, f == direct, werr, rerr)
			}
			if !want && !errors.Is(werr, fs.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", a.name, werr)
			}
		}
	}
}
