//go:build linux && (amd64 || arm64)

package integration

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"faultline/internal/sysfault"
	"faultline/server/resp/resptest"
)

// A trial is one run of kvd under trouble, from its start to its end, judged by
// what it does and says; and the clients that know what must be there after it.
type trial struct {
	t       *testing.T
	dir     string
	clients []*client
	flags   []string // of kvd
	turns   int      // pipelines that each client sends

	async   bool       // kvd acknowledges what the kernel has
	cause   unix.Errno // what errors must name, 0 if there is none
	noReads bool       // the trouble may keep kvd from reading

	decide func(sysfault.Call) sysfault.Answer // about calls on the store; nil: no supervisor
	inside func(*exec.Cmd)                     // puts the process where the trouble is; may be nil

	kvd   *kvd
	super *sysfault.Supervisor

	// Set by decide, before kvd sees its answer.
	killed   atomic.Bool
	unsynced atomic.Bool // a sync of the log has failed
	doomed   atomic.Bool // a sync has failed after which kvd must stop

	stopped bool   // a write was refused with -MISCONF
	full    string // the last such refusal for want of space: the store has not stopped
	refused int    // error replies
	acked   int    // writes
}

// pipelineMost is the most commands in a pipeline of a trial.
const pipelineMost = 6

// do runs kvd to its end, which is by sig if not by the trouble.
func (r *trial) do(sig syscall.Signal) error {
	served, err := r.start()
	if err != nil {
		return err
	}
	if !served {
		return r.refusedOpen()
	}
	if err := errors.Join(r.load(), r.probe()); err != nil {
		return errors.Join(err, r.end(syscall.SIGKILL))
	}
	return r.end(sig)
}

// start starts kvd. It returns false if kvd has ended without serving.
func (r *trial) start() (bool, error) {
	args := append([]string{"serve", "--dir", r.dir, "--listen", "127.0.0.1:0", "--memory", "256MiB"}, r.flags...)
	if r.async {
		args = append(args, "--appendfsync", "no")
	}
	k := &kvd{t: r.t, cmd: exec.Command(kvdPath, args...), lines: make(chan string, 1000)}
	r.kvd = k
	k.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if r.inside != nil {
		r.inside(k.cmd)
	}
	stderr, err := k.cmd.StderrPipe()
	if err != nil {
		return false, err
	}
	if err := r.launch(); err != nil {
		return false, err
	}
	go k.readLog(stderr)
	timer := time.AfterFunc(watchdog, func() { k.cmd.Process.Signal(syscall.SIGABRT) })
	defer timer.Stop()
	for line := range k.lines {
		if m := listening.FindStringSubmatch(line); m != nil {
			k.addr = m[1]
			return true, nil
		}
	}
	return false, nil
}

// launch starts the process, supervised if there is something to decide.
func (r *trial) launch() (err error) {
	if r.decide == nil {
		return r.kvd.cmd.Start()
	}
	r.super, err = sysfault.Start(r.kvd.cmd, func(c sysfault.Call) sysfault.Answer {
		if c.Class() != sysfault.Memory && !strings.HasPrefix(c.Path, r.dir) {
			return sysfault.Run
		}
		return r.decide(c)
	})
	return err
}

// note remembers what follows from an answer, and returns it.
func (r *trial) note(c sysfault.Call, a sysfault.Answer) sysfault.Answer {
	switch name := filepath.Base(c.Path); {
	case a == sysfault.Kill:
		r.killed.Store(true)
	case a == sysfault.Run, a == sysfault.Fail(unix.EINTR), c.Class() != sysfault.Sync:
	case strings.HasSuffix(name, ".log"):
		r.unsynced.Store(true)
		r.doomed.Store(true)
	case name == "journal", name == "data":
		r.doomed.Store(true)
	}
	return a
}

// load runs the clients until they have sent everything, or have been refused
// with -MISCONF, or have lost their connection. All pipelines of one turn are
// under way at the same time.
func (r *trial) load() error {
	type session struct {
		*client
		conn *resptest.Conn
	}
	var running []session
	for _, c := range r.clients {
		conn, err := resptest.Dial(r.kvd.addr)
		if err != nil {
			return r.unlessKilled(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(watchdog))
		running = append(running, session{c, conn})
	}
	for range r.turns {
		unsynced := r.unsynced.Load()
		for _, s := range running {
			if err := r.send(s.client, s.conn); err != nil {
				return r.unlessKilled(err)
			}
		}
		var going []session
		for _, s := range running {
			ended, err := r.receive(s.client, s.conn, unsynced)
			if err != nil {
				return err
			}
			if !ended {
				going = append(going, s)
			}
		}
		running = going
	}
	return nil
}

// send sends a pipeline, with a PING at its end: a reply after an error reply
// tells that the connection goes on.
func (r *trial) send(c *client, conn *resptest.Conn) error {
	for range 1 + c.rng.IntN(pipelineMost) {
		cmd := c.command()
		c.flight = append(c.flight, cmd)
		conn.Send(cmd.args()...)
	}
	conn.Send("PING")
	return conn.Flush()
}

// receive takes the replies of a pipeline. It returns true if the client sends
// no more. What was refused was not made, unless the error is the last word of
// the connection, which is for all that was not answered before. unsynced tells
// that a sync of the log had failed before the pipeline was sent.
func (r *trial) receive(c *client, conn *resptest.Conn, unsynced bool) (ended bool, err error) {
	refusal := error(nil) // of flight[0]
	for n := len(c.flight); n >= 0; n-- {
		reply, err := conn.Receive()
		if err != nil && refusal != nil {
			return true, nil
		}
		if err != nil {
			return true, r.unlessKilled(fmt.Errorf("client %d: connection ended without an error reply: %w", c.id, err))
		}
		if refusal != nil {
			c.flight = c.flight[1:]
		}
		if refusal = reply.Err(); refusal != nil {
			r.refused++
			if strings.HasPrefix(reply.Str, "MISCONF no room on the disk") {
				ended, r.full = true, reply.Str
			} else if strings.HasPrefix(reply.Str, "MISCONF ") {
				ended, r.stopped = true, true
			}
			continue
		}
		if n == 0 {
			break // of the PING
		}
		if unsynced && !r.async {
			return true, fmt.Errorf("client %d: acknowledged after the sync of the log had failed", c.id)
		}
		if err := c.answered(reply); err != nil {
			return true, err
		}
		r.acked++
	}
	return ended, nil
}

// unlessKilled returns err, or nil if kvd was killed.
func (r *trial) unlessKilled(err error) error {
	if r.killed.Load() {
		return nil
	}
	return err
}

// probe asks a store that has stopped: it must go on refusing writes, with
// the cause, and answer reads. One that is doomed must come to refuse them: that
// a sync has failed takes a moment to get around. One that only lacks space must
// answer reads too.
func (r *trial) probe() error {
	if !r.stopped && !r.doomed.Load() && r.full == "" || r.killed.Load() {
		return nil
	}
	conn, err := resptest.Dial(r.kvd.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(watchdog))
	for err == nil && (r.stopped || r.doomed.Load()) {
		_, err = conn.Do("DEL", "probe") // a write of what is not there
		if err == nil && r.stopped {
			return errors.New("a stopped store took a write")
		}
	}
	if err == nil {
		return r.readAll(conn)
	}
	r.stopped = true
	if !strings.HasPrefix(err.Error(), "reply: MISCONF ") || !r.namesCause(err.Error()) {
		return fmt.Errorf("a write to a stopped store, want MISCONF with %q: %w", r.cause.Error(), err)
	}
	return r.readAll(conn)
}

// readAll reads every key.
func (r *trial) readAll(conn *resptest.Conn) error {
	if r.noReads {
		return nil
	}
	for _, c := range r.clients {
		for keys := range slices.Chunk(slices.Collect(maps.Keys(c.acked)), 500) {
			if err := readKeys(conn, keys); err != nil {
				return fmt.Errorf("a read of a store that refuses writes: %w", err)
			}
		}
	}
	return nil
}

// readKeys reads keys by a pipeline.
func readKeys(conn *resptest.Conn, keys []string) error {
	for _, key := range keys {
		conn.Send("GET", key)
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	for range keys {
		r, err := conn.Receive()
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// namesCause tells whether an error names the trouble. A stat that fails in
// os.MkdirAll shows only as what comes of it: a directory that exists already.
func (r *trial) namesCause(text string) bool {
	return r.cause == 0 || strings.Contains(text, r.cause.Error()) ||
		strings.Contains(text, "mkdir ") && strings.HasSuffix(text, ": file exists\n")
}

// end ends kvd by sig, unless it has ended, and judges its last words.
func (r *trial) end(sig syscall.Signal) error {
	if err := r.kvd.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	status := r.kvd.wait()
	if r.super != nil {
		if err := r.super.Wait(); err != nil {
			return err
		}
	}
	log := r.kvd.log.String()
	if strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		return errors.New("kvd panicked")
	}
	lines := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
	switch {
	case status == -1 && (r.killed.Load() || sig == syscall.SIGKILL):
		return nil
	case status == 0 && !r.stopped:
		return nil
	case status == 1 && strings.Count(log, "kvd: ") == 1 && strings.HasPrefix(lines[len(lines)-1], "kvd: "):
		return nil
	}
	return fmt.Errorf("exit status %d; stopped before: %t; want one line at the end that says why", status, r.stopped)
}

// refusedOpen judges a kvd that has ended before it served: one line says what
// failed, on what.
func (r *trial) refusedOpen() error {
	if err := r.end(syscall.SIGKILL); err != nil || r.killed.Load() {
		return err
	}
	_, last, found := strings.Cut("\n"+r.kvd.log.String(), "\nkvd: ") // after lines of the log
	if !found || strings.Count(last, "\n") != 1 || !strings.Contains(last, r.dir) || !r.namesCause(last) {
		return errors.New("kvd did not open, and did not say in one line what failed, on what")
	}
	return nil
}

// recovered starts kvd on the directory without the trouble, and returns how its
// contents are not what the clients know.
func (r *trial) recovered() error {
	k := startKvd(r.t, r.dir, 1, r.flags...)
	err := r.verify(k)
	k.stop()
	return err
}

// verify compares what kvd shows with what the clients know.
func (r *trial) verify(k *kvd) error {
	all := k.contents()
	var errs []error
	for _, c := range r.clients {
		errs = append(errs, c.verify(all))
	}
	for key, value := range all {
		errs = append(errs, fmt.Errorf("never written: %q = %.40q", key, value))
	}
	return errors.Join(errs...)
}
