// Package integration runs the built kvd against a real kernel and a real file
// system, as its users do.
package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"faultline/integration/internal/rig"
	"faultline/internal/campaign"
	"faultline/server/resp/resptest"
)

// watchdog ends what hangs. It decides nothing else.
const watchdog = time.Minute

// kvdPath is the binary under test.
var kvdPath string

func TestMain(m *testing.M) { os.Exit(rig.Main(m, &kvdPath)) }

// A kvd is a running server.
type kvd struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string

	lines  chan string // of the log; closed at its end
	mu     sync.Mutex
	log    bytes.Buffer
	exited bool
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// startKvd starts kvd serve on dir and returns when it listens.
func startKvd(t *testing.T, dir string, procs int, flags ...string) *kvd {
	t.Helper()
	args := append([]string{"serve", "--dir", dir, "--listen", "127.0.0.1:0", "--memory", "256MiB"}, flags...)
	cmd := exec.Command(kvdPath, args...)
	cmd.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", procs))
	k := run(t, cmd)
	k.addr = k.waitLog(listening)[1]
	return k
}

// run starts a command that is kvd, or becomes it, and ends it with the test.
func run(t *testing.T, cmd *exec.Cmd) *kvd {
	t.Helper()
	k := &kvd{t: t, cmd: cmd, lines: make(chan string, 1000)}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go k.readLog(stderr)
	t.Cleanup(func() {
		if !k.exited {
			k.cmd.Process.Kill() // too late if it has died of itself: its state tells
			for range k.lines {  // all that it has said, a crash dump too
			}
			k.cmd.Wait()
		}
		if t.Failed() {
			k.mu.Lock()
			defer k.mu.Unlock()
			t.Logf("%s: %v; its log:\n%s", strings.Join(cmd.Args, " "), k.cmd.ProcessState, k.log.Bytes())
		}
	})
	return k
}

// readLog keeps the log and passes its lines on, to whoever waits for one.
func (k *kvd) readLog(r io.Reader) {
	defer close(k.lines)
	for s := bufio.NewScanner(r); s.Scan(); {
		k.mu.Lock()
		fmt.Fprintln(&k.log, s.Text())
		k.mu.Unlock()
		select {
		case k.lines <- s.Text():
		default: // nobody waits for so many
		}
	}
}

// waitLog waits for a line of the log and returns its match.
func (k *kvd) waitLog(re *regexp.Regexp) []string {
	k.t.Helper()
	for {
		select {
		case line, ok := <-k.lines:
			if m := re.FindStringSubmatch(line); m != nil {
				return m
			}
			if !ok {
				k.t.Fatalf("kvd ended without the line %v", re)
			}
		case <-time.After(watchdog):
			k.t.Fatalf("no line %v", re)
		}
	}
}

// wait waits for the end of the process and returns its exit status, -1 if a
// signal ended it.
func (k *kvd) wait() int {
	k.t.Helper()
	timer := time.AfterFunc(watchdog, func() { k.cmd.Process.Signal(syscall.SIGABRT) })
	defer timer.Stop()
	for range k.lines { // Wait closes the pipe, so that all must be read
	}
	err := k.cmd.Wait()
	k.exited = true
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		k.t.Fatal(err)
	}
	return k.cmd.ProcessState.ExitCode()
}

func (k *kvd) signal(sig syscall.Signal) {
	k.t.Helper()
	if err := k.cmd.Process.Signal(sig); err != nil {
		k.t.Fatal(err)
	}
}

// kill ends the process as the kernel does when memory runs out.
func (k *kvd) kill() {
	k.t.Helper()
	k.signal(syscall.SIGKILL)
	if status := k.wait(); status != -1 {
		k.t.Fatalf("killed, exit status %d", status)
	}
}

// stop ends it in order.
func (k *kvd) stop() {
	k.t.Helper()
	k.signal(syscall.SIGTERM)
	if status := k.wait(); status != 0 {
		k.t.Fatalf("SIGTERM: exit status %d", status)
	}
}

func (k *kvd) dial() *resptest.Conn {
	k.t.Helper()
	c, err := resptest.Dial(k.addr)
	if err != nil {
		k.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(watchdog))
	k.t.Cleanup(func() { c.Close() })
	return c
}

func (k *kvd) port() string { return k.addr[strings.LastIndexByte(k.addr, ':')+1:] }

// info returns numbers of the section Store of INFO.
func (k *kvd) info(names ...string) map[string]int {
	k.t.Helper()
	c := k.dial()
	defer c.Close()
	r, err := c.Do("INFO", "store")
	if err != nil {
		k.t.Fatal(err)
	}
	numbers := map[string]int{}
	for _, name := range names {
		m := regexp.MustCompile(`(?m)^` + name + `:(\d+)\r$`).FindStringSubmatch(r.Str)
		if m == nil {
			k.t.Fatalf("INFO has no %s:\n%s", name, r.Str)
		}
		if numbers[name], err = strconv.Atoi(m[1]); err != nil {
			k.t.Fatal(err)
		}
	}
	return numbers
}

// check runs kvd check and returns its output.
func check(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	args := append([]string{"check", "--memory", "256MiB"}, flags...)
	out, err := exec.Command(kvdPath, append(args, dir)...).CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\nok\n") {
		t.Fatalf("kvd check: %v\n%s", err, out)
	}
	return string(out)
}

// scan calls see with all keys by SCAN, as they come, and returns how many there are.
func (k *kvd) scan(c *resptest.Conn, see func(keys []string)) (n int) {
	k.t.Helper()
	for cursor := "0"; ; {
		r, err := c.Do("SCAN", cursor, "COUNT", "1000")
		if err != nil {
			k.t.Fatal(err)
		}
		var keys []string
		for _, key := range r.Array[1].Array {
			keys = append(keys, key.Str)
		}
		n += len(keys)
		see(keys)
		if cursor = r.Array[0].Str; cursor == "0" {
			break
		}
	}
	r, err := c.Do("DBSIZE")
	if err != nil || r.Int != int64(n) {
		k.t.Fatalf("DBSIZE %d, %v, but SCAN gave %d keys", r.Int, err, n)
	}
	return n
}

// keys returns all keys, as they come.
func (k *kvd) keys() (all []string) {
	k.t.Helper()
	c := k.dial()
	defer c.Close()
	k.scan(c, func(keys []string) { all = append(all, keys...) })
	return all
}

// contents returns all keys with their values.
func (k *kvd) contents() map[string]string {
	k.t.Helper()
	c := k.dial()
	defer c.Close()
	all := make(map[string]string)
	n := k.scan(c, func(keys []string) {
		if len(keys) == 0 {
			return
		}
		r, err := c.Do(append([]string{"MGET"}, keys...)...)
		if err != nil {
			k.t.Fatal(err)
		}
		for i, key := range keys {
			if r.Array[i].Kind != '$' || r.Array[i].Null {
				k.t.Fatalf("value of %q: %v", key, r.Array[i])
			}
			all[key] = r.Array[i].Str
		}
	})
	if n != len(all) {
		k.t.Fatalf("SCAN gave %d keys, %d of them different", n, len(all))
	}
	return all
}

// A write is one key of a command: a value, or a deletion; or a key that is read.
type write struct {
	key, value string
	del, get   bool
}

// A command of a client: SET, MSET, DEL, or GET. It is atomic.
type command []write

func (c command) args() []string {
	name := "SET"
	switch {
	case c[0].del:
		name = "DEL"
	case c[0].get:
		name = "GET"
	case len(c) > 1:
		name = "MSET"
	}
	args := []string{name}
	for _, w := range c {
		args = append(args, w.key)
		if !w.del && !w.get {
			args = append(args, w.value)
		}
	}
	return args
}

func (c command) apply(m map[string]string) {
	for _, w := range c {
		switch {
		case w.del:
			delete(m, w.key)
		case !w.get:
			m[w.key] = w.value
		}
	}
}

// judge compares a reply with what m says that it must be.
func (c command) judge(r resptest.Reply, m map[string]string) error {
	key := c[0].key
	value, found := m[key]
	switch {
	case c[0].get && (r.Kind != '$' || r.Null == found || r.Str != value):
		return fmt.Errorf("GET %.12s... gave %.40q (%d bytes, there: %t), want %.40q (%d bytes)",
			key, r.Str, len(r.Str), !r.Null, value, len(value))
	case c[0].del && (r.Kind != ':' || r.Int != c.present(m)):
		return fmt.Errorf("DEL of %d keys from %.12s... gave %v, want %d", len(c), key, r, c.present(m))
	}
	return nil
}

// present is how many of the keys are in m.
func (c command) present(m map[string]string) int64 {
	there := map[string]bool{}
	for _, w := range c {
		if _, ok := m[w.key]; ok {
			there[w.key] = true
		}
	}
	return int64(len(there))
}

// A client writes its own keys and knows what must be there: all that was
// acknowledged, and perhaps the first of what was sent after that.
type client struct {
	shape
	id     int
	rng    *rand.Rand
	seq    int // makes every value unlike any other
	acked  map[string]string
	flight []command // sent and not answered, in order
}

// A shape says what the data of a client are like.
type shape struct {
	keys       int // that it has
	valueBytes int // at most
	longBytes  int // at most of a value now and then; 0: there is none
	reads      bool
}

// longEvery is how many values there are for a long one, if any is.
const longEvery = 60

// fewKeys is all in memory.
var fewKeys = shape{keys: 150, valueBytes: 1500}

const pipelineDepth = 32

func newClients(n int, s shape, rng *rand.Rand) []*client {
	clients := make([]*client, n)
	for id := range clients {
		clients[id] = &client{
			shape: s,
			id:    id,
			rng:   rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())),
			acked: make(map[string]string),
		}
	}
	return clients
}

// key is one of the client's.
func (c *client) key() string { return c.keyOf(c.rng.IntN(c.keys)) }

// keyOf is its key of number n. Some are long, so that inner nodes split too.
func (c *client) keyOf(n int) string {
	return fmt.Sprintf("c%d/%03d", c.id, n) + strings.Repeat("k", n%7*n%400)
}

func (c *client) write() write { return write{key: c.key(), value: c.value()} }

// value is one that no key had before.
func (c *client) value() string {
	c.seq++
	bytes := c.valueBytes
	if c.longBytes > 0 && c.rng.IntN(longEvery) == 0 {
		bytes = c.longBytes
	}
	return fmt.Sprintf("%d.%d.", c.id, c.seq) + strings.Repeat("v", c.rng.IntN(bytes))
}

func (c *client) command() command {
	if c.reads && c.rng.IntN(4) == 0 {
		return command{{key: c.key(), get: true}}
	}
	switch c.rng.IntN(10) {
	case 0, 1, 2:
		return command{{key: c.key(), del: true}}
	case 3:
		return command{{key: c.key(), del: true}, {key: c.key(), del: true}}
	case 4:
		return command{c.write(), c.write(), c.write()}
	}
	return command{c.write()}
}

// load sends pipelines until the connection ends, and calls acked after each
// that was answered. Its error is how the connection ended, or a reply that is
// none of success.
func (c *client) load(conn *resptest.Conn, acked func()) error {
	for {
		for range 1 + c.rng.IntN(pipelineDepth) {
			cmd := c.command()
			c.flight = append(c.flight, cmd)
			conn.Send(cmd.args()...)
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		for len(c.flight) > 0 {
			r, err := conn.Receive()
			if err != nil {
				return err
			}
			if err := r.Err(); err != nil {
				return err
			}
			if err := c.answered(r); err != nil {
				return err
			}
		}
		acked()
	}
}

// answered takes the reply to the first command in flight.
func (c *client) answered(r resptest.Reply) error {
	if err := c.flight[0].judge(r, c.acked); err != nil {
		return fmt.Errorf("%w: client %d: %w", errWrongReply, c.id, err)
	}
	c.flight[0].apply(c.acked)
	c.flight = c.flight[1:]
	return nil
}

var errWrongReply = errors.New("wrong reply")

// verify takes from all the client's keys and compares: what is there must be
// what was acknowledged and then the first n commands in flight, for some n. The
// server executes a connection's commands in order, so no others will do.
func (c *client) verify(all map[string]string) error {
	mine, prefix := make(map[string]string), fmt.Sprintf("c%d/", c.id)
	for key, value := range all {
		if strings.HasPrefix(key, prefix) {
			mine[key] = value
			delete(all, key)
		}
	}
	want := maps.Clone(c.acked)
	for n := 0; ; n++ {
		if maps.Equal(mine, want) {
			c.acked, c.flight = want, nil
			return nil
		}
		if n == len(c.flight) {
			return fmt.Errorf("client %d, %d commands in flight: %s", c.id, n, c.difference(mine))
		}
		c.flight[n].apply(want)
	}
}

// difference shows how mine is not what was acknowledged.
func (c *client) difference(mine map[string]string) string {
	short := func(m map[string]string, key string) string {
		value, ok := m[key]
		if !ok {
			return "nothing"
		}
		return fmt.Sprintf("%.20q (%d bytes)", value, len(value))
	}
	keys := maps.Clone(mine)
	maps.Copy(keys, c.acked)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if got, want := short(mine, key), short(c.acked, key); got != want {
			fmt.Fprintf(&b, "\n\t%.12s... has %s, acknowledged %s", key, got, want)
		}
	}
	for i, cmd := range c.flight {
		for _, w := range cmd {
			fmt.Fprintf(&b, "\n\tflight %d: %.12s... delete %t %.20q (%d bytes)", i, w.key, w.del, w.value, len(w.value))
		}
	}
	return b.String()
}

// verifyAll compares a server's contents with what all clients know. What is
// left over was never written.
func verifyAll(t *testing.T, k *kvd, clients []*client) {
	t.Helper()
	all := k.contents()
	for _, c := range clients {
		if err := c.verify(all); err != nil {
			t.Error(err)
		}
	}
	for key, value := range all {
		t.Errorf("never written: %q = %.40q", key, value)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// underLoad runs the clients against k, and calls end once as many pipelines
// have been answered as atAcks says, while the load goes on. It returns when
// every client has lost its connection; before end that is an error.
func underLoad(t *testing.T, k *kvd, clients []*client, atAcks int64, end func(ending func())) {
	t.Helper()
	var (
		acks    atomic.Int64
		ended   atomic.Bool
		reached = make(chan struct{})
		done    sync.WaitGroup
	)
	for _, c := range clients {
		conn := k.dial()
		done.Go(func() {
			defer conn.Close()
			err := c.load(conn, func() {
				if acks.Add(1) == atAcks {
					close(reached)
				}
			})
			if !ended.Load() || strings.HasPrefix(err.Error(), "reply:") || errors.Is(err, errWrongReply) {
				t.Errorf("client %d: %v", c.id, err)
			}
		})
	}
	lost := make(chan struct{})
	go func() {
		done.Wait()
		close(lost)
	}()
	select {
	case <-reached:
		end(func() { ended.Store(true) })
	case <-lost:
		t.Errorf("no client is left, %d of %d pipelines answered", acks.Load(), atAcks)
	case <-time.After(watchdog):
		t.Errorf("%d of %d pipelines answered", acks.Load(), atAcks)
		ended.Store(true)
		k.cmd.Process.Signal(syscall.SIGABRT)
	}
	<-lost
	if t.Failed() {
		t.FailNow()
	}
}

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(campaign.Seed(t), 0))
}

// TestKill kills kvd with SIGKILL at a random moment of a random load, again and
// again on the same store. After each restart every acknowledged write must be
// there, of the writes in flight a first part, and nothing else. The closed
// store must pass kvd check, before recovery too.
//
// A variant with small budgets makes flush rounds under load, so that some kills
// fall into them.
func TestKill(t *testing.T) {
	small := []string{"--dirty-budget", "1MiB", "--log-bytes", "256KiB"}
	variants := []struct {
		name  string
		procs int
		flags []string
		small bool
		traps bool
	}{
		{name: "plain/P=1", procs: 1},
		{name: "plain/P=4", procs: 4},
		{name: "async/P=1", procs: 1, flags: []string{"--appendfsync", "no"}},
		{name: "small/P=1", procs: 1, small: true},
		{name: "small/P=4", procs: 4, small: true},
		{name: "small-async/P=1", procs: 1, small: true, flags: []string{"--appendfsync", "no"}},
		{name: "small-async/P=4", procs: 4, small: true, flags: []string{"--appendfsync", "no"}},
		{name: "trap/P=4", procs: 4, traps: true},
		{name: "small-trap/P=1", procs: 1, small: true, traps: true},
		{name: "small-trap-async/P=4", procs: 4, small: true, traps: true, flags: []string{"--appendfsync", "no"}},
	}
	rounds := campaign.Scale(t, 100)
	for i, v := range variants {
		n := share(rounds, i, len(variants))
		if n == 0 {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			flags := slices.Clone(v.flags)
			if v.small {
				flags = append(flags, small...)
			}
			if v.traps {
				flags = append(flags, "--trap-only")
			}
			dir, rng := t.TempDir(), newRand(t)
			clients := newClients(2+rng.IntN(4), fewKeys, rng)
			did := killLoop(t, dir, v.procs, flags, clients, n, 1, 400, rng,
				"store_flush_rounds", "store_pages_mkwrite_traps", "store_pages_mkwrite_prepared")
			flushes, traps, prepared := did["store_flush_rounds"], did["store_pages_mkwrite_traps"], did["store_pages_mkwrite_prepared"]
			t.Logf("%d rounds, %d clients; before the kills %d flush rounds, %d mkwrites by trap, %d prepared",
				n, len(clients), flushes, traps, prepared)
			if v.small && flushes <= n {
				t.Errorf("%d flush rounds in %d rounds: the load did not meet them", flushes, n)
			}
			if v.traps && (traps == 0 || prepared > 0) {
				t.Errorf("--trap-only: %d mkwrites by trap, %d prepared", traps, prepared)
			}
		})
	}
}

// share is the part of n that the i-th of parts has.
func share(n, i, parts int) int { return (n + parts - i - 1) / parts }

// killLoop kills kvd n times under load, each time when so many pipelines were answered,
// from least to most, and verifies after each kill. It returns by how much the numbers of
// INFO that were asked for have grown under load.
func killLoop(t *testing.T, dir string, procs int, flags []string, clients []*client, n int, least, most int64, rng *rand.Rand, numbers ...string) map[string]int {
	t.Helper()
	sums := map[string]int{}
	for round := range n {
		k := startKvd(t, dir, procs, flags...)
		verifyAll(t, k, clients)
		before := k.info(numbers...)
		underLoad(t, k, clients, least+rng.Int64N(most-least+1), func(ending func()) {
			for name, number := range k.info(numbers...) {
				sums[name] += number - before[name]
			}
			// The moment of the kill is random, not a wait for something.
			time.Sleep(time.Duration(rng.Int64N(int64(3 * time.Millisecond))))
			ending()
			k.kill()
		})
		if round%4 == 0 || round == n-1 {
			check(t, dir)
		}
	}
	k := startKvd(t, dir, procs, flags...)
	verifyAll(t, k, clients)
	k.stop()
	check(t, dir)
	return sums
}

// TestDrain ends kvd by SIGTERM under load. What was acknowledged must be there
// after the restart, with nothing to recover: the log was checkpointed.
func TestDrain(t *testing.T) {
	for _, fsync := range []string{"always", "no"} {
		t.Run(fsync, func(t *testing.T) {
			dir, rng := t.TempDir(), newRand(t)
			clients := newClients(4, fewKeys, rng)
			for range 3 {
				k := startKvd(t, dir, 2, "--appendfsync", fsync)
				verifyAll(t, k, clients)
				underLoad(t, k, clients, 1+rng.Int64N(100), func(ending func()) {
					ending()
					k.stop()
				})
				if out := check(t, dir); !strings.Contains(out, " 0 records replayed") {
					t.Errorf("check after SIGTERM:\n%s", out)
				}
			}
			k := startKvd(t, dir, 2)
			verifyAll(t, k, clients)
		})
	}
}

// TestShutdownCommand ends kvd by SHUTDOWN.
func TestShutdownCommand(t *testing.T) {
	k := startKvd(t, t.TempDir(), 2)
	c := k.dial()
	c.Send("SET", "a", "b")
	c.Send("SHUTDOWN")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Receive(); err != nil || r.String() != "+OK" {
		t.Fatalf("SET: %v, %v", r, err)
	}
	if r, err := c.Receive(); err != io.EOF {
		t.Fatalf("SHUTDOWN: %v, %v", r, err)
	}
	if status := k.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// TestSecondSignal asks a server to end while a client does not take its reply,
// which is longer than the buffers of both sockets, and then asks again and again.
func TestSecondSignal(t *testing.T) {
	dir := t.TempDir()
	k := startKvd(t, dir, 2)
	k.deafClient()
	k.signal(syscall.SIGTERM)
	k.waitLog(regexp.MustCompile(`msg="shutting down"`))
	answer := regexp.MustCompile(`msg="(already shutting down|exit without a checkpoint)"`)
	for again := true; again; { // what comes within a second is the same signal
		k.signal(syscall.SIGTERM)
		again = k.waitLog(answer)[1] == "already shutting down"
	}
	if status := k.wait(); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	k = startKvd(t, dir, 2)
	if keys := k.keys(); len(keys) != 1 {
		t.Errorf("keys %q", keys)
	}
}

// TestWordList loads a dictionary by redis-cli --pipe, each word as a key with
// itself as the value, and compares with what sort makes of the list: at once,
// after SIGTERM, and after SIGKILL.
func TestWordList(t *testing.T) {
	list := rig.Needs(t, "/usr/share/dict/american-english-huge")
	cli := rig.Needs(t, "redis-cli")
	sorted := exec.Command("sort", "-u", list)
	sorted.Env = append(os.Environ(), "LC_ALL=C")
	out, err := sorted.Output()
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")

	dir := t.TempDir()
	k := startKvd(t, dir, 2)
	var protocol bytes.Buffer
	raw, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.Lines(string(raw)) {
		word = strings.TrimSuffix(word, "\n")
		fmt.Fprintf(&protocol, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(word), word, len(word), word)
	}
	pipe := exec.Command(cli, "-p", k.port(), "--pipe")
	pipe.Stdin = &protocol
	if out, err := pipe.CombinedOutput(); err != nil || !strings.Contains(string(out), "errors: 0,") {
		t.Fatalf("redis-cli --pipe: %v\n%s", err, out)
	}
	verify := func(when string) {
		t.Helper()
		if keys := k.keys(); !slices.Equal(keys, words) {
			t.Fatalf("%s: %d keys, want the %d words in order", when, len(keys), len(words))
		}
		for key, value := range k.contents() {
			if key != value {
				t.Fatalf("%s: value of %q is %q", when, key, value)
			}
		}
	}
	verify("after the load")
	k.stop()
	k = startKvd(t, dir, 2)
	verify("after SIGTERM")

	// Some of it again, so that there is something in the log to recover.
	c := k.dial()
	const again = 1000
	for _, word := range words[:again] {
		c.Send("DEL", word)
		c.Send("SET", word, word)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 2 * again {
		if r, err := c.Receive(); err != nil || r.Err() != nil {
			t.Fatal(r, err)
		}
	}
	k.kill()
	check(t, dir)
	k = startKvd(t, dir, 2)
	verify("after SIGKILL")
	k.stop()
}

// TestRedisBenchmark runs redis-benchmark as its users do. It must end without
// an error.
func TestRedisBenchmark(t *testing.T) {
	benchmark := rig.Needs(t, "redis-benchmark")
	for _, fsync := range []string{"always", "no"} {
		t.Run(fsync, func(t *testing.T) {
			k := startKvd(t, t.TempDir(), 2, "--appendfsync", fsync)
			out, err := exec.Command(benchmark, "-p", k.port(),
				"-t", "ping,set,get,mset", "-n", "20000", "-P", "16", "-r", "10000", "-q").CombinedOutput()
			if err != nil || bytes.Contains(bytes.ToLower(out), []byte("error")) {
				t.Fatalf("redis-benchmark: %v\n%s", err, out)
			}
			for _, test := range []string{"PING_INLINE", "PING_MBULK", "SET", "GET", "MSET (10 keys)"} {
				if !bytes.Contains(out, []byte(test+": ")) {
					t.Errorf("no result for %s:\n%s", test, out)
				}
			}
			if n := len(k.keys()); n == 0 || n > 10_000 {
				t.Errorf("%d keys", n)
			}
			k.stop()
		})
	}
}
