// Package cgroup makes control groups that bound the memory of a process, page
// cache counted, and reads what it came to. It knows version 1 and version 2.
//
// A group is made below the one that this process is in, or, where that takes no
// groups, below the nearest ancestor that does. In version 2 those are the groups
// without processes of their own that have the memory controller enabled.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrUnavailable is wrapped by the error of New where no group can be made.
var ErrUnavailable = errors.New("no memory cgroup can be made")

// A Group is a control group with a bound on its memory. It has no process until
// Add.
type Group struct {
	dir   string
	files files
}

// Stats are what a group's memory came to.
type Stats struct {
	PeakBytes int64 `json:"peak_bytes"` // -1 = the kernel does not say
	AtLimit   int64 `json:"at_limit"`   // times that the bound was hit and memory reclaimed
	OOMKills  int64 `json:"oom_kills"`
}

// files are the names that a version has for things.
type files struct {
	limit, swap, peak, force string
	atLimit, oomKills        field
}

// A field is a number in a file: the whole of it, or what stands after a name.
type field struct{ file, name string }

var (
	version1 = files{
		limit: "memory.limit_in_bytes", swap: "memory.swappiness",
		peak: "memory.max_usage_in_bytes", force: "memory.force_empty",
		atLimit: field{file: "memory.failcnt"}, oomKills: field{"memory.oom_control", "oom_kill"},
	}
	version2 = files{
		limit: "memory.max", swap: "memory.swap.max", peak: "memory.peak",
		atLimit: field{"memory.events", "max"}, oomKills: field{"memory.events", "oom_kill"},
	}
)

// New makes a group that takes limit bytes, page cache counted and no swap.
func New(name string, limit int64) (*Group, error) { return newGroup("/proc/self", name, limit) }

// newGroup is New for a process whose files are in proc.
func newGroup(proc, name string, limit int64) (*Group, error) {
	own, err := find(proc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var errs []error
	for dir := own.dir; ; dir = filepath.Dir(dir) {
		g, err := makeIn(dir, name, own)
		if err == nil {
			if err = g.setLimit(limit); err != nil {
				return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), g.Remove())
			}
			return g, nil
		}
		errs = append(errs, err)
		if dir == own.top || dir == filepath.Dir(dir) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(errs...))
		}
	}
}

// makeIn makes a group below dir. In version 2 it turns the memory controller on
// there where it is off, which the kernel refuses if dir has processes.
func makeIn(dir, name string, own place) (*Group, error) {
	g := &Group{filepath.Join(dir, name), own.files}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	_, err := os.Stat(g.path(g.files.limit))
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory"), 0)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(g.dir))
	}
	return g, nil
}

func (g *Group) path(file string) string { return filepath.Join(g.dir, file) }

func (g *Group) setLimit(bytes int64) error {
	if err := g.write(g.files.limit, bytes); err != nil {
		return err
	}
	// A kernel without swap does not have the file. Version 1 could bound memory
	// and swap together, but then counts nothing in failcnt.
	if err := g.write(g.files.swap, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// write does not create the file: the kernel does, with the group.
func (g *Group) write(file string, n int64) error {
	f, err := os.OpenFile(g.path(file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatInt(n, 10))
	return errors.Join(err, f.Close())
}

// Add moves a process into the group. Memory that it had before stays with the
// group that it comes from.
func (g *Group) Add(pid int) error { return g.write("cgroup.procs", int64(pid)) }

// Stats returns what the group came to so far.
func (g *Group) Stats() (Stats, error) {
	var s Stats
	var err, peakErr error
	if s.AtLimit, err = g.read(g.files.atLimit); err != nil {
		return Stats{}, err
	}
	if s.OOMKills, err = g.read(g.files.oomKills); err != nil {
		return Stats{}, err
	}
	if s.PeakBytes, peakErr = g.read(field{file: g.files.peak}); errors.Is(peakErr, fs.ErrNotExist) {
		s.PeakBytes, peakErr = -1, nil // before Linux 5.19
	}
	return s, peakErr
}

func (g *Group) read(f field) (int64, error) {
	text, err := os.ReadFile(g.path(f.file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, number, named := strings.Cut(strings.TrimSpace(line), " ")
		if !named {
			name, number = "", name
		}
		if name == f.name {
			return strconv.ParseInt(number, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no line %q", g.path(f.file), f.name)
}

// Remove removes the group, whose processes have ended. What is left of its page
// cache goes first where the kernel can do that, or else to its parent.
func (g *Group) Remove() error {
	if g.files.force != "" {
		_ = g.write(g.files.force, 0) // only to have it sooner
	}
	return os.Remove(g.dir)
}
