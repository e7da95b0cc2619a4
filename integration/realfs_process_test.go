//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"faultline/internal/blockrec"
)

// realfsEnv has the realfsTask of a process that this test binary has started.
const realfsEnv = "FAULTLINE_REALFS_TASK"

// A realfsTask says what such a process does:
//
//	disk      serves the disk, and starts the rig (package blockrec says why so)
//	rig       explores one file system
//	workload  makes the run that is recorded; the rig starts it
//
// Each ends when its standard input does, which its parent holds, so that none
// outlives the test. Disk and rig have a mount namespace each: what they have
// mounted goes with them, in whatever way they end.
type realfsTask struct {
	Role    string
	Dir     string // for mounts
	FS      string // of realfsKinds
	Seed    uint64
	Batches int
	States  int    // to explore at most
	Until   bool   // the first that is wrong
	Keep    string // directory for the files of the first state that is wrong, "" for none
	Forget  string // the file whose syncs do nothing, or "all"; for controls
}

// init makes this process what its task says, before any test.
func init() {
	text, ok := os.LookupEnv(realfsEnv)
	if !ok {
		return
	}
	done := make(chan error)
	go func() { done <- realfsMain(text) }() // not in the main goroutine, which is slow while it runs init
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func realfsMain(text string) error {
	var task realfsTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return err
	}
	switch task.Role {
	case "disk":
		go exitWithStdin()
		return task.disk()
	case "rig":
		return task.rig(blockrec.NewClient(realfsPipe{os.Stdin, os.Stdout}), json.NewEncoder(os.NewFile(reportFile, "report")))
	case "workload":
		go exitWithStdin()
		return task.workload()
	}
	return fmt.Errorf("no role %q", task.Role)
}

func exitWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin) // whatever its end is
	os.Exit(1)
}

// A realfsPipe is two pipes that are used as a connection.
type realfsPipe struct {
	io.ReadCloser
	io.WriteCloser
}

func (p realfsPipe) Close() error { return errors.Join(p.WriteCloser.Close(), p.ReadCloser.Close()) }

func (task realfsTask) path(name string) string { return filepath.Join(task.Dir, name) }

func (task realfsTask) run() realfsRun { return realfsRun{task.Seed, task.Batches} }

// process is this binary in another role.
func (task realfsTask) process(role string) (*exec.Cmd, error) {
	task.Role = role
	text, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), realfsEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// isolated is process in a mount namespace of its own.
func (task realfsTask) isolated(role string) (*exec.Cmd, error) {
	cmd, err := task.process(role)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd, nil
}

// reportFile is where the rig reports: the standard output of the disk process.
const reportFile = 3

// disk mounts the disk and serves the rig.
func (task realfsTask) disk() (err error) {
	if err := os.Mkdir(task.path("fuse"), 0o700); err != nil {
		return err
	}
	disk, err := blockrec.Mount(task.path("fuse"), realfsKinds[task.FS].diskBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Unmount()) }()
	cmd, err := task.isolated("rig")
	if err != nil {
		return err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{os.Stdout}
	if err := cmd.Start(); err != nil {
		return err
	}
	return errors.Join(disk.Serve(realfsPipe{out, in}), cmd.Wait())
}

// workload makes the run.
func (task realfsTask) workload() error {
	dir := filepath.Join(task.path("mount"), realfsStore)
	forget := func() error { return nil }
	switch task.Forget {
	case "":
	case "all":
		if err := forgetSyncs(anyFile); err != nil {
			return err
		}
	default:
		forget = func() error { return forgetSyncsOf(filepath.Join(dir, task.Forget)) }
	}
	return task.run().write(dir, filepath.Join(task.path("fuse"), blockrec.MarksName), forget)
}

// forgetSyncsOf forgets the syncs of a file that this process has open.
func forgetSyncsOf(name string) error {
	const fds = "/proc/self/fd"
	entries, err := os.ReadDir(fds)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(fds, e.Name())); err != nil || target != name {
			continue // one of them is the directory that is being read
		}
		fd := 0
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			return err
		}
		return forgetSyncs(fd)
	}
	return fmt.Errorf("%s is not open", name)
}
