package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"faultline/uffd"
)

// TestSandbox runs a process that confines itself to one directory, and lets many of its
// threads try what they can do then, beside a control that is not confined.
func TestSandbox(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(confine string) string {
		dir := t.TempDir()
		inside := filepath.Join(dir, "inside")
		if err := errors.Join(os.Mkdir(inside, 0o700), os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Cmd{Path: self, Args: []string{"kvd-boxed", confine, inside, l.Addr().String()}}
		out, err := cmd.CombinedOutput()
		if bytes.Contains(out, []byte("unsupported")) {
			t.Skipf("%s", out) // integration TestSandbox has a binary that can
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	for confine, want := range map[string]string{
		"yes": `write inside: done
read outside: permission denied
write outside: permission denied
rename out: permission denied
execute: permission denied
connect: permission denied
listen: permission denied
signal the parent: operation not permitted
userfaultfd: done
`,
		"no": `write inside: done
read outside: done
write outside: done
rename out: done
execute: done
connect: done
listen: done
signal the parent: done
userfaultfd: done
`} {
		if got := run(confine); got != want {
			t.Errorf("confined: %s:\n%swant\n%s", confine, got, want)
		}
	}
}

// boxed is a process that confines itself, if it is told to, and tries things. A line
// for each says what all threads have met.
func boxed() {
	confine, inside, addr := os.Args[1], os.Args[2], os.Args[3]
	outside := filepath.Dir(inside)
	parent := os.Getppid()
	uffd.Hold()
	if confine == "yes" {
		if err := noNewPrivileges(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		box := sandbox{readWrite: []string{inside}, read: []string{"/proc"}}
		if version, err := box.apply(); err != nil || version < versionErrata {
			fmt.Println(version, err, errors.ErrUnsupported)
			os.Exit(1)
		}
	}
	for _, try := range []struct {
		what string
		do   func(name string) error
	}{
		{"write inside", func(name string) error { return os.WriteFile(filepath.Join(inside, name), []byte("x"), 0o600) }},
		{"read outside", func(string) error { _, err := os.ReadFile(filepath.Join(outside, "secret")); return err }},
		{"write outside", func(name string) error { return os.WriteFile(filepath.Join(outside, name), nil, 0o600) }},
		{"rename out", func(name string) error {
			return os.Rename(filepath.Join(inside, name), filepath.Join(outside, name+"-out"))
		}},
		{"execute", func(string) error { return exec.Command("/bin/true").Run() }},
		{"connect", func(string) error {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
			}
			return err
		}},
		{"listen", func(string) error {
			var conf net.ListenConfig
			conf.SetMultipathTCP(false) // of which Landlock does not know
			l, err := conf.Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err == nil {
				l.Close()
			}
			return err
		}},
		{"signal the parent", func(string) error { return unix.Kill(parent, 0) }},
		{"userfaultfd", func(string) error {
			f, err := uffd.Open(uffd.FeatureSigbus)
			if err == nil {
				err = f.Close()
			}
			return err
		}},
	} {
		fmt.Printf("%s: %s\n", try.what, onThreads(try.do))
	}
}

// onThreads calls do on several threads at once and returns what they have met.
func onThreads(do func(name string) error) string {
	const threads = 8
	var all sync.WaitGroup
	met := make([]string, threads)
	for i := range threads {
		all.Add(1)
		go func() {
			defer all.Done()
			runtime.LockOSThread() // one thread for each
			met[i] = outcome(do(fmt.Sprint("file", i)))
		}()
	}
	all.Wait()
	for _, m := range met {
		if m != met[0] {
			return "not alike: " + strings.Join(met, "; ")
		}
	}
	return met[0]
}

func outcome(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &errno) && errno != unix.EXDEV:
		return errno.Error()
	case errors.Is(err, fs.ErrPermission), errors.As(err, &errno):
		return "permission denied" // a rename between directories is EXDEV where REFER is denied
	}
	return err.Error()
}
