package main

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// An identity is the user that the process becomes.
type identity struct {
	uid, gid int
	groups   []int
}

// identityOf finds a user by name, or takes uid:gid, which need not exist.
func identityOf(s string) (identity, error) {
	if uid, gid, ok := strings.Cut(s, ":"); ok {
		u, err1 := strconv.ParseUint(uid, 10, 31)
		g, err2 := strconv.ParseUint(gid, 10, 31)
		if err1 != nil || err2 != nil {
			return identity{}, fmt.Errorf("user %q: want a name, or uid:gid in numbers", s)
		}
		return identity{int(u), int(g), nil}, nil
	}
	u, err := user.Lookup(s)
	if err != nil {
		return identity{}, fmt.Errorf("user %q: %w", s, err)
	}
	id := identity{}
	if id.uid, err = strconv.Atoi(u.Uid); err == nil {
		id.gid, err = strconv.Atoi(u.Gid)
	}
	names, errGroups := u.GroupIds()
	if err = errors.Join(err, errGroups); err != nil {
		return id, fmt.Errorf("user %q: %w", s, err)
	}
	for _, name := range names {
		if g, err := strconv.Atoi(name); err == nil {
			id.groups = append(id.groups, g)
		}
	}
	return id, nil
}

// become gives up the user and the groups that the process has, in all threads. Without
// the right to do so it is an error, unless the process is that user already.
func (id identity) become() error {
	if syscall.Getuid() == id.uid && syscall.Geteuid() == id.uid && syscall.Getgid() == id.gid {
		return nil
	}
	// In this order: each needs the right that the last one gives up.
	if err := syscall.Setgroups(id.groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(id.gid); err != nil {
		return fmt.Errorf("setgid %d: %w", id.gid, err)
	}
	if err := syscall.Setuid(id.uid); err != nil {
		return fmt.Errorf("setuid %d: %w", id.uid, err)
	}
	if id.uid != 0 && syscall.Setuid(0) == nil {
		return errors.New("setuid: root could be taken back")
	}
	return nil
}

// noNewPrivileges sees that no program that this one could start gets more rights, and
// that nobody but root can look into its memory, nor a core dump show it. Where the
// binary was built with cgo this cannot do the first for all threads, and leaves it to the
// filter of system calls, which does.
func noNewPrivileges() error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno != 0 && errno != unix.ENOTSUP {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", errno)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_DUMPABLE: %w", err)
	}
	return nil
}
