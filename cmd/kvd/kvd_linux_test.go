package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"faultline/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"kvd":          main,
		"kvd-caged":    func() { denyUserfaultfd(); main() },
		"kvd-nobody":   func() { becomeNobody(); main() },
		"kvd-boxed":    boxed,
		"kvd-filtered": filtered,
	})
}

// TestScripts runs testdata: command lines, their exit status and their output.
// Beside the commands of testscript there is
//
//	fails STATUS COMMAND...   the command must print nothing, one line on stderr,
//	                          and exit with the status
//
// $BUSY is an address in use, the store in locked/ is in use by the process $PID.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { l.Close() })
			env.Setenv("BUSY", l.Addr().String())

			db, err := store.Open(filepath.Join(env.WorkDir, "locked"), &store.Options{MemoryBudget: 16 << 20})
			if errors.Is(err, errors.ErrUnsupported) && os.Getenv("CI") == "" {
				env.T().Skip(err)
			}
			if err != nil {
				return err
			}
			env.Defer(func() { db.Close() })
			env.Setenv("PID", strconv.Itoa(os.Getpid()))
			return makeStores(env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fails": fails},
	})
}

func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails STATUS COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitCode()
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("exit status %d (%v), want %s", status, err, args[0])
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if stdout != "" || !strings.HasPrefix(stderr, "kvd: ") || strings.Count(stderr, "\n") != 1 {
		ts.Fatalf("stdout %q, stderr %q, want one line of error", stdout, stderr)
	}
}

// makeStores makes good/, a store of 1000 keys and 3 in a keyspace, bad/, the same with all pages damaged
// but the superblock, and norounds/, the same with an empty file rounds.
func makeStores(workDir string) error {
	for _, name := range []string{"good", "bad", "norounds"} {
		dir := filepath.Join(workDir, name)
		db, err := store.Open(dir, &store.Options{MemoryBudget: 16 << 20})
		if err != nil {
			return err
		}
		var b store.Batch
		for i := range 1000 {
			if err := b.Put(fmt.Appendf(nil, "key%04d", i), make([]byte, 100)); err != nil {
				return err
			}
		}
		ks, err := db.Keyspace("a b")
		if err != nil {
			return err
		}
		b.Use(ks)
		for _, key := range []string{"x", "y", "z"} {
			if err := b.Put([]byte(key), nil); err != nil {
				return err
			}
		}
		if _, err := db.Apply(&b, store.Async); err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	if err := os.Truncate(filepath.Join(workDir, "norounds", "rounds"), 0); err != nil {
		return err
	}
	return damage(filepath.Join(workDir, "bad", "data"))
}

// damage flips a bit in every page but the superblock.
func damage(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for at := 4096 + 2048; at < len(data); at += 4096 {
		data[at] ^= 1
	}
	return os.WriteFile(file, data, 0o600)
}

// becomeNobody gives up all rights. Whoever is not root has none of those that matter.
func becomeNobody() {
	if os.Getuid() != 0 {
		return
	}
	if err := (identity{uid: 65534, gid: 65534}).become(); err != nil {
		panic(err)
	}
}

// denyUserfaultfd puts this process into what a container's seccomp profile
// makes of a machine: neither the system call nor the device gives a userfaultfd.
func denyUserfaultfd() {
	const (
		number  = 0        // offsets in struct seccomp_data
		request = 16 + 8*1 // the second argument of ioctl
		newUffd = 0xaa00   // USERFAULTFD_IOC_NEW
	)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 3, K: unix.SYS_USERFAULTFD},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_IOCTL},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: request},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: newUffd},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // both calls are to be made by one thread
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if _, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); err != 0 {
		panic(err)
	}
}
