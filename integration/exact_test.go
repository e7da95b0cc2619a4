package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faultline/integration/internal/rig"
	"faultline/internal/campaign"
	"faultline/server/resp/resptest"
)

// exactClients is how many clients TestExact has.
const exactClients = 32

// A subject is a server that can be killed and started again.
type subject interface {
	start(t *testing.T) (dial func() (*resptest.Conn, error))
	kill(t *testing.T)
	name() string
}

// A kvdSubject is kvd on one directory, in a different manner each time.
type kvdSubject struct {
	dir  string
	runs int
	k    *kvd
}

func (s *kvdSubject) name() string { return "kvd" }

func (s *kvdSubject) start(t *testing.T) func() (*resptest.Conn, error) {
	manners := [][]string{
		{},
		{"--dirty-budget", "1MiB", "--log-bytes", "256KiB"},
		{"--appendfsync", "everysec"},
		{"--appendfsync", "no", "--dirty-budget", "1MiB", "--log-bytes", "256KiB"},
	}
	s.k = startKvd(t, s.dir, 1+s.runs%3, manners[s.runs%len(manners)]...)
	s.runs++
	addr := s.k.addr
	return func() (*resptest.Conn, error) { return resptest.Dial(addr) }
}

func (s *kvdSubject) kill(*testing.T) { s.k.kill() }

// A redisSubject is Debian's redis-server.
type redisSubject struct {
	dir   string
	flags []string
	cmd   *exec.Cmd
}

func (s *redisSubject) name() string { return "redis-server" }

func (s *redisSubject) start(t *testing.T) func() (*resptest.Conn, error) {
	t.Helper()
	path := filepath.Join(s.dir, "socket")
	args := append([]string{"--port", "0", "--unixsocket", path, "--dir", s.dir, "--save", ""}, s.flags...)
	cmd := exec.Command(rig.Needs(t, "redis-server"), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	s.cmd = cmd
	dial := func() (*resptest.Conn, error) {
		c, err := net.Dial("unix", path)
		if err != nil {
			return nil, err
		}
		return resptest.NewConn(c), nil
	}
	for end := time.Now().Add(watchdog); time.Now().Before(end); {
		if c, err := dial(); err == nil {
			_, err = c.Do("PING")
			c.Close()
			if err == nil {
				return dial
			}
		}
		time.Sleep(time.Millisecond) // between two looks; nothing follows from how long it takes
	}
	t.Fatal("redis-server does not answer")
	return nil
}

func (s *redisSubject) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.cmd.Wait()
	os.Remove(filepath.Join(s.dir, "socket"))
}

// An exactRun has clients work on a subject that is killed again and again, and compares
// what they know with what is there.
type exactRun struct {
	s       subject
	rng     *rand.Rand
	ledger  *exactLedger
	clients []*exactClient
	ops     atomic.Int64
}

func newExactRun(t *testing.T, s subject) *exactRun {
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 11))
	r := &exactRun{s: s, rng: rng, ledger: newExactLedger()}
	for id := range exactClients {
		r.clients = append(r.clients, newExactClient(id, r.ledger, rand.New(rand.NewPCG(rng.Uint64(), uint64(id)))))
	}
	return r
}

// life starts the subject, verifies, has all clients work until so many operations are
// answered, and kills it.
func (r *exactRun) life(t *testing.T, ops int64) error {
	t.Helper()
	dial := r.s.start(t)
	if err := r.verify(dial); err != nil {
		r.s.kill(t)
		return err
	}
	var over atomic.Bool
	errs := make(chan error, len(r.clients))
	reached := make(chan struct{})
	var once sync.Once
	goal := r.ops.Load() + ops
	for _, c := range r.clients {
		go func() {
			conn, err := dial()
			if err != nil {
				errs <- err
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(watchdog))
			for err == nil {
				if err = c.step(conn); err == nil && r.ops.Add(1) >= goal {
					once.Do(func() { close(reached) })
				}
			}
			if over.Load() && isLost(err) {
				err = nil
			}
			errs <- err
		}()
	}
	var first error
	ended := 0
	for waiting := true; waiting; {
		select {
		case <-reached:
			waiting = false
		case first = <-errs:
			ended++
			waiting = first == nil
		case <-time.After(watchdog):
			first, waiting = fmt.Errorf("%d operations, want %d, and then none", r.ops.Load(), goal), false
		}
	}
	time.Sleep(time.Duration(r.rng.Int64N(int64(5 * time.Millisecond)))) // a random moment
	over.Store(true)
	r.s.kill(t)
	for ; ended < len(r.clients); ended++ {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// isLost tells whether err is the end of a connection, not a reply.
func isLost(err error) bool {
	var wrong *wrongReply
	return err != nil && !asWrong(err, &wrong)
}

// verify compares what all clients know with what is there.
func (r *exactRun) verify(dial func() (*resptest.Conn, error)) error {
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(watchdog))
	if r.ops.Load() == 0 {
		return r.ledger.begin(conn)
	}
	for _, c := range r.clients {
		if err := c.verify(conn); err != nil {
			return fmt.Errorf("client %d: %w", c.id, err)
		}
	}
	return r.ledger.verify(conn)
}

// kills runs so many lives, and looks once more at the end.
func (r *exactRun) kills(t *testing.T, n int) error {
	t.Helper()
	for i := range n {
		if err := r.life(t, 100+r.rng.Int64N(1200)); err != nil {
			return fmt.Errorf("life %d: %w", i, err)
		}
	}
	dial := r.s.start(t)
	defer r.s.kill(t)
	return r.verify(dial)
}

// TestExact has 32 clients count, move amounts in transactions, and set keys that expire,
// while the server is killed again and again. Nothing that was acknowledged may be lost: a
// counter is what was counted, the sum of all accounts is what it was, and a key is there as
// long as it was said to be and no longer. What was in flight is made whole or not at all.
func TestExact(t *testing.T) {
	s := &kvdSubject{dir: t.TempDir()}
	r := newExactRun(t, s)
	n := campaign.Scale(t, 32)
	if err := r.kills(t, n); err != nil {
		t.Fatal(err)
	}
	check(t, s.dir)
	t.Logf("%d kills, %d operations: %v", n, r.ops.Load(), r.ledger)
	if l := r.ledger; l.transfers == 0 || l.expired == 0 || l.doubts == 0 {
		t.Error("something was not tried")
	}
}

// TestExactControl runs the same where the outcome is known: redis-server, which must pass
// when nobody kills it, and when its log is written at once; and must not without a log.
// Last, kvd with an earlier copy of its directory in the place of the newest.
func TestExactControl(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		r := newExactRun(t, &redisSubject{dir: t.TempDir(), flags: []string{"--appendonly", "yes", "--appendfsync", "always"}})
		if err := r.kills(t, 3); err != nil {
			t.Error(err)
		}
		t.Logf("%d operations: %v", r.ops.Load(), r.ledger)
	})
	t.Run("redis without a log", func(t *testing.T) {
		r := newExactRun(t, &redisSubject{dir: t.TempDir(), flags: []string{"--appendonly", "no"}})
		err := r.kills(t, 2)
		if err == nil {
			t.Error("a server that forgets everything passes")
		}
		t.Log(err)
	})
	t.Run("earlier copy", func(t *testing.T) {
		s := &kvdSubject{dir: filepath.Join(t.TempDir(), "store")}
		r := newExactRun(t, s)
		if err := r.life(t, 500); err != nil {
			t.Fatal(err)
		}
		earlier := filepath.Join(t.TempDir(), "earlier")
		if err := os.CopyFS(earlier, os.DirFS(s.dir)); err != nil {
			t.Fatal(err)
		}
		if err := r.life(t, 500); err != nil {
			t.Fatal(err)
		}
		s.dir = earlier
		err := r.kills(t, 0)
		if err == nil {
			t.Error("500 operations that are lost are not missed")
		}
		t.Log(err)
	})
}

// A wrongReply is one that the server must not have given.
type wrongReply struct{ text string }

func (e *wrongReply) Error() string { return e.text }

func wrong(format string, args ...any) error { return &wrongReply{fmt.Sprintf(format, args...)} }

// number returns the integer that a reply is, or has as its text.
func number(r resptest.Reply) (int64, error) {
	switch {
	case r.Kind == ':':
		return r.Int, nil
	case r.Kind == '$' && r.Null:
		return 0, nil
	case r.Kind == '$':
		n, err := strconv.ParseInt(r.Str, 10, 64)
		if err != nil {
			return 0, wrong("%v is no number", r)
		}
		return n, nil
	}
	return 0, wrong("%v, want a number", r)
}
