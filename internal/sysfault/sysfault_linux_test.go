//go:build amd64 || arm64

package sysfault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const targetEnv = "SYSFAULT_TARGET"

func TestMain(m *testing.M) {
	Shim()
	if name := os.Getenv(targetEnv); name != "" {
		os.Exit(target(name))
	}
	os.Exit(m.Run())
}

const (
	writers    = 4
	writes     = 5 // of each writer
	blockBytes = 1000
)

// target is the program under test: writers on threads of their own write blocks
// of one file, each a letter, and print what becomes of every write; then the
// file is synced.
func target(name string) int {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Println("open:", err)
		return 1
	}
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for i := range writes {
				at := w*writes + i
				b := bytes.Repeat([]byte{'a' + byte(at)}, blockBytes)
				if n, err := unix.Pwrite(int(f.Fd()), b, int64(at*blockBytes)); err != nil || n != blockBytes {
					fmt.Printf("block %d: %d bytes, %v\n", at, n, err)
				}
			}
		})
	}
	done.Wait()
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		fmt.Println("sync:", err)
	}
	return 0
}

// A result is what the target did under a supervisor.
type result struct {
	out    string
	status int
	whole  int // blocks of the file with all their bytes
	calls  map[string]int
}

// supervise runs the target; answer is asked for its k-th call on the file.
func supervise(t *testing.T, answer func(k int, c Call) Answer) result {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	r := result{calls: map[string]int{}}
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), targetEnv+"="+name)
	cmd.Stdout, cmd.Stderr = &out, &out
	s, err := Start(cmd, func(c Call) Answer {
		if c.Path != name {
			return Run
		}
		r.calls[c.Name]++
		return answer(r.calls[c.Name], c)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	r.out, r.status = out.String(), cmd.ProcessState.ExitCode()
	b, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for at := range writers * writes {
		if bytes.Contains(b, bytes.Repeat([]byte{'a' + byte(at)}, blockBytes)) {
			r.whole++
		}
	}
	return r
}

// TestCount counts the calls of all threads, with nothing changed.
func TestCount(t *testing.T) {
	r := supervise(t, func(int, Call) Answer { return Run })
	if r.out != "" || r.status != 0 || r.whole != writers*writes {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]int{"openat": 1, "pwrite64": writers * writes, "fdatasync": 1} {
		if r.calls[name] != want {
			t.Errorf("%s: %d calls, want %d", name, r.calls[name], want)
		}
	}
}

// TestAnswers gives each answer to each write in turn, and looks at what the
// program saw, and at what is in the file.
func TestAnswers(t *testing.T) {
	const all = writers * writes
	tests := []struct {
		name   string
		answer Answer
		out    string // what the target prints, a regular expression
		status int
	}{
		{"fail", Fail(unix.ENOSPC), `^block \d+: -1 bytes, no space left on device\n$`, 0},
		{"half", Half, `^block \d+: 500 bytes, <nil>\n$`, 0},
		{"pretend", Pretend, `^$`, 0},
		{"kill", Kill, `^$`, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for at := 1; at <= all; at++ {
				r := supervise(t, func(k int, c Call) Answer {
					if c.Name == "pwrite64" && k == at {
						return test.answer
					}
					return Run
				})
				if !regexp.MustCompile(test.out).MatchString(r.out) || r.status != test.status {
					t.Errorf("write %d: status %d, printed %q", at, r.status, r.out)
				}
				least, most := all-1, all-1
				if test.answer == Kill { // the other writers may have been let run, and not have begun
					least, most = at-writers, at-1
				}
				if r.whole < least || r.whole > most {
					t.Errorf("write %d: %d blocks are whole, want %d to %d", at, r.whole, least, most)
				}
			}
		})
	}
}

// TestPersistent fails a call and all after it, of one name.
func TestPersistent(t *testing.T) {
	const from = 8
	r := supervise(t, func(k int, c Call) Answer {
		if c.Name == "pwrite64" && k >= from {
			return Fail(unix.EIO)
		}
		return Run
	})
	if r.whole != from-1 || strings.Count(r.out, "input/output error") != writers*writes-r.whole {
		t.Errorf("%+v", r)
	}
}

// TestNoProgram starts what is not there.
func TestNoProgram(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(t.TempDir(), "none"))
	cmd.Stderr = &out
	s, err := Start(cmd, func(Call) Answer { return Run })
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if err := s.Wait(); err != nil || cmd.ProcessState.ExitCode() != 127 || !strings.Contains(out.String(), "no such file") {
		t.Errorf("%v, %v, %s", err, cmd.ProcessState, out.String())
	}
}
