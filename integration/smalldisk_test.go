//go:build linux && (amd64 || arm64)

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"faultline/integration/internal/rig"
)

// A smallDisk is a file system of its own, that a filler file fills.
type smallDisk struct {
	t   *testing.T
	dir string
}

const smallDiskBytes = 64 << 20

// newSmallDisk mounts a file system of smallDiskBytes, until the end of the test.
func newSmallDisk(t *testing.T, fstype string) *smallDisk {
	t.Helper()
	d := &smallDisk{t, t.TempDir()}
	var args []string
	switch fstype {
	case "tmpfs":
		args = []string{"-t", "tmpfs", "-o", fmt.Sprintf("size=%d", smallDiskBytes), "none", d.dir}
	case "ext4":
		image := filepath.Join(t.TempDir(), "image")
		if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, smallDiskBytes)); err != nil {
			t.Fatal(err)
		}
		if out, err := tool(t, "mkfs.ext4", "-q", "-m", "0", image); err != nil {
			t.Fatalf("mkfs.ext4: %v\n%s", err, out)
		}
		args = []string{"-o", "loop", image, d.dir}
	}
	if out, err := tool(t, "mount", args...); err != nil {
		lacks(t, fmt.Errorf("mount %s: %w: %s", fstype, err, out))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, 0); err != nil {
			t.Errorf("unmount %s: %v", d.dir, err)
		}
	})
	return d
}

func (d *smallDisk) filler() string { return filepath.Join(d.dir, "filler") }

// leave fills the disk but for free bytes.
func (d *smallDisk) leave(free int64) {
	d.t.Helper()
	d.empty()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	f, err := os.Create(d.filler())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := int64(st.Bavail)*st.Bsize - free; size > 0; size -= st.Bsize { // less fits, if the file needs blocks for its map
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		if err == nil {
			return
		}
		if err != unix.ENOSPC {
			d.t.Fatal(err)
		}
	}
}

// empty frees what leave has taken.
func (d *smallDisk) empty() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil && !os.IsNotExist(err) {
		d.t.Fatal(err)
	}
}

// tool runs a program that CI must have, and returns what it prints.
func tool(t *testing.T, name string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), watchdog)
	defer cancel()
	return exec.CommandContext(ctx, rig.Needs(t, name), args...).CombinedOutput()
}

// lacks ends a test for which the machine does not give what it needs, by cause:
// CI must give it.
func lacks(t *testing.T, cause error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(cause)
	}
	t.Skip(cause)
}
