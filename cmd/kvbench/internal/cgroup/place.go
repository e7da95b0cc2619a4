package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A place is where the group of a process is.
type place struct {
	dir   string // the process's own group
	top   string // where the hierarchy is mounted
	files files
}

// find looks for the hierarchy that has the memory controller: version 1 where
// that has it, or else version 2.
func find(proc string) (place, error) {
	groups, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return place{}, err
	}
	mounts, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return place{}, err
	}
	for _, v := range []struct {
		controller, fsType string
		files              files
	}{{"memory", "cgroup", version1}, {"", "cgroup2", version2}} {
		group, ok := groupOf(string(groups), v.controller)
		if !ok {
			continue
		}
		if m, ok := mountOf(string(mounts), v.fsType, v.controller); ok {
			return m.place(group, v.files), nil
		}
	}
	return place{}, errors.New("no cgroup file system with the memory controller is mounted")
}

// groupOf returns the path of the group in the hierarchy of a controller, from
// the text of /proc/PID/cgroup. The hierarchy of version 2 has no controller
// there.
func groupOf(text, controller string) (path string, ok bool) {
	for line := range strings.Lines(text) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) == 3 && slices.Contains(strings.Split(part[1], ","), controller) {
			return part[2], true
		}
	}
	return "", false
}

// A mount is a line of /proc/PID/mountinfo: root is what of the file system is
// at dir.
type mount struct{ root, dir string }

func mountOf(text, fsType, option string) (mount, bool) {
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		front, back := strings.Fields(before), strings.Fields(after)
		if !ok || len(front) < 5 || len(back) < 3 || back[0] != fsType {
			continue
		}
		if option == "" || slices.Contains(strings.Split(back[2], ","), option) {
			return mount{front[3], front[4]}, true
		}
	}
	return mount{}, false
}

// place puts the group's path, which is one of the file system, below the mount.
// A group outside of what is mounted counts as the mount itself.
func (m mount) place(group string, f files) place {
	rel, err := filepath.Rel(m.root, group)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		rel = "."
	}
	return place{dir: filepath.Join(m.dir, rel), top: m.dir, files: f}
}
