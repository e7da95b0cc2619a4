package flusher

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// TestLostTrap takes the protection off a page behind the Flusher's back, by
// mapping other memory over it, as a kernel would that loses the mark; a store
// to it then traps no more. The next round must stop before it trims the log, in
// which that store still is, and say which page it was. The round before it goes
// through: the control.
func TestLostTrap(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.open()
	defer r.abandon()
	r.writeAll()
	r.checkpoint()
	r.write(1)
	r.checkpoint() // the control
	trimmed := r.log.trimmed

	page := r.f.Pages.Page(5)
	bytes := *page
	if _, err := unix.MmapPtr(-1, 0, unsafe.Pointer(page), pagemeta.PageBytes, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED); err != nil {
		t.Fatal(err)
	}
	*page = bytes // no trap, and nobody knows
	r.write(2)
	err := r.tryCheckpoint()
	if err == nil {
		if aerr := r.f.Pages.Audit(); errors.Is(aerr, errors.ErrUnsupported) {
			t.Skip(aerr)
		}
	}
	if !errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "page 5") {
		t.Errorf("a page lost its protection, and the round ends with: %v", err)
	}
	if r.log.trimmed != trimmed {
		t.Errorf("the log was trimmed from %d to %d", trimmed, r.log.trimmed)
	}
	if err := r.tryWrite(3); !errors.Is(err, ErrStopped) {
		t.Errorf("a write after it: %v", err)
	}
}
