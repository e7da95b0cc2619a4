package flusher

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// TestValueSynced writes a value before each of two rounds and cuts the power between
// their steps B and C, in every way: the new cut, to which Open then goes, must find
// the whole value. A round without values makes no sync for them.
func TestValueSynced(t *testing.T) {
	content := bytes.Repeat([]byte("value "), 5000)
	for how := range memdisk.NumLoss {
		r := newRig(t, memdisk.New())
		r.open()
		r.writeAll()
		r.checkpoint()
		r.trace.Reset()
		r.write(3)
		r.checkpoint()
		plain := r.trace.String()
		for id := range uint64(2) {
			at := r.f.Pages.Pages - 20 + int(id)*9
			if err := r.f.WriteValue(pagemeta.PageID(at), id+7, 0, content); err != nil {
				t.Fatal(err)
			}
		}
		r.write(3)
		r.trace.Reset()
		left := r.crashAt("write", "data", how)
		if got, want := r.trace.String(), "Ld"+plain[1:2]; len(got) < 3 || got[:3] != want {
			t.Fatalf("a round with values begins with %q, want %q", got, want)
		}
		r2 := r.reopened(left)
		r2.open()
		r2.check(fmt.Sprintf("crash %v", how))
		for id := range uint64(2) {
			at := r2.f.Pages.Pages - 20 + int(id)*9
			got := make([]byte, len(content))
			if err := r2.f.ReadValue(got, pagemeta.PageID(at), id+7, 0, 0); err != nil || !bytes.Equal(got, content) {
				t.Errorf("crash %v: value %d: %v", how, id, err)
			}
		}
		r2.close()
	}
}

// TestReadValue reads parts of a value of more pages than a buffer has, written in
// several calls; then with another id, another place, and where the file ends.
func TestReadValue(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.capacity = 700
	r.open()
	r.writeAll()
	rng := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 600*ValuePageBytes-100)
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	const first = 50
	for from := 0; from < 600; {
		n := min(600-from, 1+rng.IntN(300))
		part := content[from*ValuePageBytes : min(len(content), (from+n)*ValuePageBytes)]
		if err := r.f.WriteValue(pagemeta.PageID(first+from), 9, from, part); err != nil {
			t.Fatal(err)
		}
		from += n
	}
	for range 200 {
		from := rng.IntN(len(content))
		got := make([]byte, rng.IntN(len(content)-from+1)>>rng.IntN(12))
		page, skip := from/ValuePageBytes, from%ValuePageBytes
		if err := r.f.ReadValue(got, pagemeta.PageID(first+page), 9, page, skip); err != nil || !bytes.Equal(got, content[from:from+len(got)]) {
			t.Fatalf("%d bytes from %d on: %v", len(got), from, err)
		}
	}
	one := make([]byte, 1)
	for _, bad := range []struct {
		page, index int
		id          uint64
	}{{first, 0, 8}, {first, 1, 9}, {first + 1, 0, 9}, {2, 0, 9}, {first + 600, 600, 9}, {1 << 30, 0, 9}} {
		if err := r.f.ReadValue(one, pagemeta.PageID(bad.page), bad.id, bad.index, 0); !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	r.checkpoint()
	if n := r.f.Pages.Metrics().GuestPages; n != 600 {
		t.Errorf("%d pages of 600 are guests after they were written", n)
	}
	r.close()
	r = r.reopened(r.fs)
	r.open()
	defer r.close()
	if _, err := r.load(first); !errors.Is(err, disk.ErrCorrupt) {
		t.Errorf("a page of a value as one of the tree: %v", err)
	}
	for range 2 {
		got := make([]byte, len(content))
		if err := r.f.ReadValue(got, first, 9, 0, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("after another Open: %v", err)
		}
		if m := r.f.Pages.Metrics(); m.GuestPages != 600 || m.Loads != uint64(m.ResidentPages) {
			t.Errorf("600 pages were read: %+v", m)
		}
	}
}
