//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"faultline/integration/internal/rig"
	"faultline/internal/campaign"
)

// A realfsTally sums up what a rig has found.
type realfsTally struct {
	realfsRecording
	states, refused, wrong int
	took                   time.Duration
	first                  []string // the first findings, in words
}

// realfsShown is how many findings are shown.
const realfsShown = 3

func (s *realfsTally) add(o *realfsOutcome) {
	s.states++
	s.took += o.Took
	finding := ""
	switch {
	case o.Refused != "":
		s.refused++
		finding = "mount refused: " + o.Refused
	case o.Wrong != "":
		s.wrong++
		finding = o.Wrong
	}
	if finding != "" && len(s.first) < realfsShown {
		s.first = append(s.first, o.At+": "+finding)
	}
}

// A realfsProcess is a disk with its rig.
type realfsProcess struct {
	cmd   *exec.Cmd
	stdin io.Closer     // its end ends them
	lines *json.Decoder // of realfsReport
	ended chan struct{} // closed when all processes have ended
	says  bytes.Buffer  // what they have to say, complete then
}

// start starts a disk, which starts its rig.
func (task realfsTask) start(t *testing.T) *realfsProcess {
	t.Helper()
	cmd, err := task.isolated("disk")
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	says, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = stderr
	if err := errors.Join(cmd.Start(), stderr.Close()); err != nil {
		t.Fatal(err)
	}
	p := &realfsProcess{cmd: cmd, stdin: stdin, lines: json.NewDecoder(out), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(&p.says, says) // all have it as their standard error
		_ = says.Close()
	}()
	return p
}

// explore runs a rig to its end.
func (task realfsTask) explore(t *testing.T) (tally realfsTally) {
	t.Helper()
	p := task.start(t)
	hangs := time.AfterFunc(watchdog, func() { p.cmd.Process.Kill() }) // too late if it has ended
	defer hangs.Stop()
	var readErr error
	for readErr == nil {
		var line realfsReport
		readErr = p.lines.Decode(&line)
		if line.Recording != nil {
			tally.realfsRecording = *line.Recording
		}
		if line.State != nil {
			tally.add(line.State)
		}
		hangs.Reset(watchdog)
	}
	err := p.cmd.Wait()
	<-p.ended
	if err != nil || !errors.Is(readErr, io.EOF) {
		t.Fatalf("rig of %s, after %d states: %v, %v\n%s", task.FS, tally.states, err, readErr, p.says.Bytes())
	}
	return tally
}

// realfsNeeds looks for what the rigs use.
func realfsNeeds(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("only root can mount")
	}
	rig.Needs(t, "/dev/fuse")
	rig.Needs(t, "/dev/loop-control")
	for _, kind := range realfsKinds {
		rig.Needs(t, kind.mkfs[0])
	}
}

// realfsBatches is enough for dozens of flush rounds.
const realfsBatches = 400

// TestRealFS cuts the power under a store on ext4, XFS and btrfs. A run of
// batches with checkpoints, flush rounds, and a Close and Open in the middle is
// recorded on a disk that notes writes and flushes (package blockrec). Then the
// disk becomes what a power cut after each operation would have left, with losses
// of four kinds; the file system is mounted, which replays its own journal; the
// store is opened, and must hold exactly the first n batches, for some n not less
// than was acknowledged as durable by then and not more than was begun. Of every
// fourth state the recovery is cut too; another fourth is verified and written
// to. TestRealFSControl shows that a loss is noticed.
//
// The seed gives the batches and the choice of states, not when the rounds are: two
// recordings differ. With -artifacts the files of the first state that is wrong
// are kept, as the power cut has left them.
func TestRealFS(t *testing.T) {
	realfsNeeds(t)
	seed := campaign.Seed(t)
	want := campaign.Scale(t, 30)
	for _, name := range slices.Sorted(maps.Keys(realfsKinds)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for run, states := seed, 0; states < want; run++ {
				task := realfsTask{Dir: t.TempDir(), Keep: t.ArtifactDir(), FS: name, Seed: run, Batches: realfsBatches, States: want - states}
				tally := task.explore(t)
				t.Logf("%d states of %s, of a recording (seed %d) with %d writes, %d flushes, %d rounds, %d states: %d wrong, %d not mounted, %v each",
					tally.states, name, run, tally.Writes, tally.Flushes, tally.Rounds, tally.States,
					tally.wrong, tally.refused, (tally.took / time.Duration(tally.states)).Round(time.Millisecond/10))
				if tally.wrong+tally.refused > 0 {
					t.Fatalf("the first:\n%s", strings.Join(tally.first, "\n"))
				}
				if tally.Rounds < 10 {
					t.Errorf("%d rounds", tally.Rounds)
				}
				states += tally.states
			}
		})
	}
}

// TestRealFSControl is TestRealFS with syncs that do nothing: all, or those of one
// file only. Some state must show it. How many do is up to the file system: with a
// journal that was not synced most states are right, since Open knows an outdated one.
func TestRealFSControl(t *testing.T) {
	realfsNeeds(t)
	seed := campaign.Seed(t)
	const recordings = 8 // the first is nearly always enough
	for _, forget := range []string{"all", "data", "journal"} {
		for _, name := range slices.Sorted(maps.Keys(realfsKinds)) {
			t.Run(forget+"/"+name, func(t *testing.T) {
				t.Parallel()
				kept := t.TempDir()
				wrong := 0
				for run := seed; wrong == 0 && run < seed+recordings; run++ {
					task := realfsTask{Dir: t.TempDir(), Keep: kept, FS: name, Seed: run, Batches: realfsBatches, States: max(16, campaign.Scale(t, 16)), Until: true, Forget: forget}
					tally := task.explore(t)
					t.Logf("%d states of %s, syncs forgotten: %s: %d wrong, %d not mounted; the first:\n%s",
						tally.states, name, forget, tally.wrong, tally.refused, strings.Join(tally.first, "\n"))
					wrong = tally.wrong
				}
				if wrong == 0 {
					t.Fatal("no state is wrong")
				}
				if _, err := os.Stat(filepath.Join(kept, keepName)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRealFSKilled ends the processes in the middle, beginning with each of them,
// and as the end of the test would. Of processes, mounts and loop devices none may
// be left.
func TestRealFSKilled(t *testing.T) {
	realfsNeeds(t)
	for name, end := range map[string]func(p *realfsProcess, rig int) error{
		"disk": func(p *realfsProcess, _ int) error { return p.cmd.Process.Kill() },
		"rig":  func(_ *realfsProcess, rig int) error { return syscall.Kill(rig, syscall.SIGKILL) },
		"test": func(p *realfsProcess, _ int) error { return p.stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			task := realfsTask{Dir: t.TempDir(), FS: "ext4", Seed: 1, Batches: realfsBatches, States: 1 << 20}
			p := task.start(t)
			var first, second realfsReport
			if err := errors.Join(p.lines.Decode(&first), p.lines.Decode(&second)); err != nil {
				t.Fatal(err)
			}
			if err := end(p, first.Recording.Rig); err != nil {
				t.Fatal(err)
			}
			p.mustEnd(t, task.Dir)
		})
	}
}

// mustEnd waits until nothing is left.
func (p *realfsProcess) mustEnd(t *testing.T, dir string) {
	t.Helper()
	deadline := time.After(watchdog)
	select {
	case <-p.ended:
	case <-deadline:
		t.Fatal("some process lives on")
	}
	if err := p.cmd.Wait(); err == nil {
		t.Error("killed, and ended well")
	}
	// The kernel takes a namespace apart behind our back, and tells nobody.
	for tick := time.Tick(10 * time.Millisecond); ; {
		left := realfsLeft(t, dir)
		if left == "" {
			return
		}
		select {
		case <-tick:
		case <-deadline:
			t.Fatalf("left: %s", left)
		}
	}
}

// realfsLeft returns the name of a loop device or a mount below dir, "" if there is
// none.
func realfsLeft(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "/proc/self/mounts") {
		text, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENODEV) && !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if strings.Contains(string(text), dir) {
			return name
		}
	}
	return ""
}
