//go:build linux && (amd64 || arm64)

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A memoryLimit is a cgroup for one process.
type memoryLimit struct {
	t   *testing.T
	dir string
	v2  bool
}

// newMemoryLimit makes a cgroup at the root of its hierarchy, until the end of the
// test.
func newMemoryLimit(t *testing.T, bytes int64) *memoryLimit {
	t.Helper()
	m := &memoryLimit{t: t}
	root := "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); err != nil {
		root, m.v2 = "/sys/fs/cgroup", true
	}
	dir, err := os.MkdirTemp(root, "kvd-test-")
	if err != nil {
		lacks(t, err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	m.dir = dir
	if err := m.set(bytes); err != nil {
		lacks(t, err)
	}
	return m
}

func (m *memoryLimit) set(bytes int64) error {
	return os.WriteFile(m.file("memory.limit_in_bytes", "memory.max"), fmt.Append(nil, bytes), 0)
}

// tighten takes a MiB of what is in use now. Where the kernel finds nothing to
// give up the limit comes down to what is in use (v1), or it kills (v2).
func (m *memoryLimit) tighten() error {
	b, err := os.ReadFile(m.file("memory.usage_in_bytes", "memory.current"))
	if err != nil {
		return err
	}
	used, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return err
	}
	err = m.set(used - 1<<20)
	if errors.Is(err, unix.EBUSY) {
		err = m.set(used)
	}
	if errors.Is(err, unix.EBUSY) {
		return nil // more is in use by now
	}
	return err
}

// file returns the path of the file that has one of two names.
func (m *memoryLimit) file(v1, v2 string) string {
	if m.v2 {
		return filepath.Join(m.dir, v2)
	}
	return filepath.Join(m.dir, v1)
}

// put lets cmd run inside: a shell enters and becomes the program.
func (m *memoryLimit) put(cmd *exec.Cmd) {
	cmd.Args = append([]string{"/bin/sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, m.dir}, cmd.Args...)
	cmd.Path = "/bin/sh"
}

var oomKill = regexp.MustCompile(`(?m)^oom_kill (\d+)$`)

// kills returns how many processes the kernel has killed for want of memory.
func (m *memoryLimit) kills() int {
	m.t.Helper()
	b, err := os.ReadFile(m.file("memory.oom_control", "memory.events"))
	if err != nil {
		m.t.Fatal(err)
	}
	found := oomKill.FindSubmatch(b)
	if found == nil {
		m.t.Fatalf("no oom_kill in %q", b)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}
