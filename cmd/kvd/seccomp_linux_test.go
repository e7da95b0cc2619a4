//go:build amd64 || arm64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// decide runs a filter on one call, as the kernel does.
func (f filter) decide(t *testing.T, abi, call, arg uint32) uint32 {
	t.Helper()
	var a uint32
	for at := 0; at < len(f); at++ {
		in := f[at]
		jump := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = map[uint32]uint32{callAt: call, abiAt: abi, firstArgAt: arg}[in.K]
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump = a == in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump = a > in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump = a&in.K != 0
		default:
			t.Fatalf("instruction %d has code %#x", at, in.Code)
		}
		if jump {
			at += int(in.Jt)
		} else {
			at += int(in.Jf)
		}
	}
	t.Fatal("a program without an end")
	return 0
}

// TestFilter compares the answer to every system call there is, and could be, with what
// is written down: here in sets, there in jumps.
func TestFilter(t *testing.T) {
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	type answers struct{ call, arg, with, notifying, open uint32 }
	calls := []answers{
		{unix.SYS_CLONE3, 0, absent.K, absent.K, pass.K},
		{unix.SYS_CLONE, thread, pass.K, pass.K, pass.K},
		{unix.SYS_CLONE, uint32(unix.SIGCHLD), denied.K, denied.K, pass.K},
		{unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_VFORK | uint32(unix.SIGCHLD), denied.K, denied.K, pass.K},
		{unix.SYS_SOCKET, unix.AF_UNIX, denied.K, pass.K, pass.K},
		{unix.SYS_SOCKET, unix.AF_INET, denied.K, denied.K, pass.K},
		{unix.SYS_SOCKET, unix.AF_NETLINK, denied.K, denied.K, pass.K},
		{unix.SYS_CONNECT, 0, denied.K, pass.K, pass.K},
		{unix.SYS_USERFAULTFD, 0, pass.K, pass.K, denied.K},
		{newestCall + 1, 0, absent.K, absent.K, pass.K},
		{1 << 30, 0, absent.K, absent.K, pass.K}, // x32, on amd64
		{1<<32 - 1, 0, absent.K, absent.K, pass.K},
	}
	for _, flag := range []uint32{unix.CLONE_NEWNS, unix.CLONE_NEWCGROUP, unix.CLONE_NEWUTS, unix.CLONE_NEWIPC,
		unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET} {
		calls = append(calls, answers{unix.SYS_CLONE, thread | flag, denied.K, denied.K, pass.K})
	}
	special := map[uint32]bool{}
	for _, c := range calls {
		special[c.call] = true
	}
	for call := range uint32(newestCall) {
		switch {
		case special[call]:
		case slices.Contains(forbidden, call):
			calls = append(calls, answers{call, 0, denied.K, denied.K, pass.K})
		default:
			calls = append(calls, answers{call, 0, pass.K, pass.K, pass.K})
		}
	}
	for _, c := range calls {
		for _, try := range []struct {
			name   string
			filter filter
			want   uint32
		}{
			{"at start", newFilter(false), c.with},
			{"at start, with systemd", newFilter(true), c.notifying},
			{"once open", newOpenFilter(), c.open},
		} {
			if got := try.filter.decide(t, nativeABI, c.call, c.arg); got != try.want {
				t.Errorf("%s: call %d(%#x): %#x, want %#x", try.name, c.call, c.arg, got, try.want)
			}
			for _, abi := range []uint32{0, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, nativeABI + 1} {
				if got := try.filter.decide(t, abi, c.call, c.arg); got != killed.K {
					t.Errorf("%s: call %d of %#x: %#x, want the end", try.name, c.call, abi, got)
				}
			}
		}
	}
}

// TestSeccomp runs a process that puts itself under the filters, and has many of its
// threads make calls: all that are forbidden, and those that kvd and the Go runtime need.
// The control is a process without.
func TestSeccomp(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const refused = `write a file: done
make a thread: done
drop memory: done
execute: operation not permitted
execve: operation not permitted
ptrace: operation not permitted
process_vm_readv: operation not permitted
keyctl: operation not permitted
unshare: operation not permitted
setns: operation not permitted
personality: operation not permitted
clone3: function not implemented
UDP socket: operation not permitted
`
	for mode, want := range map[string]string{
		"no": `write a file: done
make a thread: done
drop memory: done
execute: done
execve: no such file or directory
ptrace: no such process
process_vm_readv: done
keyctl: operation not supported
unshare: done
setns: bad file descriptor
personality: done
clone3: invalid argument
UDP socket: done
Unix socket: done
userfaultfd: invalid argument
`,
		"systemd": refused + `Unix socket: done
userfaultfd: invalid argument
all that is forbidden: operation not permitted
`,
		"open": refused + `Unix socket: operation not permitted
userfaultfd: operation not permitted
all that is forbidden: operation not permitted
`} {
		cmd := exec.Cmd{Path: self, Args: []string{"kvd-filtered", mode, t.TempDir()}}
		got, err := cmd.CombinedOutput()
		if err != nil || string(got) != want {
			t.Errorf("%s: %v\n%swant\n%s", mode, err, got, want)
		}
	}
}

// filtered is a process that puts itself under filters, and tries things.
func filtered() {
	mode, dir := os.Args[1], os.Args[2]
	var filters []filter
	switch mode {
	case "systemd":
		filters = []filter{newFilter(true)}
	case "open":
		filters = []filter{newFilter(false), newOpenFilter()}
	}
	for _, f := range filters {
		if err := f.apply(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	type try struct {
		what string
		do   func(name string) error
	}
	tries := []try{
		{"write a file", func(name string) error { return os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600) }},
		{"make a thread", func(string) error { onThreads(func(string) error { return nil }); return nil }},
		{"drop memory", func(string) error {
			mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return err
			}
			defer unix.Munmap(mem)
			return unix.Madvise(mem, unix.MADV_DONTNEED)
		}},
		{"execute", func(string) error { return exec.Command("/bin/true").Run() }},
		{"execve", func(string) error {
			path := []byte("/none\x00")
			return call(unix.SYS_EXECVE, uintptr(unsafe.Pointer(&path[0])))
		}},
		{"ptrace", func(string) error { return call(unix.SYS_PTRACE, unix.PTRACE_CONT, 1<<30) }},
		{"process_vm_readv", func(string) error { return call(unix.SYS_PROCESS_VM_READV, uintptr(os.Getpid())) }},
		{"keyctl", func(string) error { return call(unix.SYS_KEYCTL, 1<<30) }},
		{"unshare", func(string) error { return call(unix.SYS_UNSHARE) }},
		{"setns", func(string) error { return call(unix.SYS_SETNS, 1<<30) }},
		{"personality", func(string) error { return call(unix.SYS_PERSONALITY, 1<<32-1) }},
		{"clone3", func(string) error { return call(unix.SYS_CLONE3) }},
		{"UDP socket", func(string) error { return makeSocket(unix.AF_INET) }},
		{"Unix socket", func(string) error { return makeSocket(unix.AF_UNIX) }},
		{"userfaultfd", func(string) error { return call(unix.SYS_USERFAULTFD, 1<<30) }},
	}
	if mode != "no" { // some would do harm
		tries = append(tries, try{"all that is forbidden", func(string) error {
			for _, nr := range forbidden {
				if err := call(uintptr(nr), 1<<30, 1<<30, 1<<30); err != unix.EPERM {
					return fmt.Errorf("call %d: %v", nr, err)
				}
			}
			return unix.EPERM
		}})
	}
	for _, try := range tries {
		fmt.Printf("%s: %s\n", try.what, onThreads(try.do))
	}
}

// call makes a system call; the arguments that are not given are 0.
func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

func makeSocket(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}
