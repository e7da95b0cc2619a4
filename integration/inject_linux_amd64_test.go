package integration

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSeccompThreads stops each thread of a kvd that serves, has it make system calls that
// are refused, and lets it go on: each must meet the refusal, and kvd must not notice. The
// control is a kvd without filters, which meets other errors.
func TestSeccompThreads(t *testing.T) {
	asRoot(t)
	for setting, want := range map[string][]unix.Errno{
		"yes": {unix.EPERM, unix.EPERM, unix.EPERM},
		"no":  {unix.EFAULT, unix.EINVAL, unix.EINVAL},
	} {
		t.Run(setting, func(t *testing.T) {
			k := startKvd(t, t.TempDir(), 2, "--seccomp", setting)
			c := k.dial()
			c.Do("SET", "a", "b")
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", k.cmd.Process.Pid))
			if err != nil || len(threads) < 4 {
				t.Fatalf("%d threads, %v", len(threads), err)
			}
			for _, thread := range threads {
				tid, err := strconv.Atoi(filepath.Base(thread))
				if err != nil {
					t.Fatal(err)
				}
				for i, call := range []struct{ nr, arg uint64 }{
					{unix.SYS_EXECVE, 0}, // no path
					{unix.SYS_UNSHARE, 1 << 31},
					{unix.SYS_USERFAULTFD, 1 << 31},
				} {
					got, err := inject(tid, call.nr, call.arg)
					for err == errRuns { // it will wait again
						got, err = inject(tid, call.nr, call.arg)
					}
					if err != nil {
						t.Fatalf("thread %d: %v", tid, err)
					}
					if got != want[i] {
						t.Errorf("thread %d, call %d: %v, want %v", tid, call.nr, got, want[i])
					}
				}
			}
			if r, err := c.Do("GET", "a"); err != nil || r.Str != "b" {
				t.Errorf("GET: %v, %v", r, err)
			}
			k.stop()
		})
	}
}

var errRuns = errors.New("the thread is not in a system call")

// inject has a thread of another process, which waits in a system call, make another one,
// and returns its error. The thread then goes on with the one in which it was; if it is in
// none, errRuns is returned.
func inject(tid int, nr, arg uint64) (unix.Errno, error) {
	runtime.LockOSThread() // who stops a thread must ask it, too
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, 0, 0, 0); errno != 0 {
		return 0, fmt.Errorf("seize: %w", errno)
	}
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, uintptr(tid), 0, 0, 0, 0); errno != 0 {
		return 0, fmt.Errorf("interrupt: %w", errno)
	}
	if err := stopped(tid); err != nil {
		return 0, err
	}
	var was, regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &was); err != nil {
		return 0, err
	}
	code := make([]byte, 2)
	if _, err := unix.PtracePeekText(tid, uintptr(was.Rip-2), code); err != nil {
		return 0, err
	}
	if code[0] != 0x0f || code[1] != 0x05 {
		return 0, cmp.Or(unix.PtraceDetach(tid), errRuns)
	}
	regs = was
	regs.Rip -= 2             // the instruction that makes a call
	regs.Orig_rax = 1<<64 - 1 // the call that was interrupted is not begun again yet
	regs.Rax, regs.Rdi, regs.Rsi, regs.Rdx = nr, arg, 0, 0
	if err := unix.PtraceSetRegs(tid, &regs); err != nil {
		return 0, err
	}
	if err := unix.PtraceSingleStep(tid); err != nil {
		return 0, err
	}
	if err := stopped(tid); err != nil {
		return 0, err
	}
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return 0, err
	}
	if err := unix.PtraceSetRegs(tid, &was); err != nil {
		return 0, err
	}
	return unix.Errno(-int64(regs.Rax)), unix.PtraceDetach(tid)
}

// stopped waits until a thread is.
func stopped(tid int) error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(tid, &status, unix.WALL, nil)
		if err == syscall.EINTR {
			continue
		}
		if err == nil && !status.Stopped() {
			err = fmt.Errorf("it has ended: %#x", status)
		}
		return err
	}
}
