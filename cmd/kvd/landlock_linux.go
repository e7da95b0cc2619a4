package main

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A sandbox is what the process may still do once it is confined by Landlock: use the
// sockets that it has, and the files below.
type sandbox struct {
	readWrite []string // directories: everything below, but to execute
	read      []string // directories and files
	unlink    []string // directories in which files may be removed: of sockets
	abstract  bool     // abstract Unix sockets of others may be connected to
}

// Rights by what they are for, and the first version of the interface that has more
// than those of version 1.
const (
	rightsToRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	rightsToWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE

	rightsOfVersion1 = unix.LANDLOCK_ACCESS_FS_REFER - 1 // all up to MAKE_SYM
	versionRefer     = 2
	versionTruncate  = 3
	versionNet       = 4
	versionIoctl     = 5
	versionScope     = 6
	versionErrata    = 7 // signals between threads of a process pass
	versionSync      = 8 // the kernel confines all threads at once
)

// apply confines the process, for good, as far as the kernel can: before version 4 of
// the interface connections are not forbidden, for example. It returns that version.
// The error wraps errors.ErrUnsupported where nothing is confined: the kernel has no
// Landlock, it is switched off, or the binary was built with cgo.
func (s *sandbox) apply() (version int, err error) {
	r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, fmt.Errorf("landlock: %w (%w)", errno, errors.ErrUnsupported)
	}
	version = int(r)
	attr := handled(version, s.abstract)
	r, _, errno = unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)),
		unsafe.Sizeof(attr), 0) // what an older kernel does not know of it is 0
	if errno != 0 {
		return 0, fmt.Errorf("landlock: make a rule set: %w", errno)
	}
	rules := int(r)
	defer unix.Close(rules)
	for _, part := range []struct {
		paths  []string
		rights uint64
	}{
		{s.readWrite, rightsToRead | rightsToWrite},
		{s.read, rightsToRead},
		{s.unlink, unix.LANDLOCK_ACCESS_FS_REMOVE_FILE},
	} {
		for _, path := range part.paths {
			if err := allow(rules, path, part.rights&attr.Handled_access_fs); err != nil {
				return 0, fmt.Errorf("landlock: allow %s: %w", path, err)
			}
		}
	}
	return version, restrict(rules, version)
}

// handled returns what the kernel forbids where no rule allows it.
func handled(version int, abstract bool) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rightsOfVersion1}
	if version >= versionRefer {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= versionTruncate {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= versionNet {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= versionIoctl {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= versionScope && !abstract {
		attr.Scoped |= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	if version >= versionErrata {
		attr.Scoped |= unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr
}

// allow adds a rule for path and what is below it. A path that is not there needs none.
func allow(rules int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	runtime.KeepAlive(&rule)
	if errno != 0 {
		return errno
	}
	return nil
}

// restrict puts every thread under the rules. noNewPrivileges has been called.
func restrict(rules, version int) error {
	if version >= versionSync {
		_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), unix.LANDLOCK_RESTRICT_SELF_TSYNC, 0)
		if errno != 0 {
			return fmt.Errorf("landlock: restrict: %w", errno)
		}
		return nil
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0)
	if errno == unix.ENOTSUP {
		return fmt.Errorf("landlock: this binary was built with cgo, CGO_ENABLED=0 makes one that can be confined (%w)", errors.ErrUnsupported)
	}
	if errno != 0 {
		return fmt.Errorf("landlock: restrict: %w", errno)
	}
	return nil
}
