//go:build linux && (amd64 || arm64)

package uffd_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"

	"faultline/uffd"
)

// store stores b at mem[i] and returns 0, or returns the address at which it
// trapped. It is the whole boundary, and small on purpose: after a trap only its
// result means anything.
func store(mem []byte, i int, b byte) (trapped uintptr) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			trapped = fault.Addr()
		default:
			panic(fault)
		}
	}()
	mem[i] = b
	return 0
}

// A page that is missing at the first store, is filled in, then tells about the
// first store to it.
func Example() {
	f, err := uffd.Open(uffd.FeatureSigbus | uffd.FeaturePagefaultFlagWP)
	if err != nil {
		panic(err) // it says why, and what to do
	}
	defer f.Close()

	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err)
	}
	base := uintptr(unsafe.Pointer(&mem[0]))
	if err := f.Register(base, uintptr(page), uffd.ModeMissing|uffd.ModeWP); err != nil {
		panic(err)
	}

	fmt.Println("missing at byte", store(mem, 5, 7)-base)
	if err := f.Copy(base, make([]byte, page), true); err != nil {
		panic(err)
	}
	fmt.Println("protected at byte", store(mem, 5, 7)-base)
	// Here the page is noted as dirty. Then:
	if err := f.Unprotect(base, uintptr(page)); err != nil {
		panic(err)
	}
	store(mem, 5, 7)
	fmt.Println("the page holds", mem[5])
	// Output:
	// missing at byte 5
	// protected at byte 5
	// the page holds 7
}
