package uffd

import (
	"errors"
	"fmt"
	"strings"
)

// An OpError says which operation on which addresses the kernel refused. Err is
// a unix.Errno unless the operation's comment says otherwise.
//
// Addr and Len are what was still to do: whatever of the range lay before Addr
// has been done.
type OpError struct {
	Op   string  // "copy", "write-protect" ...
	Addr uintptr // first address concerned
	Len  uintptr // in bytes; 0 for an operation that has no range
	Err  error
}

func (e *OpError) Error() string {
	if e.Len == 0 && e.Addr == 0 {
		return fmt.Sprintf("uffd: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("uffd: %s %d bytes at %#x: %v", e.Op, e.Len, e.Addr, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// An UnavailableError says why this process cannot have a userfaultfd, or not
// one with the features that it asked for, and what to do about it. It wraps
// [errors.ErrUnsupported] and the answers of the kernel.
type UnavailableError struct {
	Reason  string   // which of the causes it is, and what to do, in one sentence
	Kernel  string   // release; empty where there is no Linux
	Missing Features // of those asked for; 0 if it did not come to the handshake
	Syscall error    // what userfaultfd(2) answered, nil if it worked
	Device  error    // what /dev/userfaultfd answered, nil if it worked or was not tried
}

func (e *UnavailableError) Error() string {
	var facts []string
	if e.Syscall != nil {
		facts = append(facts, "userfaultfd(2): "+e.Syscall.Error())
	}
	if e.Device != nil {
		facts = append(facts, devicePath+": "+e.Device.Error())
	}
	if e.Kernel != "" {
		facts = append(facts, "kernel "+e.Kernel)
	}
	text := "uffd: unavailable: " + e.Reason
	if len(facts) > 0 {
		text += " [" + strings.Join(facts, "; ") + "]"
	}
	return text
}

func (e *UnavailableError) Unwrap() []error {
	errs := []error{errors.ErrUnsupported}
	if e.Syscall != nil {
		errs = append(errs, e.Syscall)
	}
	if e.Device != nil {
		errs = append(errs, e.Device)
	}
	return errs
}

// devicePath is the way to a userfaultfd that file permissions govern, instead
// of a seccomp filter. It exists since Linux 6.1.
const devicePath = "/dev/userfaultfd"
