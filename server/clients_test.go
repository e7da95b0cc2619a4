package server

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"faultline/server/resp"
)

// TestClientList has three clients in different states and checks the fields of their
// lines that do not depend on the time.
func TestClientList(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	a := three(t, addr, "CLIENT SETNAME first", "CLIENT TRACKING ON BCAST", "SELECT 3")
	b := dial(t, addr)
	for _, cmd := range []string{"WATCH x", "MULTI", "GET x", "GET x"} {
		do(t, b, strings.Fields(cmd)...)
	}
	c := dial(t, addr)
	do(t, c, "CLIENT", "SETINFO", "LIB-NAME", "lib")
	do(t, c, "CLIENT", "SETINFO", "LIB-VER", "1.2")
	do(t, c, "SET", "x", "1")
	list := do(t, c, "CLIENT", "LIST").Str
	lines := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines: %s", len(lines), list)
	}
	for i, want := range []string{
		"id=1 .* name=first .* flags=tB db=3 .* multi=-1 .* cmd=select user=default redir=0 resp=3 lib-name= lib-ver=",
		"id=2 .* name= .* flags=x db=0 .* multi=2 .* cmd=multi user=default redir=-1 resp=2 ",
		"id=3 .* flags=N db=0 .* cmd=client\\|list .* resp=2 lib-name=lib lib-ver=1.2",
	} {
		if !regexp.MustCompile("^" + want).MatchString(lines[i]) {
			t.Errorf("line %q, want %s", lines[i], want)
		}
	}
	for _, field := range []string{" addr=" + a.LocalAddr().String() + " ", " laddr=" + addr + " "} {
		if !strings.Contains(lines[0], field) {
			t.Errorf("no %q in %q", field, lines[0])
		}
	}
	if got := do(t, c, "CLIENT", "LIST", "ID", "3", "1", "99").Str; strings.Count(got, "\n") != 2 {
		t.Errorf("two of the three: %s", got)
	}
	if got := do(t, c, "CLIENT", "LIST", "TYPE", "NORMAL").Str; strings.Count(got, "\n") != 3 {
		t.Errorf("normal clients: %s", got)
	}
}

// TestClientKill ends clients by each filter, one of which waits for a command and one of
// which does not read.
func TestClientKill(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	me := dial(t, addr)
	do(t, me, "PING")
	for _, by := range []string{"%s", "ADDR %s", "ADDR %s LADDR " + addr, "TYPE normal", "USER default SKIPME yes"} {
		other := dial(t, addr)
		do(t, other, "PING")
		if strings.Contains(by, "%s") {
			by = fmt.Sprintf(by, other.LocalAddr())
		}
		want := ":1"
		if !strings.Contains(by, " ") {
			want = "+OK"
		}
		if got := answer(t, me, append([]string{"CLIENT", "KILL"}, strings.Fields(by)...)...); got != want {
			t.Errorf("KILL %s: %s, want %s", by, got, want)
		}
		if _, err := other.Do("PING"); err == nil {
			t.Errorf("KILL %s: it goes on", by)
		}
	}
	if got := answer(t, me, "CLIENT", "KILL", "ID", "1", "SKIPME", "NO"); got != ":1" {
		t.Errorf("KILL of oneself: %s", got)
	}
	expectEnd(t, me)
}

// TestClientPause makes writes wait, and then all, until it is ended.
func TestClientPause(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	a, b := dial(t, addr), dial(t, addr)
	do(t, a, "CLIENT", "PAUSE", "1000000", "WRITE")
	do(t, b, "GET", "x")
	replies(t, b, "MULTI", "GET x", "EXEC")
	b.SendRaw("PING\r\nSET x 1\r\nGET x\r\n")
	b.Flush()
	expect(t, b, "+PONG") // what comes before the write is answered
	if got := answer(t, a, "GET", "x"); got != "nil" {
		t.Errorf("in the pause x is %s", got)
	}
	do(t, a, "CLIENT", "UNPAUSE")
	expect(t, b, "+OK")
	expect(t, b, `"1"`)

	do(t, a, "CLIENT", "PAUSE", "20") // ends by itself
	do(t, b, "GET", "x")
}

// TestKillPaused ends a connection whose command waits: nobody waits for that, and what
// the client has sent since is not executed.
func TestKillPaused(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	a, b := dial(t, addr), dial(t, addr)
	id := strings.TrimPrefix(answer(t, b, "CLIENT", "ID"), ":")
	do(t, a, "CLIENT", "PAUSE", "1000000", "WRITE")
	b.SendRaw("PING\r\nCLIENT REPLY OFF\r\nSET x 1\r\n")
	b.Flush()
	expect(t, b, "+PONG")
	b.SendRaw("SET y 1\r\n")
	b.Flush()
	if got := answer(t, a, "CLIENT", "KILL", "ID", id); got != ":1" {
		t.Fatalf("killed %s connections", got)
	}
	if _, err := b.Receive(); err == nil {
		t.Error("a reply after the kill")
	}
	do(t, a, "CLIENT", "UNPAUSE")
	for strings.Count(answer(t, a, "CLIENT", "LIST"), "id=") > 1 {
	}
	if got := answer(t, a, "GET", "y"); got != "nil" {
		t.Errorf("y is %s", got)
	}
}

// TestPauses begins a long pause and short ones at once, of which the long one counts,
// while somebody waits, and then shuts down: who waits is answered before the end.
func TestPauses(t *testing.T) {
	srv := New(openStore(t), Options{})
	waiting, _ := pipe(t, srv)
	do(t, waiting, "CLIENT", "PAUSE", "1000000", "WRITE")
	waiting.SendRaw("PING\r\nSET x 1\r\n")
	waiting.Flush()
	expect(t, waiting, "+PONG")
	var all sync.WaitGroup
	for range 4 {
		c, _ := pipe(t, srv)
		all.Go(func() {
			for range 20 {
				do(t, c, "CLIENT", "PAUSE", "1", "WRITE")
			}
		})
	}
	all.Wait()
	ended := make(chan error)
	go func() { ended <- srv.Shutdown(context.Background()) }()
	expect(t, waiting, "+OK")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestIdle has connections that do nothing: they must give their buffers back, work on,
// and be ended by the timeout.
func TestIdle(t *testing.T) {
	srv := New(openStore(t), Options{Timeout: 8 * tickEvery}) // no Serve, so no janitor but this test
	defer srv.Shutdown(context.Background())
	idle, _ := pipe(t, srv)
	busy, _ := pipe(t, srv)
	do(t, busy, "PING")
	value := strings.Repeat("v", 100_000)
	do(t, idle, "SET", "a", value)
	do(t, idle, "GET", "a")
	for range shrinkAfter + 1 {
		do(t, busy, "PING")
		srv.look()
	}
	for srv.find(1).held.Load() > 1<<10 { // it has been asked
		runtime.Gosched()
	}
	if r := do(t, idle, "GET", "a"); r.Str != value {
		t.Errorf("a value of %d bytes", len(r.Str))
	}
	for range 10 {
		do(t, busy, "PING")
		srv.look()
	}
	expectEnd(t, idle)
	do(t, busy, "PING")
}

// TestMemory has clients whose commands together are more than the memory for buffers.
// The largest must be ended, the others go on; one that alone is too large is refused.
func TestMemory(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{ClientMemory: 4 << 20})
	spared := dial(t, addr)
	do(t, spared, "CLIENT", "NO-EVICT", "ON")
	send := func(c io.Writer, bytes int) {
		t.Helper()
		fmt.Fprintf(c, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s", 100<<20, strings.Repeat("x", bytes))
	}
	held := func(bytes int64) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); srv.memory.held.Load() < bytes; {
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes held, want %d", srv.memory.held.Load(), bytes)
			}
		}
	}
	large, small := dial(t, addr), dial(t, addr)
	send(large, 1600<<10) // in a buffer of 2 MiB
	held(2 << 20)
	send(spared, 100<<10)
	send(small, 900<<10) // 1 MiB
	held(3 << 20)
	another := dial(t, addr)
	send(another, 900<<10)
	if r, err := large.Receive(); err == nil {
		t.Errorf("the largest goes on: %v", r)
	}
	if n := srv.memory.evicted.Load(); n != 1 {
		t.Errorf("%d connections evicted", n)
	}
	greedy := dial(t, addr)
	do(t, greedy, "PING")
	go send(greedy, 6<<20)
	for {
		r, err := greedy.Receive()
		if err != nil {
			break // it was ended
		}
		if !strings.HasPrefix(r.Str, "OOM ") {
			t.Errorf("reply %v", r)
		}
	}
	for _, c := range []interface{ Close() error }{small, another, spared} {
		c.Close()
	}
	wantNothingHeld(t, srv)
}

// wantNothingHeld waits until all connections have ended: no memory may be theirs then.
func wantNothingHeld(t *testing.T, srv *Server) {
	t.Helper()
	waitAllEnded(srv)
	if n := srv.memory.held.Load(); n != 0 {
		t.Errorf("%d bytes held by nobody", n)
	}
}

// waitAllEnded waits until no connection is open.
func waitAllEnded(srv *Server) {
	for srv.openCount() > 0 {
		runtime.Gosched()
	}
}

// TestQueueMemory queues commands that are together more than the memory for buffers.
func TestQueueMemory(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{ClientMemory: 2 << 20})
	c := dial(t, addr)
	do(t, c, "MULTI")
	value, queued := strings.Repeat("v", 100_000), 0
	for queued < 100 {
		if _, err := c.Do("SET", "a", value); err != nil {
			break
		}
		queued++
	}
	if queued < 10 || queued > 22 {
		t.Errorf("%d values of 100 KB were queued in 2 MiB", queued)
	}
	wantNothingHeld(t, srv)
}

// TestLowerMemory sets maxmemory-clients to less than one connection holds: it is ended.
func TestLowerMemory(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{MemoryBytes: 100 << 20})
	large, small := dial(t, addr), dial(t, addr)
	do(t, large, "MULTI")
	if _, err := large.Do("SET", "a", strings.Repeat("v", 4<<20)); err != nil {
		t.Fatal(err)
	}
	do(t, small, "CONFIG", "SET", "maxmemory-clients", "2%")
	if _, err := large.Receive(); err == nil {
		t.Error("a reply to nothing")
	}
	if got := answer(t, small, "PING"); got != "+PONG" || srv.memory.evicted.Load() != 1 {
		t.Errorf("PING of the other: %s; %d ended", got, srv.memory.evicted.Load())
	}
}

// TestOutputLimit asks for more in one reply than a client may have waiting.
func TestOutputLimit(t *testing.T) {
	_, addr := start(t, openStore(t), Options{OutputLimit: OutputLimit{HardBytes: 1 << 20}})
	c := dial(t, addr)
	do(t, c, "SET", "fits", strings.Repeat("v", 1<<20-20))
	do(t, c, "GET", "fits")
	do(t, c, "SET", "long", strings.Repeat("v", 1<<20))
	if got := answer(t, c, "GET", "long"); got != "-ERR "+errOutput.Error() {
		t.Errorf("reply of %d bytes", len(got))
	}
	expectEnd(t, c)
}

// TestNeverReads has a client send commands with long replies and take none: the server
// must hold no more of them than its buffer, and end the client in time.
func TestNeverReads(t *testing.T) {
	srv := New(openStore(t), Options{WriteTimeout: 50 * time.Millisecond})
	defer srv.Shutdown(context.Background())
	c, _ := pipe(t, srv)
	do(t, c, "SET", "a", strings.Repeat("v", 10_000))
	for range 10_000 {
		c.SendRaw("GET a\r\n")
		if c.Flush() != nil {
			break // it was ended
		}
	}
	for srv.openCount() > 0 {
		if n := srv.memory.held.Load(); n > 1<<20 {
			t.Fatalf("%d bytes held", n)
		}
	}
}

// TestBombs sends what has killed other servers. Each connection must end, or wait, with
// no memory to speak of.
func TestBombs(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{})
	for _, bomb := range []string{
		"*9000000000000000000\r\n",
		"*1\r\n$9223372036854775800\r\nPING\r\n",
		"*1048576\r\n$536870912\r\n",
		"*1048576\r\n" + strings.Repeat("$1\r\na\r\n", 1000),
		"$-1\r\n", "*-1\r\n", "\x00\x00\x00\x00", "*1\r\n$-9223372036854775808\r\n",
		strings.Repeat("*1\r\n$4\r\nPING\r\n", 1000),
	} {
		c := dial(t, addr)
		c.SendRaw(bomb)
		c.Flush()
		do(t, dial(t, addr), "PING")
		c.Close()
	}
	for srv.openCount() > 9 { // those that were dialed for PING
		runtime.Gosched()
	}
	if n := srv.memory.held.Load(); n > 9*(128<<10) {
		t.Errorf("%d bytes held", n)
	}
}

// TestQueryBuffer sends a command that is longer in all than is allowed.
func TestQueryBuffer(t *testing.T) {
	lim := resp.DefaultLimits
	lim.CommandBytes = 1 << 20
	_, addr := start(t, openStore(t), Options{Limits: lim})
	c := dial(t, addr)
	go func() {
		fmt.Fprint(c, "*1000\r\n")
		for range 1000 {
			if _, err := fmt.Fprintf(c, "$10000\r\n%s\r\n", strings.Repeat("x", 10_000)); err != nil {
				return
			}
		}
	}()
	expect(t, c, "-ERR Protocol error: too big command")
}
