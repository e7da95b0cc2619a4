package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlace finds the group of a process in the files of several machines.
func TestPlace(t *testing.T) {
	const (
		mounts1 = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" +
			"31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
			"32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		mounts2   = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		container = "29 23 0:26 /docker/1 /sys/fs/cgroup/memory ro master:4 - cgroup cgroup rw,memory\n"
	)
	for name, test := range map[string]struct {
		groups, mounts string
		dir, top       string
		files          files
	}{
		"version 1": {
			"4:memory:/api/7\n2:cpuacct,cpu:/x\n0::/\n", mounts1,
			"/sys/fs/cgroup/memory/api/7", "/sys/fs/cgroup/memory", version1,
		},
		"version 2": {
			"0::/user.slice/a:b\n", mounts2, "/sys/fs/cgroup/user.slice/a:b", "/sys/fs/cgroup", version2,
		},
		"in a container": {
			"4:memory:/docker/1/sub\n", container, "/sys/fs/cgroup/memory/sub", "/sys/fs/cgroup/memory", version1,
		},
		"outside of the mount": {
			"4:memory:/else\n", container, "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory", version1,
		},
	} {
		proc := t.TempDir()
		writeFile(t, filepath.Join(proc, "cgroup"), test.groups)
		writeFile(t, filepath.Join(proc, "mountinfo"), test.mounts)
		got, err := find(proc)
		if want := (place{test.dir, test.top, test.files}); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fakeProc returns the files of a process in the group /a/b of a hierarchy of
// version 2 that is an ordinary directory.
func fakeProc(t *testing.T) (proc, top string) {
	proc, top = t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(proc, "cgroup"), "0::/a/b\n")
	writeFile(t, filepath.Join(proc, "mountinfo"), fmt.Sprintf("29 23 0:26 / %s rw - cgroup2 cgroup2 rw\n", top))
	if err := os.MkdirAll(filepath.Join(top, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	return proc, top
}

// TestUnavailable checks the error of a hierarchy in which no group has the
// controller, and that nothing is left in it.
func TestUnavailable(t *testing.T) {
	proc, top := fakeProc(t)
	_, err := newGroup(proc, "g", 1<<20)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	for _, dir := range []string{"", "a", "a/b"} {
		if _, err := os.Stat(filepath.Join(top, dir, "g")); err == nil {
			t.Errorf("%q has a group", dir)
		}
	}
	if err := os.Remove(filepath.Join(proc, "mountinfo")); err != nil {
		t.Fatal(err)
	}
	if _, err := newGroup(proc, "g", 1<<20); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without mounts: error %v, want ErrUnavailable", err)
	}
}

// TestVersion2Figures reads the files of a group of version 2, and of one
// whose kernel keeps no peak.
func TestVersion2Figures(t *testing.T) {
	g := &Group{t.TempDir(), version2}
	writeFile(t, g.path("memory.events"), "low 0\nhigh 1\nmax 17\noom 3\noom_kill 2\noom_group_kill 4\n")
	if got, err := g.Stats(); err != nil || got != (Stats{-1, 17, 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	writeFile(t, g.path("memory.peak"), "4096\n")
	if got, err := g.Stats(); err != nil || got != (Stats{4096, 17, 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	writeFile(t, g.path("memory.max"), "max\n")
	writeFile(t, g.path("memory.swap.max"), "max\n")
	if err := g.setLimit(1 << 20); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "1048576", "memory.swap.max": "0"} {
		if text, err := os.ReadFile(g.path(file)); err != nil || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s is %q, %v", file, text, err)
		}
	}
}

// fileArgument has the test binary write and read a file instead.
const fileArgument = "write-and-read"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == fileArgument {
		if err := writeAndRead(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeAndRead waits for a line, so that it does nothing before it is in its
// group, and then takes more of the page cache than that may have.
func writeAndRead(path string) error {
	if _, err := fmt.Scanln(new(string)); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	piece := make([]byte, 1<<20)
	for range 2 * testLimit / len(piece) {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	return err
}

const testLimit = 16 << 20

// TestGroup bounds a process that writes and reads more than its group may have,
// on this machine: what it came to is no more than the bound.
func TestGroup(t *testing.T) {
	g, err := New(fmt.Sprintf("kvbench-test-%d", os.Getpid()), testLimit)
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], fileArgument, filepath.Join(t.TempDir(), "file"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addErr := g.Add(cmd.Process.Pid)
	fmt.Fprintln(in, "go")
	if err := errors.Join(addErr, cmd.Wait()); err != nil {
		t.Error(err)
	}
	s, err := g.Stats()
	const slack = 1 << 20 // the kernel charges a processor some pages ahead
	if err != nil || s.PeakBytes > testLimit+slack || s.PeakBytes < testLimit/2 || s.AtLimit == 0 || s.OOMKills != 0 {
		t.Errorf("%+v, %v, want a peak of up to %d and no kill", s, err, testLimit)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(g.dir); err == nil {
		t.Errorf("%s is still there", g.dir)
	}
	t.Logf("%s: %+v", g.dir, s)
}
