//go:build !linux || !(amd64 || arm64)

package uffd

import "runtime"

// Nothing here can come into being on this platform: every constructor fails.

// An FD is an open userfaultfd.
type FD struct{}

// A Pagemap reads the page tables of this process.
type Pagemap struct{}

func unavailable() error {
	return &UnavailableError{
		Reason: runtime.GOOS + "/" + runtime.GOARCH + " has no userfaultfd that this package can use: run on Linux, on amd64 or arm64",
	}
}

// Open fails with an [*UnavailableError].
func Open(Features) (*FD, error) { return nil, unavailable() }

// Probe fails with an [*UnavailableError].
func Probe() (Info, error) { return Info{}, unavailable() }

// Ways knows of none.
func Ways() []Way { return nil }

// Hold does nothing.
func Hold() {}

// Release does nothing.
func Release() {}

// OpenPagemap fails with an [*UnavailableError].
func OpenPagemap() (*Pagemap, error) { return nil, unavailable() }

// The methods are there so that callers compile.

func (*FD) Close() error                           { return unavailable() }
func (*FD) Fd() int                                { return -1 }
func (*FD) Register(_, _ uintptr, _ Mode) error    { return unavailable() }
func (*FD) Unregister(_, _ uintptr) error          { return unavailable() }
func (*FD) Copy(_ uintptr, _ []byte, _ bool) error { return unavailable() }
func (*FD) Zero(_, _ uintptr) error                { return unavailable() }
func (*FD) Protect(_, _ uintptr) error             { return unavailable() }
func (*FD) Unprotect(_, _ uintptr) error           { return unavailable() }
func (*FD) Wake(_, _ uintptr) error                { return unavailable() }
func (*Pagemap) Close() error                      { return unavailable() }
func (*Pagemap) Writable(_, _ uintptr, dst []Region) ([]Region, error) {
	return dst, unavailable()
}
