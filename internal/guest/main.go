//go:build linux

// Guest is /init of the machines of the tests: the first process of a kernel, with
// nothing beside it. The environment, which is the kernel's command line, says what
// it does:
//
//	role=store    recovers the store on /dev/vda, compares it with what it must
//	              hold, then goes on writing, until the power is cut
//	role=tests    runs tests of the library, which are in /tests
//
// It says on the console, line by line, how far it has come:
//
//	KERNEL release, what userfaultfd offers
//	OPENING         role=store, before anything is changed
//	RECOVERED n     the store is exactly the first n batches
//	ACK n           batch n is durable
//	REFUSED error   the kernel lacks what the store needs
//	FAULT error     all else
//	END             it is done, and switches the machine off
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"faultline/uffd"
)

func main() {
	switch err := run(); {
	case err == nil:
		say("END")
	case errors.Is(err, errors.ErrUnsupported):
		say("REFUSED %v", err)
	default:
		say("FAULT %v", err)
	}
	if err := powerOff(); err != nil {
		say("FAULT power off: %v", err)
	}
}

// say writes a line to the console.
func say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

func run() error {
	if err := mountAll(); err != nil {
		return err
	}
	say("KERNEL %s", kernel())
	switch role := os.Getenv("role"); role {
	case "store":
		return runStore()
	case "tests":
		return runTests()
	default:
		return fmt.Errorf("role %q", role)
	}
}

// kernel describes the running one.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	release := unix.ByteSliceToString(u.Release[:])
	info, err := uffd.Probe()
	if err != nil {
		return fmt.Sprintf("%s, %v", release, err)
	}
	return fmt.Sprintf("%s, %v by %s, PAGEMAP_SCAN %t", release, info.Features, info.Via, info.PagemapScan)
}

// disk is where /dev/vda is mounted.
const disk = "/disk"

// mountAll makes of the initramfs what a Go program expects, and mounts the disk.
func mountAll() error {
	for _, m := range []struct{ kind, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"},
		{"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := mount(m.kind, m.kind, m.dir); err != nil {
			return err
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	return mount("/dev/vda", "ext4", disk)
}

func mount(source, kind, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, dir, kind, 0, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, dir, err)
	}
	return nil
}

// loadModules loads what is in /modules, in the order of the names.
func loadModules() error {
	paths, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, path := range paths { // sorted
		object, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := unix.InitModule(object, ""); err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

func powerOff() error {
	if err := unix.Unmount(disk, 0); err != nil && !errors.Is(err, unix.EINVAL) { // it may not be mounted
		return err
	}
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
