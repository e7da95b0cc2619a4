package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"faultline/store"
	"faultline/uffd"
)

// examine looks at everything, in the order in which it is printed.
func (d *diagnosis) examine() {
	d.kernel()
	d.userfaultfd()
	d.container()
	d.confinement()
	d.memory()
	d.openFiles()
	if parent := d.directory(); parent != "" {
		d.tryStore(parent)
	}
}

func (d *diagnosis) kernel() {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		d.add("kernel", warn, "", "uname: %v", err)
		return
	}
	release := unix.ByteSliceToString(uts.Release[:])
	least := "6.1"
	if runtime.GOARCH == "arm64" {
		least = "6.10"
	}
	var major, minor, wantMajor, wantMinor int
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	fmt.Sscanf(least, "%d.%d", &wantMajor, &wantMinor)
	if major < wantMajor || major == wantMajor && minor < wantMinor {
		d.add("kernel", warn, "run Linux "+least+" or newer: older ones could lose the write protection of a page",
			"Linux %s on %s", release, runtime.GOARCH)
		return
	}
	d.add("kernel", fine, "", "Linux %s on %s", release, runtime.GOARCH)
}

// userfaultfd tells by which way it comes, and what stands in the way of the others.
func (d *diagnosis) userfaultfd() {
	info, err := uffd.Probe()
	if err == nil {
		var f *uffd.FD
		if f, err = uffd.Open(uffd.FeatureSigbus | uffd.FeaturePagefaultFlagWP); err == nil {
			err = f.Close()
		}
	}
	var lacking *uffd.UnavailableError
	switch {
	case err == nil:
		d.add("userfaultfd", fine, "", "by %s", info.Via)
	case errors.As(err, &lacking):
		d.add("userfaultfd", fatal, remedies(), "%s", lacking.Reason)
	default:
		d.add("userfaultfd", fatal, "", "%v", err)
	}
	for _, w := range uffd.Ways() {
		answer, unneeded := "works", ""
		if w.Err != nil {
			answer = w.Err.Error()
		}
		if !w.Used {
			unneeded = ", not needed"
		}
		d.add("", note, "", "%s: %s%s", w.Name, answer, unneeded)
	}
	if b, err := os.ReadFile("/proc/sys/vm/unprivileged_userfaultfd"); err == nil {
		d.add("", note, "", "sysctl vm.unprivileged_userfaultfd is %s; it need not be changed", bytes.TrimSpace(b))
	}
	if err == nil && !info.PagemapScan {
		d.add("audit", note, "it needs Linux 6.7, and /proc/self/pagemap, which is root's after a setuid",
			"the store cannot check the page tables after each round")
	}
}

// remedies says how to let a container have a userfaultfd.
func remedies() string {
	return `Docker, Podman:  docker run --device /dev/userfaultfd ...
                 or --security-opt seccomp=PROFILE, with userfaultfd added to the default profile
                 as another user than root: also --group-add GID, of a udev rule on the host:
                 KERNEL=="userfaultfd", GROUP="kvd", MODE="0660"
Kubernetes:      securityContext.seccompProfile of type Localhost, with userfaultfd allowed,
                 or a device plugin for /dev/userfaultfd
systemd:         SystemCallFilter=@system-service has it; DeviceAllow=/dev/userfaultfd rw
more:            docs/kernel.md, docs/running.md`
}

// container tells of what surrounds the process.
func (d *diagnosis) container() {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	var signs []string
	if bytes.Contains(status, []byte("\nSeccomp:\t2\n")) {
		signs = append(signs, "a seccomp filter is in force")
	}
	for file, what := range map[string]string{"/.dockerenv": "Docker", "/run/.containerenv": "Podman",
		"/var/run/secrets/kubernetes.io": "Kubernetes"} {
		if _, err := os.Stat(file); err == nil {
			signs = append(signs, "this looks like "+what)
		}
	}
	if len(signs) > 0 {
		d.add("container", note, "", "%s", strings.Join(signs, "; "))
	}
}

// confinement tells how far Landlock goes here, and whether a filter of system calls does.
func (d *diagnosis) confinement() {
	r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		d.add("landlock", note, "", "%v: serve cannot confine itself to its files", errno)
	} else {
		d.add("landlock", fine, "", "version %d", r)
	}
	end := uint32(unix.SECCOMP_RET_KILL_PROCESS) // the newest that the filter needs
	_, _, errno = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&end)))
	if errno != 0 {
		d.add("seccomp", note, "", "%v: serve cannot have system calls refused that it never needs", errno)
		return
	}
	d.add("seccomp", fine, "", "serve has system calls refused that it never needs")
}

func (d *diagnosis) memory() {
	machine, total, err := availableMemory()
	if err != nil {
		d.add("memory", warn, "", "%v", err)
		return
	}
	text := humanize.IBytes(uint64(machine)) + " in the machine"
	if total < machine {
		text += ", " + humanize.IBytes(uint64(total)) + " for this control group"
	}
	if total/2 < store.MinMemoryBudget {
		d.add("memory", fatal, "give it more", "%s: less than twice of what a store needs, %s", text, humanize.IBytes(store.MinMemoryBudget))
		return
	}
	d.add("memory", fine, "", "%s; without --memory a store takes half of it", text)
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil && si.Totalswap > 0 {
		d.add("swap", note, "MemorySwapMax=0 in the unit, or memory.swap.max, keeps the store's pages out of it",
			"%s: the store pages by itself, and a second pager only adds delay", humanize.IBytes(uint64(si.Totalswap)*uint64(si.Unit)))
	}
}

// openFiles compares the limit with the default of maxclients.
func (d *diagnosis) openFiles() {
	limit, err := openFileLimit()
	if err != nil {
		d.add("open files", warn, "", "%v", err)
		return
	}
	clients := newConfig().maxClients
	needed := clients + ownDescriptors
	remedy := fmt.Sprintf("ulimit -n %d, or LimitNOFILE=%d in the unit", needed, needed)
	switch most := mostClients(limit); {
	case most < 1:
		d.add("open files", fatal, remedy, "%d at most: none is left for clients", limit)
	case most < clients:
		d.add("open files", warn, remedy, "%d at most: maxclients will be %d, not %d", limit, most, clients)
	default:
		d.add("open files", fine, "", "%d at most", limit)
	}
}

// directory looks at the file system, and returns the directory that a store would be
// made in, or "".
func (d *diagnosis) directory() string {
	dir, err := filepath.Abs(d.Dir)
	if err != nil {
		d.add("directory", fatal, "", "%v", err)
		return ""
	}
	st, err := os.Stat(dir)
	exists := err == nil
	for errors.Is(err, fs.ErrNotExist) && dir != "/" { // it will be made
		dir = filepath.Dir(dir)
		st, err = os.Stat(dir)
	}
	switch {
	case err != nil:
		d.add("directory", fatal, "", "%v", err)
		return ""
	case !st.IsDir():
		d.add("directory", fatal, "", "%s is no directory", dir)
		return ""
	case exists && st.Mode().Perm()&0o002 != 0:
		d.add("directory", fatal, "chmod 700 "+dir, "everybody can write to %s (mode %04o)", dir, st.Mode().Perm())
		return ""
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(dir, &fsys); err != nil {
		d.add("directory", fatal, "", "statfs %s: %v", dir, err)
		return ""
	}
	name, known := fileSystems[int64(fsys.Type)]
	if !known {
		name = fmt.Sprintf("file system %#x", fsys.Type)
	}
	free := humanize.IBytes(fsys.Bavail * uint64(fsys.Bsize))
	switch name {
	case "tmpfs", "ramfs":
		d.add("directory", warn, "choose a directory on a disk", "%s on %s: all is gone when the machine restarts", dir, name)
	case "NFS", "SMB", "FUSE", "9p":
		d.add("directory", warn, "choose a directory on a disk of this machine", "%s on %s: kvd was not tried there", dir, name)
	default:
		d.add("directory", fine, "", "%s on %s, %s free", dir, name, free)
	}
	return dir
}

// fileSystems are those that the tests have, and those that people ask about.
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "XFS", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs",
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.FUSE_SUPER_MAGIC: "FUSE",
	unix.V9FS_MAGIC: "9p", unix.F2FS_SUPER_MAGIC: "f2fs", 0x2fc12fc1: "ZFS",
}

// tryStore makes a store in a directory of its own within parent, and removes it.
func (d *diagnosis) tryStore(parent string) {
	dir, err := os.MkdirTemp(parent, ".kvd-doctor-")
	if err != nil {
		d.add("store", fatal, "let this user write there, or name another directory", "%v", err)
		return
	}
	defer os.RemoveAll(dir)
	d.tryFile(filepath.Join(dir, "file"))
	os.Remove(filepath.Join(dir, "file"))
	if err := tryStoreIn(dir); err != nil {
		d.add("store", fatal, "", "%v", err)
		return
	}
	d.add("store", fine, "", "made one, wrote to it, flushed it, checked it, and read it again")
}

// tryFile tells what the file system does for files of the store.
func (d *diagnosis) tryFile(name string) {
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return // tryStoreIn says so
	}
	defer unix.Close(fd)
	if err := unix.Fallocate(fd, 0, 0, 1<<20); err != nil {
		d.add("fallocate", warn, "", "%v: a full disk may be noticed late", err)
	} else {
		d.add("fallocate", fine, "", "space is reserved before it is needed")
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if err != nil {
		d.add("O_DIRECT", note, "", "%v: pages will be in the page cache as well", err)
	} else {
		d.add("O_DIRECT", fine, "", "pages are read and written past the page cache")
	}
}

// tryStoreIn takes a store through its life.
func tryStoreIn(dir string) (err error) {
	o := &store.Options{MemoryBudget: 16 << 20}
	db, err := store.Open(dir, o)
	if err != nil {
		return err
	}
	for i := range 1000 {
		if err == nil {
			err = db.Put(fmt.Appendf(nil, "key%d", i), make([]byte, 100), store.Async)
		}
	}
	if err == nil {
		err = db.Checkpoint(context.Background())
	}
	if err == nil {
		_, err = db.Verify(context.Background())
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if db, err = store.Open(dir, o); err != nil {
		return err
	}
	_, err = db.Get([]byte("key999"))
	return errors.Join(err, db.Close())
}
