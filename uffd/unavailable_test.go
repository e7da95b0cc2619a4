//go:build linux && (amd64 || arm64)

package uffd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestExplain goes through the causes that explain tells apart.
func TestExplain(t *testing.T) {
	linux := surroundings{release: "6.12.1"}
	filtered := surroundings{release: "6.12.1", seccomp: true}
	for _, c := range []struct {
		what              string
		bySyscall, device unix.Errno
		s                 surroundings
		want              []string // words of the reason
	}{
		{"gVisor", unix.ENOSYS, unix.ENOENT, surroundings{release: "4.4.0", gvisor: true}, []string{"gVisor", "runc"}},
		{"ancient kernel", unix.ENOSYS, unix.ENOENT, surroundings{release: "3.10.0"}, []string{"older than 5.11", "6.1"}},
		{"old kernel", unix.EINVAL, unix.ENOENT, surroundings{release: "5.4.0"}, []string{"older than 5.11", "6.1"}},
		{"old kernel, sysctl 0", unix.EPERM, unix.ENOENT, surroundings{release: "5.4.0"}, []string{"older than 5.11", "6.1"}},
		{"old kernel that hides its age", unix.EINVAL, unix.ENOENT, surroundings{}, []string{"older than 5.11", "6.1"}},
		{"kernel without the option", unix.ENOSYS, unix.ENOENT, linux, []string{"CONFIG_USERFAULTFD"}},
		{"filter that says ENOSYS", unix.ENOSYS, unix.ENOENT, filtered, []string{"seccomp", "CONFIG_USERFAULTFD", "--device /dev/userfaultfd"}},
		{"the same, device closed", unix.ENOSYS, unix.EACCES, filtered, []string{"seccomp", "udev"}},
		{"Docker", unix.EPERM, unix.ENOENT, filtered, []string{"seccomp", "--device /dev/userfaultfd", "Kubernetes"}},
		{"Docker, device mounted", unix.EPERM, unix.EPERM, filtered, []string{"seccomp", "device cgroup", "--device"}},
		{"Docker, device closed", unix.EPERM, unix.EACCES, filtered, []string{"seccomp", "udev", "0660"}},
		{"Docker, node made by hand", unix.EPERM, unix.ENXIO, filtered, []string{"seccomp", "without a driver", "6.1"}},
		{"Docker, something else there", unix.EPERM, unix.ENOTTY, filtered, []string{"seccomp", "not the userfaultfd device"}},
		{"Docker, device breaks", unix.EPERM, unix.EIO, filtered, []string{"seccomp", "input/output error"}},
		{"EPERM without a filter", unix.EPERM, unix.ENOENT, linux, []string{"no seccomp filter", "security policy"}},
		{"SELinux", unix.EACCES, unix.EACCES, linux, []string{"SELinux", "anon_inode"}},
		{"unheard of", unix.EIO, unix.ENOENT, linux, []string{"input/output error"}},
	} {
		reason := explain(c.bySyscall, c.device, c.s)
		for _, w := range c.want {
			if !strings.Contains(reason, w) {
				t.Errorf("%s: %q does not say %q", c.what, reason, w)
			}
		}
	}
}

// TestUnavailableError checks the text as a whole and what it wraps.
func TestUnavailableError(t *testing.T) {
	err := error(&UnavailableError{
		Reason: "no reason", Kernel: "6.12.1", Syscall: unix.EPERM, Device: unix.ENOENT,
	})
	const want = "uffd: unavailable: no reason [userfaultfd(2): operation not permitted; /dev/userfaultfd: no such file or directory; kernel 6.12.1]"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	for _, e := range []error{errors.ErrUnsupported, unix.EPERM, unix.ENOENT} {
		if !errors.Is(err, e) {
			t.Errorf("does not wrap %v", e)
		}
	}
}

// TestDenied runs Probe and Open in child processes to which a seccomp filter
// denies userfaultfd(2), as a container's profile does, and which may be without
// access to /dev/userfaultfd: a child of root drops to a user whom the device's
// mode shuts out. The error cases need a device that is closed to others, as it
// is by default.
func TestDenied(t *testing.T) {
	opened(t, sigbusWP)
	root := os.Geteuid() == 0
	device := unix.Access(devicePath, unix.R_OK|unix.W_OK) == nil
	var st unix.Stat_t
	closed := unix.Stat(devicePath, &st) == nil && st.Mode&0o006 == 0

	for _, c := range []struct {
		name   string
		errno  unix.Errno // answer of userfaultfd(2); 0: no filter
		nobody bool       // run as a user without access to the device
		hold   bool       // call Hold before all that
		needs  bool
		want   []string
	}{
		{"allowed", 0, false, false, true, []string{"via userfaultfd(2)", "trap works"}},
		{"allowed to nobody", 0, true, false, root, []string{"via userfaultfd(2)", "trap works", "no pagemap"}},
		{"EPERM, device open", unix.EPERM, false, false, device, []string{"via /dev/userfaultfd", "trap works"}},
		{"ENOSYS, device open", unix.ENOSYS, false, false, device, []string{"via /dev/userfaultfd", "trap works"}},
		{"EPERM, device closed", unix.EPERM, true, false, root && closed,
			[]string{"unsupported", "EPERM", "EACCES", "seccomp profile", "not open to this user"}},
		{"ENOSYS, device closed", unix.ENOSYS, true, false, root && closed,
			[]string{"unsupported", "ENOSYS", "EACCES", "a seccomp filter hides", "not open to this user"}},
		{"EPERM, device closed, but held", unix.EPERM, true, true, root && closed && device,
			[]string{"via /dev/userfaultfd", "trap works", "pagemap opens"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.needs {
				t.Skipf("needs root (%t), or a device that is open (%t) or closed to others (%t)", root, device, closed)
			}
			self, err := os.Executable()
			must(t, err)
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(),
				fmt.Sprintf("%s=%d %t %t", deniedEnv, c.errno, c.nobody, c.hold),
				"GORACE=atexit_sleep_ms=0") // else a child under -race sleeps a second
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			t.Logf("%s", out)
			for _, w := range c.want {
				if !strings.Contains(string(out), w) {
					t.Errorf("%q does not say %q", out, w)
				}
			}
		})
	}
}

// deniedEnv makes the test binary run deniedChild: "errno nobody hold".
const deniedEnv = "UFFD_TEST_DENIED"

// deniedChild denies itself userfaultfd(2), then tells what Probe and Open say.
func deniedChild() int {
	var errno int
	var nobody, hold bool
	if _, err := fmt.Sscan(os.Getenv(deniedEnv), &errno, &nobody, &hold); err != nil {
		fmt.Println(err)
		return 1
	}
	if hold {
		Hold()
	}
	if nobody {
		const uid = 65534
		// In this order: the first two need the right that the last gives up.
		for _, step := range []error{syscall.Setgroups(nil), syscall.Setgid(uid), syscall.Setuid(uid)} {
			if step != nil {
				fmt.Println("become nobody:", step)
				return 1
			}
		}
	}
	if errno != 0 {
		if err := denySyscall(unix.SYS_USERFAULTFD, unix.Errno(errno)); err != nil {
			fmt.Println("install a seccomp filter:", err)
			return 1
		}
	}

	info, err := Probe()
	if err == nil {
		fmt.Println("via", info.Via)
	}
	works := false
	for _, w := range Ways() {
		works = works || w.Used && w.Err == nil
	}
	if works != (err == nil) {
		fmt.Printf("Ways says %+v, Probe %v\n", Ways(), err)
		return 1
	}
	if f, errOpen := Open(sigbusWP); errOpen == nil {
		fmt.Println(trapWorks(f))
		if p, err := OpenPagemap(); err == nil { // root's after setuid: only Hold has it
			p.Close()
			fmt.Println("pagemap opens")
		} else if errors.Is(err, errors.ErrUnsupported) {
			fmt.Println("no pagemap") // and not an error that would stop a store
		}
	} else if err == nil || errOpen.Error() != err.Error() {
		fmt.Printf("Open says %v, Probe %v\n", errOpen, err)
		return 1
	}
	if err != nil {
		fmt.Println(err)
		if errors.Is(err, errors.ErrUnsupported) {
			fmt.Println("unsupported")
		}
		var u *UnavailableError
		if errors.As(err, &u) {
			fmt.Println(unix.ErrnoName(u.Syscall.(unix.Errno)), unix.ErrnoName(u.Device.(unix.Errno)))
		}
	}
	return 0
}

// trapWorks is TestTrap without a test.
func trapWorks(f *FD) string {
	mem, err := unix.Mmap(-1, 0, int(page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err.Error()
	}
	addr := uintptr(unsafe.Pointer(&mem[0]))
	if err := f.Register(addr, page, ModeMissing|ModeWP); err != nil {
		return err.Error()
	}
	if err := f.Copy(addr, pages(1), true); err != nil {
		return err.Error()
	}
	if trap(func() { mem[5] = 1 }) != addr+5 {
		return "no trap"
	}
	return "trap works"
}

// denySyscall makes the system call nr return errno in every thread of this
// process, for good.
func denySyscall(nr uint32, errno unix.Errno) error {
	const loadNumber = 0 // offset of nr in struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: loadNumber},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: nr},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// TSYNC gives the other threads no_new_privs; the caller's own must be set, so both
	// calls are made by one thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return nil
}
