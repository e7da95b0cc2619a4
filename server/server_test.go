package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"faultline/server/resp"
	"faultline/server/resp/resptest"
	"faultline/store"
)

// openStore opens a store in a directory of the test's own.
func openStore(t testing.TB) *store.DB { return openStoreIn(t, 64<<20) }

// openStoreIn opens one with so many bytes of memory.
func openStoreIn(t testing.TB, budget int64) *store.DB {
	t.Helper()
	return openStoreWith(t, &store.Options{MemoryBudget: budget})
}

func openStoreWith(t testing.TB, o *store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(t.TempDir(), o)
	if errors.Is(err, errors.ErrUnsupported) {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return db
}

// start serves db on a free port until the test ends.
func start(t testing.TB, db Store, o Options) (srv *Server, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv = New(db, o)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return srv, l.Addr().String()
}

// A testClock stands until it is set on. It begins at 1,000,000 seconds.
type testClock struct{ millis atomic.Int64 }

func newTestClock() *testClock {
	c := new(testClock)
	c.millis.Store(1_000_000_000)
	return c
}

func (c *testClock) Now() time.Time      { return time.UnixMilli(c.millis.Load()) }
func (c *testClock) Add(d time.Duration) { c.millis.Add(d.Milliseconds()) }

func dial(t testing.TB, addr string) *resptest.Conn {
	t.Helper()
	c, err := resptest.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(2 * time.Minute)) // ends what hangs, and decides nothing else
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t testing.TB, c *resptest.Conn, args ...string) resptest.Reply {
	t.Helper()
	r, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return r
}

// TestTranscripts plays testdata/resp on one connection for each file, which is
// opened again after the server has closed it.
//
//	send   sends each line of the input as an inline command, in one pipeline
//	raw    sends each line, a quoted Go string, as it is
//	clock  goes on by a time, which no other step takes
//
// The output is one reply a line.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/resp", func(t *testing.T, path string) {
		clock := newTestClock()
		db := openStoreWith(t, &store.Options{MemoryBudget: 64 << 20, Clock: clock.Now})
		_, addr := start(t, db, Options{})
		var c *resptest.Conn
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "clock" {
				step, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				clock.Add(step)
				return ""
			}
			if c == nil {
				c = dial(t, addr)
			}
			for line := range strings.Lines(d.Input + "\n") {
				if d.Cmd == "send" {
					c.SendRaw(strings.TrimSuffix(line, "\n") + "\r\n")
					continue
				}
				raw, err := strconv.Unquote(strings.TrimSpace(line))
				if err != nil {
					d.Fatalf(t, "%s: %v", line, err)
				}
				c.SendRaw(raw)
			}
			const end = "end of the transcript's step"
			c.Send("ECHO", end)
			if err := c.Flush(); err != nil {
				d.Fatalf(t, "%v", err)
			}
			var out strings.Builder
			for {
				r, err := c.Receive()
				if err == io.EOF {
					c = nil
					return out.String() + "(closed)\n"
				}
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				if r.Str == end {
					return out.String()
				}
				fmt.Fprintln(&out, r)
			}
		})
	})
}

// TestRedisCLI plays testdata/cli: the input goes to redis-cli with the
// arguments given, the output is what it prints.
func TestRedisCLI(t *testing.T) {
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	datadriven.Walk(t, "testdata/cli", func(t *testing.T, path string) {
		_, addr := start(t, openStore(t), Options{})
		_, port, _ := net.SplitHostPort(addr)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			args := []string{"-p", port}
			for _, a := range d.CmdArgs {
				args = append(args, a.String())
			}
			cmd := exec.Command(cli, args...)
			cmd.Stdin = strings.NewReader(d.Input + "\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				return string(out) + err.Error() + "\n"
			}
			return string(out)
		})
	})
}

// A faulty is a store whose waits and writes a test can watch and fail.
type faulty struct {
	*store.DB
	onApply   func() error // called before the write; nil = no error
	onDurable func(store.LSN) error
	onWritten func(store.LSN) error
}

func (f *faulty) ApplyContext(ctx context.Context, b *store.Batch, d store.Durability) (store.LSN, error) {
	if d != store.Deferred {
		return 0, fmt.Errorf("applied with durability %v", d)
	}
	if f.onApply != nil {
		if err := f.onApply(); err != nil {
			return 0, err
		}
	}
	return f.DB.ApplyContext(ctx, b, d)
}

func (f *faulty) WaitDurable(ctx context.Context, lsn store.LSN) error {
	if f.onDurable != nil {
		if err := f.onDurable(lsn); err != nil {
			return err
		}
	}
	return f.DB.WaitDurable(ctx, lsn)
}

func (f *faulty) WaitWritten(lsn store.LSN) error {
	if f.onWritten != nil {
		if err := f.onWritten(lsn); err != nil {
			return err
		}
	}
	return f.DB.WaitWritten(lsn)
}

// A watched connection counts what the server does to it.
type watched struct {
	net.Conn
	writes   atomic.Int64
	longest  atomic.Int64
	deadline chan struct{} // closed by the first SetReadDeadline
	once     sync.Once
}

func (w *watched) Write(p []byte) (int, error) {
	w.writes.Add(1)
	w.longest.Store(max(w.longest.Load(), int64(len(p))))
	return w.Conn.Write(p)
}

func (w *watched) SetReadDeadline(t time.Time) error {
	w.once.Do(func() { close(w.deadline) })
	return w.Conn.SetReadDeadline(t)
}

// pipe connects a client to srv by a net.Pipe: what the client writes at once
// the server reads at once, if it fits its buffer.
func pipe(t testing.TB, srv *Server) (*resptest.Conn, *watched) {
	client, end := net.Pipe()
	t.Cleanup(func() { client.Close() })
	w := &watched{Conn: end, deadline: make(chan struct{})}
	srv.admit(w)
	return resptest.NewConn(client), w
}

// TestOneWaitForAPipeline sends writes in one pipeline and checks that the
// server waits for the log once, for the newest of them, before it writes a
// byte, and with the wait that the durability asks for.
func TestOneWaitForAPipeline(t *testing.T) {
	for _, fsync := range []Fsync{FsyncAlways, FsyncEverysec, FsyncNo} {
		t.Run(fsync.String(), func(t *testing.T) {
			db := &faulty{DB: openStore(t)}
			srv := New(db, Options{Fsync: fsync})
			defer srv.Shutdown(context.Background())
			c, w := pipe(t, srv)

			var durable, written []store.LSN
			note := func(lsns *[]store.LSN) func(store.LSN) error {
				return func(lsn store.LSN) error {
					if n := w.writes.Load(); n > 0 {
						t.Errorf("%d writes before the wait", n)
					}
					if newest := db.LSN(); lsn != newest {
						t.Errorf("wait for LSN %d, want %d", lsn, newest)
					}
					*lsns = append(*lsns, lsn)
					return nil
				}
			}
			db.onDurable, db.onWritten = note(&durable), note(&written)
			for i := range 10 {
				c.Send("SET", fmt.Sprint("key", i), "value")
				c.Send("GET", fmt.Sprint("key", i))
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				expect(t, c, "+OK")
				expect(t, c, `"value"`)
			}
			got, other := durable, written
			if fsync != FsyncAlways {
				got, other = written, durable
			}
			if len(got) != 1 || len(other) != 0 || w.writes.Load() != 1 {
				t.Errorf("%d waits, %d of the wrong kind, %d writes; want 1, 0, 1", len(got), len(other), w.writes.Load())
			}
		})
	}
}

func expect(t testing.TB, c *resptest.Conn, want string) {
	t.Helper()
	r, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != want {
		t.Fatalf("reply %v, want %s", r, want)
	}
}

func expectEnd(t testing.TB, c *resptest.Conn) {
	t.Helper()
	if r, err := c.Receive(); err != io.EOF {
		t.Fatalf("reply %v, %v, want the end of the connection", r, err)
	}
}

// TestFailedWait fails the wait for the log: the client must get one error and
// the end of the connection, whatever commands it mixed.
func TestFailedWait(t *testing.T) {
	stopped := fmt.Errorf("%w: write the log: no space left on device", store.ErrStopped)
	for _, fsync := range []Fsync{FsyncAlways, FsyncEverysec, FsyncNo} {
		t.Run(fsync.String(), func(t *testing.T) {
			fail := func(store.LSN) error { return stopped }
			db := &faulty{DB: openStore(t), onDurable: fail, onWritten: fail}
			if err := db.Put([]byte("c"), nil, store.Deferred); err != nil {
				t.Fatal(err)
			}
			srv := New(db, Options{Fsync: fsync})
			defer srv.Shutdown(context.Background())
			for _, pipeline := range [][]string{{"KV.DELRANGE - +"}, {"SET a 1"}, {"PING", "SET a 1", "GET a", "SET b 2"}, {"SET a 1", "QUIT"}} {
				c, _ := pipe(t, srv)
				c.SendRaw(strings.Join(pipeline, "\r\n") + "\r\n")
				if err := c.Flush(); err != nil {
					t.Fatal(err)
				}
				expect(t, c, "-MISCONF "+stopped.Error())
				expectEnd(t, c)
			}
		})
	}
}

// TestRefusedWrite lets the store refuse one write of a pipeline, and fails the wait
// for the writes around it. The client must learn which write was not made, or it could
// not tell it from those that are in doubt.
func TestRefusedWrite(t *testing.T) {
	full := fmt.Errorf("%w on the disk", store.ErrNoSpace)
	stopped := fmt.Errorf("%w: write the log: no space left on device", store.ErrStopped)
	db := &faulty{DB: openStore(t)}
	srv := New(db, Options{})
	defer srv.Shutdown(context.Background())
	applied, refused := 0, false
	db.onApply = func() error {
		if applied++; applied == 2 {
			return full
		}
		return nil
	}
	db.onDurable = func(store.LSN) error {
		if refused {
			return stopped
		}
		refused = true // the first wait is that of the refusal
		return nil
	}
	c, _ := pipe(t, srv)
	c.SendRaw("SET a 1\r\nMSET b 2 c 3\r\nSET d 4\r\nDEL a\r\n")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "+OK")
	expect(t, c, "-MISCONF "+full.Error())
	expect(t, c, "-MISCONF "+stopped.Error())
	expectEnd(t, c)
	if applied != 4 {
		t.Errorf("%d writes came to the store, want 4", applied)
	}
}

// TestStopped lets the store refuse writes: they answer -MISCONF with the cause,
// and the connection goes on to read.
func TestStopped(t *testing.T) {
	db := &faulty{DB: openStore(t)}
	_, addr := start(t, db, Options{})
	c := dial(t, addr)
	do(t, c, "SET", "a", "1")

	stopped := fmt.Errorf("%w: sync the log: input/output error", store.ErrStopped)
	db.onApply = func() error { return stopped }
	db.onDurable = func(store.LSN) error { return stopped }
	for _, step := range []struct{ send, want string }{
		{"SET a 2", "-MISCONF " + stopped.Error()},
		{"GET a", `"1"`},
		{"DEL a", "-MISCONF " + stopped.Error()},
		{"MSET a 2", "-MISCONF " + stopped.Error()},
		{"EXISTS a", ":1"},
		{"DBSIZE", ":1"},
	} {
		c.SendRaw(step.send + "\r\n")
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, step.want)
	}
}

// TestStoppedAfterWrite stops the store after a write of the pipeline, whose
// record is durable all the same: its reply may be sent.
func TestStoppedAfterWrite(t *testing.T) {
	db := &faulty{DB: openStore(t)}
	waits := 0
	db.onDurable = func(store.LSN) error {
		if waits++; waits == 1 {
			return store.ErrStopped // the newest write of all
		}
		return nil // ours
	}
	srv := New(db, Options{})
	defer srv.Shutdown(context.Background())
	c, _ := pipe(t, srv)
	c.SendRaw("SET a 1\r\nGET a\r\n")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "+OK")
	expect(t, c, `"1"`)
}

// TestLongReplies asks for more than the reply buffer holds, in one command and
// in many: no single write may be much longer than it.
func TestLongReplies(t *testing.T) {
	srv := New(openStore(t), Options{})
	defer srv.Shutdown(context.Background())
	c, w := pipe(t, srv)
	value := strings.Repeat("v", 3000)
	do(t, c, "SET", "a", value)

	const n = 200
	go func() {
		c.Send(append([]string{"MGET"}, strings.Fields(strings.Repeat("a ", n))...)...)
		for range n {
			c.Send("GET", "a")
		}
		c.Flush()
	}()
	r, err := c.Receive()
	if err != nil || len(r.Array) != n || r.Array[n-1].Str != value {
		t.Fatalf("MGET: %d values, %v", len(r.Array), err)
	}
	for range n {
		if r, err := c.Receive(); err != nil || r.Str != value {
			t.Fatalf("GET: %d bytes, %v", len(r.Str), err)
		}
	}
	if got := w.longest.Load(); got > flushBytes+4000 {
		t.Errorf("one write of %d bytes", got)
	}
}

// TestMaxClients opens one connection too many, and again after one has gone.
func TestMaxClients(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{MaxClients: 2})
	a, b := dial(t, addr), dial(t, addr)
	do(t, a, "PING")
	do(t, b, "PING")
	c := dial(t, addr)
	expect(t, c, "-ERR max number of clients reached")
	expectEnd(t, c)

	do(t, a, "QUIT")
	expectEnd(t, a)
	// The server has closed a's socket, but may not have counted it out yet.
	for srv.openCount() > 1 {
		runtime.Gosched()
	}
	do(t, dial(t, addr), "PING")
}

// TestMostClients sets maxclients to what there are descriptors for, and to one more.
func TestMostClients(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{MaxClients: 2, MostClients: 3})
	c := dial(t, addr)
	do(t, c, "CONFIG", "SET", "maxclients", "3")
	c.Send("CONFIG", "SET", "maxclients", "4")
	c.Flush()
	expect(t, c, "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - "+
		"The operating system is not able to handle the specified number of clients, try with 3")
	if got := srv.Stats().MaxClients; got != 3 {
		t.Errorf("Stats has %d clients at most, want 3", got)
	}
}

// TestDrain calls Shutdown while a pipeline runs: all of it must be answered,
// and the connection end after it.
func TestDrain(t *testing.T) {
	db := &faulty{DB: openStore(t)}
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	db.onApply = func() error {
		once.Do(func() {
			close(entered)
			<-release
		})
		return nil
	}
	srv := New(db, Options{})
	c, w := pipe(t, srv)
	for i := range 20 {
		c.Send("SET", fmt.Sprint("key", i), "value")
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	<-entered
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	<-w.deadline
	close(release)
	for range 20 {
		expect(t, c, "+OK")
	}
	expectEnd(t, c)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := db.Len(); n != 20 {
		t.Errorf("%d keys, want 20", n)
	}

	late, _ := pipe(t, srv)
	expectEnd(t, late)
}

// TestDrainBound calls Shutdown with an ended context while one client does not
// read its reply and another is idle: both must be cut off.
func TestDrainBound(t *testing.T) {
	srv := New(openStore(t), Options{})
	idle, _ := pipe(t, srv)
	do(t, idle, "PING")
	deaf, _ := pipe(t, srv)
	deaf.Send("PING")
	if err := deaf.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := srv.Shutdown(ctx); err != nil && err != context.Canceled {
		t.Errorf("Shutdown: %v", err)
	}
	expectEnd(t, idle)
}

// TestHalfClosed has clients send a command and end their side at once: most often both are
// there when the server reads, and nothing comes after. They get their reply and the end.
func TestHalfClosed(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	for range 300 {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(10 * time.Second)) // of a test that fails
		_, err = nc.Write([]byte("PING\r\n"))
		err = errors.Join(err, nc.(*net.TCPConn).CloseWrite())
		reply, readErr := io.ReadAll(nc)
		nc.Close()
		if err := errors.Join(err, readErr); err != nil || string(reply) != "+PONG\r\n" {
			t.Fatalf("%q, %v", reply, err)
		}
	}
}

// TestShutdownCommand checks that SHUTDOWN asks, answers nothing, and that a
// wrong one does not ask.
func TestShutdownCommand(t *testing.T) {
	srv, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	if _, err := c.Do("SHUTDOWN", "LATER"); err == nil {
		t.Error("SHUTDOWN LATER: no error")
	}
	select {
	case <-srv.ShutdownAsked():
		t.Fatal("SHUTDOWN LATER asked")
	default:
	}
	c.SendRaw("SET a 1\r\nSHUTDOWN NOSAVE\r\n")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "+OK")
	expectEnd(t, c)
	<-srv.ShutdownAsked()
	srv.askShutdown() // a second one must not panic
}

// TestConcurrentClients writes and reads from several connections, each in its
// own keys: every reply must be that connection's.
func TestConcurrentClients(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	var clients sync.WaitGroup
	for id := range 8 {
		c := dial(t, addr)
		clients.Go(func() {
			for i := range 100 {
				key, value := fmt.Sprintf("client%d/%d", id, i%10), fmt.Sprint(i)
				c.Send("SET", key, value)
				c.Send("GET", key)
				c.Send("DEL", key, key)
				if err := c.Flush(); err != nil {
					t.Error(err)
					return
				}
				for _, want := range []string{"+OK", strconv.Quote(value), ":1"} {
					if r, err := c.Receive(); err != nil || r.String() != want {
						t.Errorf("%s: reply %v, %v, want %s", key, r, err, want)
						return
					}
				}
			}
		})
	}
	clients.Wait()
}

// TestCommandTable checks what the table promises: names that dispatch can find,
// and a handler behind each.
func TestCommandTable(t *testing.T) {
	table := newTable()
	for full, cmd := range table.all {
		if len(full) > maxNameBytes || full != strings.ToLower(full) {
			t.Errorf("%s: cannot be found", full)
		}
		if cmd.summary == "" || cmd.since == "" || cmd.group == "" || cmd.arity == 0 {
			t.Errorf("%s: incomplete", full)
		}
		if cmd.run == nil && (cmd.subs == nil || cmd.takes(1)) {
			t.Errorf("%s: no handler", full)
		}
		var args [][]byte
		for _, word := range strings.Split(strings.ToUpper(full), "|") {
			args = append(args, []byte(word))
		}
		if got := table.find(args); got != cmd {
			t.Errorf("%q finds %v", args, got)
		}
	}
	for _, args := range [][]string{{""}, {"gett"}, {"config|get"}, {"config", ""}, {"config", "get|"},
		{strings.Repeat("x", 1000)}, {"config", strings.Repeat("x", 1000)}, {"config", strings.Repeat("x", maxNameBytes-7)}} {
		var b [][]byte
		for _, a := range args {
			b = append(b, []byte(a))
		}
		if got := table.find(b); got != nil {
			t.Errorf("%q finds %s", args, got.full)
		}
	}
}

// TestProtocolLimits checks that the server's limits reach the codec.
func TestProtocolLimits(t *testing.T) {
	lim := resp.DefaultLimits
	lim.BulkBytes = 10
	_, addr := start(t, openStore(t), Options{Limits: lim})
	c := dial(t, addr)
	c.SendRaw("*2\r\n$4\r\nECHO\r\n$11\r\n")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "-ERR Protocol error: invalid bulk length")
	expectEnd(t, c)
}

// TestLimits checks the errors about sizes, and that what just fits is taken.
func TestLimits(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	longest := strings.Repeat("k", store.MaxKeyBytes)
	long := strings.Repeat("v", 3*store.MaxEntryBytes)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"SET", longest, "v"}, "+OK"},
		{[]string{"SET", longest + "k", "v"}, "-ERR key of 1025 bytes: too large: the limit is 1024"},
		{[]string{"DEL", longest + "k"}, "-ERR key of 1025 bytes: too large: the limit is 1024"},
		{[]string{"GET", longest + "k"}, "nil"},
		{[]string{"EXISTS", longest, longest + "k"}, ":1"},
		{[]string{"SET", "k", strings.Repeat("v", store.MaxEntryBytes-1)}, "+OK"},
		{[]string{"MSET", "a", "1", "k", long}, "+OK"},
		{[]string{"EXISTS", "a", "k"}, ":2"},
		{[]string{"MSET", "b", "1", longest + "k", "v"}, "-ERR key of 1025 bytes: too large: the limit is 1024"},
		{[]string{"EXISTS", "b"}, ":0"},
	} {
		c.Send(tc.args...)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, tc.want)
	}
}

// TestInfo checks that every section is there, with its lines in order, and that
// the store's numbers have names.
func TestInfo(t *testing.T) {
	_, addr := start(t, openStore(t), Options{Version: "v1"})
	c := dial(t, addr)
	info := do(t, c, "INFO", "ALL").Str
	for _, sec := range sections {
		if !strings.Contains(info, "# "+sec.name+"\r\n") {
			t.Errorf("no section %s", sec.name)
		}
	}
	for _, line := range []string{"kvd_version:v1", "connected_clients:1", "loading:0", "store_keys:0", "store_log_appends:0"} {
		if !strings.Contains(info, line+"\r\n") {
			t.Errorf("no line %s in\n%s", line, info)
		}
	}
}

// TestInfoMergesNothing has a store that is larger than its memory, with writes that are
// kept beside leaves. INFO must leave them there, and DBSIZE count them.
func TestInfoMergesNothing(t *testing.T) {
	db := openStoreIn(t, store.MinMemoryBudget)
	const keys, more = 30_000, 100
	value := []byte(strings.Repeat("v", 400))
	put := func(n int, key string) {
		t.Helper()
		if err := db.Put(fmt.Appendf(nil, "%06d%s", n, key), value, store.Deferred); err != nil {
			t.Fatal(err)
		}
	}
	for n := range keys {
		put(n, "")
	}
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range more {
		put(n*keys/more, "new")
	}
	before := db.Metrics()
	_, addr := start(t, db, Options{})
	c := dial(t, addr)
	info := do(t, c, "INFO").Str
	if line := fmt.Sprintf("db0:keys=%d,", before.Keys); !strings.Contains(info, line) {
		t.Errorf("no %s in\n%s", line, info)
	}
	if after := db.Metrics(); before.Keys == keys+more || after.Changes != before.Changes {
		t.Errorf("%d keys, %+v before INFO, %d, %+v after", before.Keys, before.Changes, after.Keys, after.Changes)
	}
	if n := do(t, c, "DBSIZE").Int; n != keys+more {
		t.Errorf("DBSIZE %d, want %d", n, keys+more)
	}
}

// TestSnake checks how INFO names the fields of store.Metrics.
func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"Keys": "keys", "LogBytes": "log_bytes", "LSN": "lsn", "CutLSN": "cut_lsn", "WALBytes": "wal_bytes", "P99": "p99",
	} {
		if got := snake(in); got != want {
			t.Errorf("snake(%s) = %s, want %s", in, got, want)
		}
	}
}
