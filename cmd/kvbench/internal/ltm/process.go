package ltm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"faultline/cmd/kvbench/internal/cgroup"
	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/progress"
	"faultline/cmd/kvbench/internal/self"
)

// A process is a child under way.
type process struct {
	cmd            *exec.Cmd
	group          *cgroup.Group // or nil
	cached         int64         // see Phase.CachedBytes
	stdout, stderr bytes.Buffer
	ended          chan error // has the error of Wait
}

// child runs a Spec in a child whose cgroup has limit bytes, 0 for none, and puts
// what came of it into p.
func (r *run) child(ctx context.Context, spec Spec, p *Phase, limit int64) error {
	p.CgroupBytes = limit
	k, err := r.start(ctx, spec, limit)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s %s, repetition %d of %d", p.Engine, p.Workload, p.Rep, r.Reps)
	most, now := r.expect(spec)
	stop := progress.Watch(r.Progress, title, most, now)
	err = <-k.ended
	stop()
	p.CachedBytes = k.cached
	if k.group != nil {
		stats, statsErr := k.group.Stats()
		p.Cgroup = &stats
		if stats.OOMKills > 0 {
			err = errors.Join(fmt.Errorf("out of the memory of its cgroup: %d kill(s)", stats.OOMKills), err)
		}
		err = errors.Join(err, statsErr)
	}
	if err = errors.Join(err, k.close()); err != nil {
		return k.explain(err)
	}
	return json.Unmarshal(k.stdout.Bytes(), &p.Result)
}

// expect is how far a child has to go, and how far it is.
func (r *run) expect(spec Spec) (most int64, now func() int64) {
	switch {
	case spec.Step != stepRun:
		return r.n(), r.done
	case spec.Workload.kind().scan:
		return r.n() * int64(spec.Workload.Threads), r.done
	}
	return progress.Within(spec.Warmup+spec.Duration, -1, r.done)
}

// childHeap is GOMEMLIMIT of a child; a check has a table of its own.
func (r *run) childHeap(spec Spec) int64 {
	limit := r.heapLimit(engine.New(spec.Engine, spec.Setup))
	if spec.Step == stepCheck {
		limit += r.n() * checkerBytes
	}
	return limit
}

// oneArena keeps the C heap, where Pebble has its cache, from growing to several
// times of what is in it: each thread would take an arena of its own.
const oneArena = "MALLOC_ARENA_MAX=1"

// start starts a child. It reads its Spec only when it is in its cgroup.
func (r *run) start(ctx context.Context, spec Spec, limit int64) (k *process, err error) {
	k = &process{ended: make(chan error, 1)}
	if k.cached, err = evict(spec.Dir); err != nil {
		return nil, err
	}
	for i := range r.counters {
		r.counters[i].Store(0)
	}
	text, err := json.Marshal(&spec)
	if err != nil {
		return nil, err
	}
	k.cmd = self.Command(ctx, r.Child)
	k.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", r.childHeap(spec)), oneArena)
	k.cmd.Stdout, k.cmd.Stderr = &k.stdout, &k.stderr
	k.cmd.ExtraFiles = []*os.File{r.shared} // countersFD
	in, err := k.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r.children++
	if limit > 0 {
		if k.group, err = cgroup.New(fmt.Sprintf("kvbench-%d-%d", os.Getpid(), r.children), limit); err != nil {
			return nil, err
		}
	}
	if err := k.cmd.Start(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	if err := k.release(in, text); err != nil {
		_ = k.cmd.Process.Kill()
		return nil, errors.Join(err, k.cmd.Wait(), k.close())
	}
	go func() { k.ended <- k.cmd.Wait() }()
	return k, nil
}

// release puts the child into its group and hands it its Spec.
func (k *process) release(in io.WriteCloser, spec []byte) error {
	if k.group != nil {
		if err := k.group.Add(k.cmd.Process.Pid); err != nil {
			return err
		}
	}
	_, err := in.Write(spec)
	if errors.Is(err, syscall.EPIPE) {
		err = nil // it has ended, and its end says why
	}
	return errors.Join(err, in.Close())
}

// close removes the group of a child that has ended.
func (k *process) close() error {
	if k.group == nil {
		return nil
	}
	return k.group.Remove()
}

// explain adds what the child said last.
func (k *process) explain(err error) error {
	const most = 500
	said := strings.TrimSpace(k.stderr.String())
	if said == "" {
		return err
	}
	if len(said) > most {
		said = said[:most] + "..."
	}
	return fmt.Errorf("%w: %s", err, said)
}
