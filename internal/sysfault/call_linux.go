//go:build amd64 || arm64

package sysfault

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Call is a system call that a thread of the program is about to make. What
// the kernel reads it reads again if the call runs: another thread may change
// it meanwhile.
type Call struct {
	Name string // as in the manual: pwrite64
	Path string // of the file it is about, absolute if the program named it so; "" if there is none
	Args [6]uint64

	nr  int32
	tid int
}

// A Class is a set of calls that meet the same faults.
type Class string

const (
	Write    Class = "write"    // bytes of a file
	Sync     Class = "sync"     // fdatasync, fsync
	Allocate Class = "allocate" // length and blocks of a file
	Name     Class = "name"     // names: open, rename, unlink, mkdir
	Read     Class = "read"     // bytes, names, and attributes of files
	Memory   Class = "memory"   // shared mappings, and userfaultfd
)

// traced are the calls that the filter stops. fd and path are the numbers of the
// arguments that are one; -1 if none is.
var traced = map[int32]struct {
	name     string
	class    Class
	fd, path int
}{
	unix.SYS_PWRITE64:    {"pwrite64", Write, 0, -1},
	unix.SYS_WRITE:       {"write", Write, 0, -1},
	unix.SYS_FDATASYNC:   {"fdatasync", Sync, 0, -1},
	unix.SYS_FSYNC:       {"fsync", Sync, 0, -1},
	unix.SYS_FALLOCATE:   {"fallocate", Allocate, 0, -1},
	unix.SYS_FTRUNCATE:   {"ftruncate", Allocate, 0, -1},
	unix.SYS_OPENAT:      {"openat", Name, -1, 1},
	unix.SYS_RENAMEAT:    {"renameat", Name, -1, 1},
	unix.SYS_RENAMEAT2:   {"renameat2", Name, -1, 1},
	unix.SYS_UNLINKAT:    {"unlinkat", Name, -1, 1},
	unix.SYS_MKDIRAT:     {"mkdirat", Name, -1, 1},
	unix.SYS_FLOCK:       {"flock", Name, 0, -1},
	unix.SYS_PREAD64:     {"pread64", Read, 0, -1},
	unix.SYS_GETDENTS64:  {"getdents64", Read, 0, -1},
	unix.SYS_FSTAT:       {"fstat", Read, 0, -1},
	unix.SYS_NEWFSTATAT:  {"newfstatat", Read, -1, 1},
	unix.SYS_USERFAULTFD: {"userfaultfd", Memory, -1, -1},
	unix.SYS_MMAP:        {"mmap", Memory, 4, -1},  // MAP_SHARED only
	unix.SYS_IOCTL:       {"ioctl", Memory, 0, -1}, // of userfaultfd only
}

// newCall describes what a notification is about.
func newCall(n *notification) Call {
	c := Call{Name: traced[n.nr].name, Args: n.args, nr: n.nr, tid: int(n.pid)}
	switch at := traced[n.nr]; {
	case at.path >= 0:
		c.Path = c.text(c.Args[at.path])
	case at.fd >= 0:
		c.Path, _ = os.Readlink(c.proc("fd", c.fd())) // "" if the call is on no file
	}
	return c
}

// Class returns which faults the call may meet.
func (c *Call) Class() Class { return traced[c.nr].class }

func (c *Call) fd() int { return int(int32(c.Args[traced[c.nr].fd])) }

// bytes returns how many bytes a write has.
func (c *Call) bytes() int { return int(c.Args[2]) }

func (c *Call) proc(dir string, n int) string {
	return fmt.Sprintf("/proc/%d/%s/%d", c.tid, dir, n)
}

// text reads a string of the program, which ends with a zero.
func (c *Call) text(addr uint64) string {
	b := make([]byte, unix.PathMax)
	n, _ := c.read(b, addr) // less, if the memory ends before
	s, _, _ := bytes.Cut(b[:n], []byte{0})
	return string(s)
}

// read reads memory of the program.
func (c *Call) read(b []byte, addr uint64) (int, error) {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.tid))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	return mem.ReadAt(b, int64(addr))
}

// writeHalf makes the first half of a write for the program, and returns how
// many bytes that was.
func (c *Call) writeHalf() (n int, err error) {
	b := make([]byte, c.bytes()/2)
	if _, err := c.read(b, c.Args[1]); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(c.proc("fd", c.fd()), os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.WriteAt(b, int64(c.Args[3]))
}
