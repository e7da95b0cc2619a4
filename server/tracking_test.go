package server

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"faultline/server/resp/resptest"
)

// three connects a client that speaks RESP3, and sends it some commands first.
func three(t testing.TB, addr string, commands ...string) *resptest.Conn {
	t.Helper()
	c := dial(t, addr)
	do(t, c, "HELLO", "3")
	for _, cmd := range commands {
		do(t, c, strings.Fields(cmd)...)
	}
	return c
}

// replies sends commands one after the other and returns what comes until the reply of
// an ECHO that follows.
func replies(t testing.TB, c *resptest.Conn, commands ...string) (got []string) {
	t.Helper()
	for _, cmd := range commands {
		c.Send(strings.Fields(cmd)...)
	}
	c.Send("ECHO", "end")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		r, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if r.Str == "end" {
			return got
		}
		got = append(got, r.String())
	}
}

// TestTracking has a client track keys in every mode, and another one write. What the
// first is told, before and with its next replies, must be what Redis tells.
func TestTracking(t *testing.T) {
	invalid := func(key string) string { return fmt.Sprintf(`>["invalidate" [%q]]`, key) }
	for _, tc := range []struct {
		name  string
		on    string   // how to track
		reads string   // a command of the first client
		wrote []string // of the second
		own   []string // of the first client, then
		want  []string // what the first gets, in all
	}{
		{"a key that was read", "ON", "GET a", []string{"SET a 2", "SET a 3", "SET b 2"}, nil, []string{`"1"`, invalid("a")}},
		{"a key that was not there", "ON", "GET nobody", []string{"SET nobody 2"}, nil, []string{"nil", invalid("nobody")}},
		{"several", "ON", "MGET a b c", []string{"DEL c b"}, nil, []string{`["1" "1" "1"]`, invalid("c"), invalid("b")}},
		{"deleted", "ON", "EXISTS a", []string{"DEL a"}, nil, []string{":1", invalid("a")}},
		{"another database", "ON", "GET a", []string{"SELECT 1", "SET a 2"}, nil, []string{`"1"`, invalid("a")}},
		{"all", "ON", "GET a", []string{"FLUSHALL"}, nil, []string{`"1"`, `>["invalidate" nil]`}},
		{"in a transaction of the writer", "ON", "GET a", []string{"MULTI", "SET a 2", "INCR b", "EXEC"}, nil, []string{`"1"`, invalid("a")}},
		{"own write", "ON", "GET a", nil, []string{"SET a 2", "PING"}, []string{`"1"`, "+OK", invalid("a"), "+PONG"}},
		{"own write, NOLOOP", "ON NOLOOP", "GET a", nil, []string{"SET a 2"}, []string{`"1"`, "+OK"}},
		{"OPTIN without asking", "ON OPTIN", "GET a", []string{"SET a 2"}, nil, []string{`"1"`}},
		{"OPTOUT", "ON OPTOUT", "GET a", []string{"SET a 2"}, nil, []string{`"1"`, invalid("a")}},
		{"BCAST", "ON BCAST", "GET a", []string{"SET x 2", "SET x 3"}, nil, []string{`"1"`, invalid("x"), invalid("x")}},
		{"BCAST by prefix", "ON BCAST PREFIX user: PREFIX u2", "GET a",
			[]string{"SET user:1 x", "SET u 1", "SET u2 1"}, nil, []string{`"1"`, invalid("user:1"), invalid("u2")}},
		{"BCAST NOLOOP", "ON BCAST NOLOOP", "GET a", []string{"SET x 2"}, []string{"SET y 2"}, []string{`"1"`, invalid("x"), "+OK"}},
		{"off again", "OFF", "GET a", []string{"SET a 2"}, nil, []string{`"1"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, addr := start(t, openStore(t), Options{})
			other := dial(t, addr)
			do(t, other, "MSET", "a", "1", "b", "1", "c", "1")
			c := three(t, addr, "CLIENT TRACKING ON", "CLIENT TRACKING OFF", "CLIENT TRACKING "+tc.on)
			got := replies(t, c, tc.reads)
			replies(t, other, tc.wrote...)
			got = append(got, replies(t, c, tc.own...)...)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// TestTrackingOptin asks for one command to be tracked, and for one transaction, as
// client libraries do.
func TestTrackingOptin(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	other := dial(t, addr)
	c := three(t, addr, "CLIENT TRACKING ON OPTIN")
	replies(t, c, "CLIENT CACHING YES", "GET a", "GET b")
	replies(t, c, "CLIENT CACHING YES", "MULTI", "PTTL c", "GET c", "EXEC", "GET d")
	do(t, other, "MSET", "a", "1", "b", "1", "c", "1", "d", "1")
	want := []string{`>["invalidate" ["a"]]`, `>["invalidate" ["c"]]`}
	if got := replies(t, c); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestTrackingIdle writes while the client that tracks waits for nothing but messages: it
// must be woken, each time.
func TestTrackingIdle(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c, other := three(t, addr, "CLIENT TRACKING ON"), dial(t, addr)
	for range 100 {
		replies(t, c, "GET a")
		do(t, other, "SET", "a", "1")
		expect(t, c, `>["invalidate" ["a"]]`)
	}
}

// TestTrackingBound reads more keys than the table may have: those that go are told.
func TestTrackingBound(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{})
	srv.conf.trackedKeys.Store(10)
	c := three(t, addr, "CLIENT TRACKING ON")
	told := make(map[string]bool)
	const keys = 1000
	for i := range keys {
		for _, r := range replies(t, c, "GET "+strconv.Itoa(i)) {
			if r != "nil" {
				told[r] = true
			}
		}
	}
	if n := srv.tracking.keys.Load(); n > 10 || int64(len(told)) != keys-n {
		t.Errorf("%d keys in the table, %d told", n, len(told))
	}
}

// TestTrackingDeaf has a client track keys that does not read, and another write them. The
// writer must not wait, the memory must be bounded, and at last the client be told that
// all is invalid.
func TestTrackingDeaf(t *testing.T) {
	srv := New(openStore(t), Options{})
	defer srv.Shutdown(context.Background())
	deaf, w := pipe(t, srv)
	do(t, deaf, "HELLO", "3")
	do(t, deaf, "CLIENT", "TRACKING", "ON", "BCAST")
	answered := w.writes.Load()
	deaf.Send("PING") // the reply of which nobody takes, so the connection waits
	deaf.Flush()
	for w.writes.Load() == answered {
		runtime.Gosched() // what is told before that comes before the reply
	}

	writer, _ := pipe(t, srv)
	key := strings.Repeat("k", 1000)
	for i := range 2 * inboxBytes / 1000 {
		do(t, writer, "SET", key+strconv.Itoa(i), "1")
	}
	var c *conn
	for _, c = range srv.connections() {
		c.inbox.mu.Lock()
		if n := len(c.inbox.mu.keys); n > inboxBytes {
			t.Errorf("%d bytes wait", n)
		}
		c.inbox.mu.Unlock()
	}
	expect(t, deaf, "+PONG")
	expect(t, deaf, `>["invalidate" nil]`)
}

// TestTrackingOrder reads and writes one key from several connections, and has each
// reader keep what it read until it is told otherwise. At the end all that a reader has
// must be what the store has.
func TestTrackingOrder(t *testing.T) {
	_, addr := start(t, openStore(t), Options{Fsync: FsyncNo})
	const writers, writes = 2, 300
	var writing sync.WaitGroup
	for range writers {
		w := dial(t, addr)
		writing.Go(func() {
			for range writes {
				if _, err := w.Do("INCR", "n"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writing.Wait()
		close(done)
	}()
	c := three(t, addr, "CLIENT TRACKING ON")
	cached, valid := "", false
	for ended := false; ; {
		select {
		case <-done:
			ended = true
		default:
		}
		commands := []string{"PING"}
		if !valid {
			commands = []string{"GET n"}
		}
		for _, r := range replies(t, c, commands...) {
			switch {
			case strings.HasPrefix(r, ">"):
				valid = false
			case r != "+PONG":
				cached, valid = r, true
			}
		}
		if ended && valid {
			break
		}
	}
	// What was told after the last write has been told by now.
	if got := replies(t, c); len(got) > 0 {
		t.Fatalf("%v after the last write", got)
	}
	if want := strconv.Quote(strconv.Itoa(writers * writes)); cached != want {
		t.Errorf("cached %s, want %s", cached, want)
	}
}

// TestTrackingEnd ends connections that track: nothing may stay that is told.
func TestTrackingEnd(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{})
	for _, on := range []string{"ON", "ON BCAST"} {
		c := three(t, addr, "CLIENT TRACKING "+on)
		replies(t, c, "GET a")
		do(t, c, "QUIT")
		expectEnd(t, c)
	}
	waitAllEnded(srv)
	if n := srv.tracking.clients.Load(); n != 0 {
		t.Errorf("%d clients track", n)
	}
	do(t, dial(t, addr), "SET", "a", "1")
}

// TestExpired tells of a key that nobody has written.
func TestExpired(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{})
	c := three(t, addr, "CLIENT TRACKING ON")
	replies(t, c, "GET a")
	srv.Expired(nil, []byte("a"))
	expect(t, c, `>["invalidate" ["a"]]`)
}

// TestRedirect sends the messages about what one connection reads to another, in both
// protocols, and ends that one.
func TestRedirect(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	writer := dial(t, addr)
	two, to := dial(t, addr), dial(t, addr)
	id := do(t, to, "CLIENT", "ID").Int
	if got := answer(t, to, "SUBSCRIBE", "news"); got != "-ERR there is no channel but __redis__:invalidate" {
		t.Error(got)
	}
	if got := answer(t, to, "SUBSCRIBE", invalidations); got != `["subscribe" "__redis__:invalidate" :1]` {
		t.Error(got)
	}
	do(t, two, "CLIENT", "TRACKING", "ON", "REDIRECT", strconv.FormatInt(id, 10))
	if got := do(t, two, "CLIENT", "GETREDIR").Int; got != id {
		t.Errorf("redirected to %d, want %d", got, id)
	}
	do(t, two, "CLIENT", "TRACKINGINFO")
	answer(t, two, "GET", "a")
	do(t, writer, "SET", "a", "1")
	expect(t, to, `["message" "__redis__:invalidate" ["a"]]`)
	do(t, writer, "FLUSHALL")
	expect(t, to, `["message" "__redis__:invalidate" nil]`)
	for _, step := range []struct{ send, want string }{
		{"GET a", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"},
		{"PING", `["pong" ""]`},
		{"PING x", `["pong" "x"]`},
		{"UNSUBSCRIBE", `["unsubscribe" "__redis__:invalidate" :0]`},
		{"UNSUBSCRIBE", `["unsubscribe" nil :0]`},
		{"GET a", "nil"},
	} {
		if got := answer(t, to, strings.Fields(step.send)...); got != step.want {
			t.Errorf("%s: %s, want %s", step.send, got, step.want)
		}
	}

	to = three(t, addr)
	id = do(t, to, "CLIENT", "ID").Int
	c := three(t, addr, "CLIENT TRACKING ON REDIRECT "+strconv.FormatInt(id, 10))
	replies(t, c, "GET b")
	do(t, writer, "SET", "b", "1")
	expect(t, to, `>["invalidate" ["b"]]`)
	replies(t, c, "GET b")
	do(t, to, "QUIT")
	expectEnd(t, to)
	do(t, writer, "SET", "b", "2")
	expect(t, c, fmt.Sprintf(`>["tracking-redir-broken" :%d]`, id))
	if got := do(t, c, "CLIENT", "TRACKINGINFO").String(); !strings.Contains(got, "broken_redirect") {
		t.Error(got)
	}
}

// TestRedirectEnds writes a key just when the connection that hears of it has said that it
// ends: who has read the key must be told that it will hear no more, every time.
func TestRedirectEnds(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	writer := dial(t, addr)
	for range 100 {
		to := three(t, addr)
		id := strconv.FormatInt(do(t, to, "CLIENT", "ID").Int, 10)
		c := three(t, addr, "CLIENT TRACKING ON REDIRECT "+id)
		replies(t, c, "GET a")
		do(t, to, "QUIT")
		do(t, writer, "SET", "a", "1")
		expect(t, c, `>["tracking-redir-broken" :`+id+`]`)
		to.Close()
		c.Close()
	}
}

// TestRecent sends commands whose names begin alike, in different letters: each must be
// found, also behind another one.
func TestRecent(t *testing.T) {
	table, r := newTable(), recent{}
	for _, line := range []string{"get a", "get b", "GET a", "getx", "get a", "config get a", "config set a b", "config", "get", "set a", "nothing", "set a"} {
		var args [][]byte
		for _, w := range strings.Fields(line) {
			args = append(args, []byte(w))
		}
		if got, want := r.find(table, args), table.find(args); got != want {
			t.Errorf("%s: found %v, want %v", line, got, want)
		}
	}
}

// TestTrackersGone has one connection after the other read a key that nobody writes, and
// end: the table must not keep them all.
func TestTrackersGone(t *testing.T) {
	srv := New(openStore(t), Options{})
	defer srv.Shutdown(context.Background())
	for range 20 {
		c, _ := pipe(t, srv)
		do(t, c, "CLIENT", "TRACKING", "ON")
		do(t, c, "GET", "hot")
		do(t, c, "CLIENT", "TRACKING", "OFF")
	}
	shard := srv.tracking.shard([]byte("hot"))
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if n, items := len(shard.keys["hot"]), srv.tracking.items.Load(); n != 1 || items != 1 {
		t.Errorf("%d trackers of a key, %d in all", n, items)
	}
}
