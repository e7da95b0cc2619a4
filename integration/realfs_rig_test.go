//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"faultline/internal/blockrec"
)

// realfsKinds are the file systems.
var realfsKinds = map[string]struct {
	diskBytes int64
	mkfs      []string
	tears     bool // tear the blocks of files into sectors
}{
	"ext4": {64 << 20, []string{"mkfs.ext4", "-q", "-F"}, true},
	"xfs":  {320 << 20, []string{"mkfs.xfs", "-q", "-f"}, true},
	// btrfs publishes a block only when it is durable, with a checksum: what is
	// torn is never seen.
	"btrfs": {128 << 20, []string{"mkfs.btrfs", "-q", "-f"}, false},
}

// realfsStore is the directory of the store below the mount.
const realfsStore = "store"

// A realfsReport is a line that the rig writes: first one of the recording, then
// one of each state.
type realfsReport struct {
	Recording *realfsRecording `json:",omitempty"`
	State     *realfsOutcome   `json:",omitempty"`
}

type realfsRecording struct {
	Rig                     int // pid
	Writes, Flushes, Rounds int
	States                  int // that there are
}

type realfsOutcome struct {
	At      string // which state it is
	Refused string // why it could not be mounted
	Wrong   string // what is wrong with the store
	Took    time.Duration
}

// A realfsRig knows what is on a disk.
type realfsRig struct {
	realfsTask
	disk   *blockrec.Client
	report *json.Encoder
	files  map[int64]bool // blocks of files of the store
	log    []blockrec.Op
	bounds []realfsBound
	model  realfsModel
}

// rig records a run and explores its states.
func (task realfsTask) rig(disk *blockrec.Client, report *json.Encoder) error {
	if err := os.Mkdir(task.path("mount"), 0o700); err != nil {
		return err
	}
	r := &realfsRig{realfsTask: task, disk: disk, report: report, model: realfsModel{task.run(), 0, map[string]string{}}}
	if err := r.record(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return errors.Join(r.explore(), disk.Close())
}

// mounted attaches and mounts the disk, calls fn, and undoes both. If the file
// system cannot be mounted, refused says why.
func (r *realfsRig) mounted(before func(dev string) error, fn func(mount string) error) (refused, err error) {
	loop, err := blockrec.Attach(filepath.Join(r.path("fuse"), blockrec.DiskName))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, loop.Detach()) }()
	if err := before(loop.Path()); err != nil {
		return nil, err
	}
	if err := unix.Mount(loop.Path(), r.path("mount"), r.FS, 0, ""); err != nil {
		return err, nil
	}
	err = fn(r.path("mount"))
	return nil, errors.Join(err, unix.Unmount(r.path("mount"), 0))
}

// asItIs does nothing to a disk before it is mounted.
func asItIs(string) error { return nil }

// record makes the file system, and the run on it.
func (r *realfsRig) record() error {
	mkfs := func(dev string) error {
		argv := append(slices.Clone(realfsKinds[r.FS].mkfs), dev)
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", argv, err, out)
		}
		return nil
	}
	refused, err := r.mounted(mkfs, func(mount string) error {
		if err := r.markStart(mount); err != nil {
			return err
		}
		cmd, err := r.process("workload")
		if err != nil {
			return err
		}
		if _, err := cmd.StdinPipe(); err != nil { // closed by our death, and by Run
			return err
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("workload: %w", err)
		}
		return r.findFiles(mount)
	})
	if err = errors.Join(refused, err); err != nil {
		return err
	}
	r.log, err = r.disk.Log()
	return err
}

// startMark ends what belongs to the making of the file system.
const startMark = "start 0"

func (r *realfsRig) markStart(mount string) error {
	dir, err := os.Open(mount)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return err
	}
	return r.disk.Mark(startMark)
}

// findFiles notes the blocks of all files. None of them has held anything but
// files: the file system has not removed a directory, nor freed a block of its
// own, in so short a run.
func (r *realfsRig) findFiles(mount string) error {
	r.files = map[int64]bool{}
	if !realfsKinds[r.FS].tears {
		return nil
	}
	return filepath.WalkDir(filepath.Join(mount, realfsStore), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		for i := range (st.Size() + blockrec.BlockBytes - 1) / blockrec.BlockBytes {
			block, err := physicalBlock(f, i)
			if err != nil {
				return fmt.Errorf("%s: block %d: %w", name, i, err)
			}
			if block != 0 {
				r.files[block] = true
			}
		}
		return nil
	})
}

// physicalBlock returns where block i of a file is on the disk, 0 if nowhere.
func physicalBlock(f *os.File, i int64) (int64, error) {
	const fibmap = 1 // FIBMAP, linux/fs.h
	n := int32(i)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fibmap, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0, errno
	}
	return int64(n), nil
}

// A realfsPoint is a state by its choices.
type realfsPoint struct {
	n    int // operations of the log
	loss blockrec.Loss
}

func (r *realfsRig) state(log []blockrec.Op, p realfsPoint) blockrec.State {
	rng := rand.New(rand.NewPCG(r.Seed, uint64(p.n)*uint64(blockrec.NumLoss)+uint64(p.loss)))
	return blockrec.Cut(log, p.n, p.loss, func(block int64) bool { return r.files[block] }, rng)
}

// points returns all states of the log that differ, in its order: in what is on
// the disk, or in what must be found there. Before a mark is as after it, where
// more is known.
func (r *realfsRig) points() (points []realfsPoint) {
	start := slices.IndexFunc(r.log, func(op blockrec.Op) bool { return op.Text == startMark })
	seen := map[string]bool{}
	for n := start + 1; n <= len(r.log); n++ {
		if n < len(r.log) && r.log[n].Kind == blockrec.Mark {
			continue
		}
		for loss := range blockrec.NumLoss {
			p := realfsPoint{n, loss}
			key := fmt.Sprint(r.bounds[n].Durable, alike(r.log[:n], r.state(r.log, p)))
			if !seen[key] {
				seen[key] = true
				points = append(points, p)
			}
		}
	}
	return points
}

// alike returns one state for all that have the same writes of log.
func alike(log []blockrec.Op, s blockrec.State) blockrec.State {
	all := blockrec.State{Durable: s.Durable}
	for i, op := range log[s.Durable:] {
		if op.Kind == blockrec.Write {
			all.Kept = append(all.Kept, blockrec.Piece{Op: s.Durable + i, From: 0, To: op.Len})
		}
	}
	if slices.Equal(s.Kept, all.Kept) {
		s = blockrec.State{Durable: len(log)}
	}
	for s.Durable > 0 && log[s.Durable-1].Kind != blockrec.Write {
		s.Durable--
	}
	return s
}

// explore checks the states, all or as many as asked for, chosen evenly, or until one is
// wrong.
func (r *realfsRig) explore() (err error) {
	rec := realfsRecording{Rig: os.Getpid()}
	if r.bounds, rec.Rounds, err = realfsBounds(r.log); err != nil {
		return err
	}
	for _, op := range r.log {
		switch op.Kind {
		case blockrec.Write:
			rec.Writes++
		case blockrec.Flush:
			rec.Flushes++
		}
	}
	points := r.points()
	rec.States = len(points)
	if err := r.report.Encode(realfsReport{Recording: &rec}); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(r.Seed, 0))
	want := min(r.States, len(points))
	for i := range want {
		from, to := i*len(points)/want, (i+1)*len(points)/want
		right, err := r.visit(i, points[from+rng.IntN(to-from)])
		if err != nil || r.Until && !right {
			return err
		}
	}
	return nil
}

// visit checks a state, and of every fourth one a state of its recovery.
func (r *realfsRig) visit(i int, p realfsPoint) (right bool, err error) {
	first := r.state(r.log, p)
	show := func() error { return r.disk.Show(first) }
	at := fmt.Sprintf("%s seed %d: %d of %d operations, %v", r.FS, r.Seed, p.n, len(r.log), p.loss)
	right, err = r.try(at, show, r.bounds[p.n], i%4 == 1)
	if err != nil || !right || i%4 != 0 {
		return right, err
	}
	log, err := r.disk.Recovery()
	if err != nil {
		return false, err
	}
	rng := rand.New(rand.NewPCG(r.Seed, uint64(p.n)))
	again := realfsPoint{rng.IntN(len(log) + 1), blockrec.Loss(rng.IntN(int(blockrec.NumLoss)))}
	second := r.state(log, again)
	show = func() error { return r.disk.ShowAgain(second) }
	at += fmt.Sprintf("; then %d of %d operations of the recovery, %v", again.n, len(log), again.loss)
	return r.try(at, show, r.bounds[p.n], false)
}

// try shows a state, mounts it, checks the store on it, and reports.
func (r *realfsRig) try(at string, show func() error, bound realfsBound, thorough bool) (right bool, err error) {
	began := time.Now()
	if err := show(); err != nil {
		return false, err
	}
	var wrong error
	refused, err := r.mounted(asItIs, func(mount string) error {
		wrong = r.model.check(filepath.Join(mount, realfsStore), bound, thorough)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("%s: %w", at, err)
	}
	o := realfsOutcome{At: at, Took: time.Since(began)}
	if refused != nil {
		o.Refused = refused.Error()
	}
	if wrong != nil {
		o.Wrong = wrong.Error()
		if err := r.keep(show); err != nil {
			return false, err
		}
	}
	return refused == nil && wrong == nil, r.report.Encode(realfsReport{State: &o})
}

// keepName is the directory that keep makes.
const keepName = "first"

// keep copies all files of the first state that is wrong.
func (r *realfsRig) keep(show func() error) error {
	if r.Keep == "" {
		return nil
	}
	dir := filepath.Join(r.Keep, keepName)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := show(); err != nil {
		return err
	}
	refused, err := r.mounted(asItIs, func(mount string) error { return os.CopyFS(dir, os.DirFS(mount)) })
	return errors.Join(refused, err)
}
