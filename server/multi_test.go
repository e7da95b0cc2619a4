package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"faultline/server/resp/resptest"
	"faultline/store"
)

// doInt sends a command and returns the integer that it answers.
func doInt(t testing.TB, c *resptest.Conn, args ...string) int64 {
	t.Helper()
	return do(t, c, args...).Int
}

// TestCounters lets connections count in the same keys by each command that reads before it
// writes: no step may be lost, and none be made twice.
func TestCounters(t *testing.T) {
	const clients, steps = 8, 200
	_, addr := start(t, openStore(t), Options{Fsync: FsyncNo})
	var all sync.WaitGroup
	for range clients {
		c := dial(t, addr)
		all.Go(func() {
			for range steps {
				c.Send("INCR", "a")
				c.Send("DECRBY", "b", "2")
				c.Send("INCRBYFLOAT", "c", "0.5")
				c.Send("APPEND", "d", "x")
				c.Send("MULTI")
				c.Send("INCR", "e")
				c.Send("INCR", "f")
				c.Send("EXEC")
			}
			if err := c.Flush(); err != nil {
				t.Error(err)
			}
			for range 8 * steps {
				if r, err := c.Receive(); err != nil || r.Err() != nil {
					t.Errorf("%v %v", r, err)
					return
				}
			}
		})
	}
	all.Wait()
	c := dial(t, addr)
	const n = clients * steps
	want := fmt.Sprintf("[%q %q %q %q %q]", fmt.Sprint(n), fmt.Sprint(-2*n), fmt.Sprint(n/2), fmt.Sprint(n), fmt.Sprint(n))
	if got := do(t, c, "MGET", "a", "b", "c", "e", "f").String(); got != want {
		t.Errorf("counted to %s, want %s", got, want)
	}
	if got := doInt(t, c, "STRLEN", "d"); got != n {
		t.Errorf("appended %d bytes, want %d", got, n)
	}
}

// TestWatchedCounter counts as clients without INCR do: WATCH, GET, MULTI, SET, EXEC, and
// again if EXEC says that somebody was faster. The control does so without WATCH, and must
// lose steps.
func TestWatchedCounter(t *testing.T) {
	const clients, steps = 4, 50
	_, addr := start(t, openStore(t), Options{Fsync: FsyncNo})
	count := func(key string, watch bool) {
		var all sync.WaitGroup
		for range clients {
			c := dial(t, addr)
			all.Go(func() {
				for done := 0; done < steps; {
					if watch {
						do(t, c, "WATCH", key)
					}
					n, _ := strconv.Atoi(do(t, c, "GET", key).Str)
					do(t, c, "MULTI")
					do(t, c, "SET", key, strconv.Itoa(n+1))
					if !do(t, c, "EXEC").Null {
						done++
					}
				}
			})
		}
		all.Wait()
	}
	c := dial(t, addr)
	count("watched", true)
	if got := do(t, c, "GET", "watched").Str; got != fmt.Sprint(clients*steps) {
		t.Errorf("counted to %s, want %d", got, clients*steps)
	}
	count("control", false)
	if got := do(t, c, "GET", "control").Str; got == fmt.Sprint(clients*steps) {
		t.Log("the control has lost nothing: the clients did not meet")
	}
}

// TestExecIsOneMoment moves an amount between keys in transactions, and reads them in
// others and by MGET: the sum must be right always.
func TestExecIsOneMoment(t *testing.T) {
	const rounds = 300
	_, addr := start(t, openStore(t), Options{Fsync: FsyncNo})
	w := dial(t, addr)
	do(t, w, "MSET", "a", "100", "b", "0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range rounds {
			for _, args := range []string{"MULTI", "DECR a", "INCR b", "EXEC"} {
				if _, err := w.Do(strings.Fields(args)...); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	c := dial(t, addr)
	check := func(r resptest.Reply) {
		a, _ := strconv.Atoi(r.Array[0].Str)
		b, _ := strconv.Atoi(r.Array[1].Str)
		if a+b != 100 {
			t.Errorf("saw %d and %d, whose sum is not 100", a, b)
		}
	}
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		check(do(t, c, "MGET", "a", "b"))
		for _, args := range []string{"MULTI", "GET a", "GET b"} {
			do(t, c, strings.Fields(args)...)
		}
		check(do(t, c, "EXEC"))
	}
}

// rerun is a store whose transactions run twice before they are made.
type rerun struct{ *faulty }

func (r *rerun) Modify(ctx context.Context, keys [][]byte, d store.Durability, fn func(*store.Tx) error) (store.LSN, error) {
	again := errors.New("again")
	for range 2 {
		if _, err := r.DB.Modify(ctx, keys, d, func(tx *store.Tx) error {
			return errors.Join(fn(tx), again)
		}); !errors.Is(err, again) {
			return 0, fmt.Errorf("run for nothing: %w", err)
		}
	}
	return r.DB.Modify(ctx, keys, d, fn)
}

// TestRerun lets each transaction run three times, as if somebody had been faster twice:
// the client must get the replies of the last time only.
func TestRerun(t *testing.T) {
	db := &rerun{&faulty{DB: openStore(t)}}
	_, addr := start(t, db, Options{})
	c := dial(t, addr)
	for _, step := range []struct{ send, want string }{
		{"SET a 1 NX", "+OK"},
		{"INCR a", ":2"},
		{"SET a x XX GET", `"2"`},
		{"INCR a", "-ERR value is not an integer or out of range"},
		{"RENAME a b", "+OK"},
		{"GETDEL b", `"x"`},
		{"MULTI", "+OK"},
		{"SELECT 1", "+QUEUED"},
		{"INCR a", "+QUEUED"},
		{"SELECT 0", "+QUEUED"},
		{"INCR a", "+QUEUED"},
		{"APPEND a 5", "+QUEUED"},
		{"EXEC", "[+OK :1 +OK :1 :2]"},
		{"GET a", `"15"`},
		{"SELECT 1", "+OK"},
		{"GET a", `"1"`},
	} {
		c.SendRaw(step.send + "\r\n")
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		r, err := c.Receive()
		if err != nil || r.String() != step.want {
			t.Errorf("%s: %v %v, want %s", step.send, r, err, step.want)
		}
	}
}

// TestExecRefused lets the store refuse one write of a transaction: nothing of it may be
// there, and the reply must say why.
func TestExecRefused(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	do(t, c, "MULTI")
	do(t, c, "SET", "a", "1")
	do(t, c, "SET", strings.Repeat("k", store.MaxKeyBytes+1), "1")
	do(t, c, "SET", "b", "1")
	_, err := c.Do("EXEC")
	want := "reply: EXECABORT Transaction discarded because of: key of 1025 bytes: too large: the limit is 1024"
	if err == nil || err.Error() != want {
		t.Errorf("EXEC: %v, want %s", err, want)
	}
	if n := doInt(t, c, "EXISTS", "a", "b"); n != 0 {
		t.Errorf("%d keys are there", n)
	}
	do(t, c, "SET", "a", "1") // the connection goes on
}

// TestModifyWaits writes by a command that reads first: the reply may be sent only after
// the wait for that write. So may one that wrote nothing, for what it has read.
func TestModifyWaits(t *testing.T) {
	for _, command := range []string{"INCR a", "SETNX b 1"} {
		db := &faulty{DB: openStore(t)}
		if err := db.Put([]byte("b"), []byte("0"), store.Deferred); err != nil {
			t.Fatal(err)
		}
		srv := New(db, Options{})
		c, w := pipe(t, srv)
		var waited store.LSN
		db.onDurable = func(lsn store.LSN) error {
			if n := w.writes.Load(); n > 0 {
				t.Errorf("%s: %d writes before the wait", command, n)
			}
			waited = max(waited, lsn)
			return nil
		}
		do(t, c, strings.Fields(command)...)
		if newest := db.LSN(); waited < newest {
			t.Errorf("%s: waited for LSN %d, the newest is %d", command, waited, newest)
		}
		srv.Shutdown(context.Background())
	}
}

// TestQueueBound queues more than a client may: the transaction must fail, and what was
// queued be forgotten.
func TestQueueBound(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{})
	srv.conf.commandBytes.Store(10_000)
	c := dial(t, addr)
	do(t, c, "MULTI")
	refused := 0
	for range 20 {
		if _, err := c.Do("SET", "a", strings.Repeat("v", 1000)); err != nil {
			refused++
		}
	}
	if refused != 12 {
		t.Errorf("%d of 20 commands were refused, want 12", refused)
	}
	if _, err := c.Do("EXEC"); err == nil || !strings.HasPrefix(err.Error(), "reply: EXECABORT") {
		t.Errorf("EXEC: %v", err)
	}
}

// TestUnwatchAtEnd watches keys and ends the connection in each way: the server must
// forget them.
func TestUnwatchAtEnd(t *testing.T) {
	srv := New(openStore(t), Options{})
	defer srv.Shutdown(context.Background())
	for _, end := range []string{"UNWATCH", "RESET", "QUIT", "DISCARD", "EXEC"} {
		c, _ := pipe(t, srv)
		do(t, c, "WATCH", "a", "b", "a")
		if n := srv.watches.n.Load(); n != 2 {
			t.Errorf("%d keys are watched, want 2", n)
		}
		if end == "DISCARD" || end == "EXEC" {
			do(t, c, "MULTI")
		}
		do(t, c, end)
		if end == "QUIT" {
			expectEnd(t, c)
			c.Close()
			srv.Shutdown(context.Background())
		}
		if n := srv.watches.n.Load(); n != 0 || len(srv.watches.mu.keys) != 0 {
			t.Errorf("%s: %d keys are watched, %d in the table", end, n, len(srv.watches.mu.keys))
		}
		if end == "QUIT" {
			srv = New(openStore(t), Options{})
		}
	}
}

// noSpaces is a store that refuses FLUSHALL.
type noSpaces struct{ *store.DB }

func (noSpaces) Keyspace(string) (*store.Keyspace, error) { return nil, errors.New("no keyspace") }

// TestExecWhole has commands fail in the middle of EXEC that send their replies at once
// when they are alone: EXEC must answer as many as there are commands, or one error.
func TestExecWhole(t *testing.T) {
	secret := NewSecret([]byte("right"))
	long, tooLong := strings.Repeat("k", store.MaxKeyBytes+1), "key of 1025 bytes: too large: the limit is 1024"
	for _, step := range []struct {
		db    Store
		queue []string
		want  string
	}{
		{&rerun{&faulty{DB: openStore(t)}}, []string{"SET a 1", "AUTH wrong", "SET b 1"}, "[+OK -" + wrongPass + " +OK]"},
		{noSpaces{openStore(t)}, []string{"SET a 1", "FLUSHALL", "SET b 1"}, "[+OK -ERR no keyspace +OK]"},
		{noSpaces{openStore(t)}, []string{"SET a 1", "FLUSHALL", "SET " + long + " 1", "SET b 1"},
			"[+OK -ERR no keyspace -ERR " + tooLong + " -ERR " + tooLong + "]"},
		{noSpaces{openStore(t)}, []string{"SET " + long + " 1", "FLUSHALL"}, "-EXECABORT Transaction discarded because of: " + tooLong},
	} {
		_, addr := start(t, step.db, Options{Secret: &secret})
		c := dial(t, addr)
		do(t, c, "AUTH", "right")
		c.SendRaw("ECHO x\r\nMULTI\r\n" + strings.Join(step.queue, "\r\n") + "\r\nEXEC\r\nECHO y\r\n")
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, `"x"`)
		expect(t, c, "+OK")
		for range step.queue {
			expect(t, c, "+QUEUED")
		}
		expect(t, c, step.want)
		expect(t, c, `"y"`)
	}
}

// TestWatchMemory watches more keys than there is memory for: the connection must end, and
// give all of it back.
func TestWatchMemory(t *testing.T) {
	srv := New(openStore(t), Options{ClientMemory: 1 << 20})
	defer srv.Shutdown(context.Background())
	c, _ := pipe(t, srv)
	c.SendRaw("WATCH")
	for i := range 5000 {
		c.SendRaw(fmt.Sprint(" key", i))
	}
	c.SendRaw("\r\n")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "+OK")
	expectEnd(t, c)
	srv.Shutdown(context.Background())
	if held, n := srv.memory.held.Load(), len(srv.watches.mu.keys); held != 0 || n != 0 {
		t.Errorf("%d bytes are held, %d keys watched", held, n)
	}
}
