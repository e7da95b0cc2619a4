//go:build linux

package integration

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"faultline/server/resp/resptest"
)

const (
	// hostileRoom is by how much the memory of kvd may grow under hostile clients, be it
	// one or a thousand.
	hostileRoom = 64 << 20
	// replyRoom is by how much it may grow for a reply that is of one moment, and so cannot
	// be sent bit by bit: up to store.MaxGetAllBytes, and what append leaves behind.
	replyRoom = 512 << 20
)

// status returns a number of kB from /proc/PID/status, in bytes.
func (k *kvd) status(field string) int {
	k.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", k.cmd.Process.Pid))
	if err != nil {
		k.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				k.t.Fatal(err)
			}
			return kb << 10
		}
	}
	k.t.Fatalf("no %s in status", field)
	return 0
}

// cpu returns the processor time that kvd has used.
func (k *kvd) cpu() time.Duration {
	k.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", k.cmd.Process.Pid))
	if err != nil {
		k.t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			k.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// A peak watches the memory of a kvd. The kernel keeps the most that it ever had.
type peak struct {
	k    *kvd
	from int
	room int // by how much it may grow
}

// watchMemory begins a peak: from now on the kernel notes the most.
func (k *kvd) watchMemory() peak {
	k.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", k.cmd.Process.Pid), []byte("5"), 0); err != nil {
		k.t.Fatal(err)
	}
	return peak{k, k.status("VmRSS"), hostileRoom}
}

// grown returns by how much memory has grown at most, which must be within p.room.
func (p peak) grown() int {
	p.k.t.Helper()
	n := p.k.status("VmHWM") - p.from
	if n > p.room {
		p.k.t.Errorf("memory has grown by %d KiB, from %d KiB", n>>10, p.from>>10)
	}
	return n
}

// An honest client does its work, one command after the other, and notes how long each
// takes. Every reply must be right.
type honest struct {
	conn  *resptest.Conn
	times []time.Duration
}

func (k *kvd) honest() *honest { return &honest{conn: k.dial()} }

func (h *honest) step() error {
	n := len(h.times)
	began := time.Now()
	defer func() { h.times = append(h.times, time.Since(began)) }()
	key, value := fmt.Sprintf("honest:%d", n/2%100), strings.Repeat("v", 100+n/2%100)
	if n%2 == 0 {
		_, err := h.conn.Do("SET", key, value)
		return err
	}
	r, err := h.conn.Do("GET", key)
	if err == nil && r.Str != value {
		err = fmt.Errorf("GET %s: %d bytes, want %d", key, len(r.Str), len(value))
	}
	return err
}

// work makes steps until over.
func (h *honest) work(over *atomic.Bool) error {
	for !over.Load() {
		if err := h.step(); err != nil {
			return err
		}
	}
	return nil
}

func (h *honest) String() string {
	slices.Sort(h.times)
	at := func(share float64) time.Duration {
		return h.times[int(share*float64(len(h.times)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d operations, p50 %v, p99 %v, the longest %v", len(h.times), at(0.5), at(0.99), at(1))
}

// meanwhile has an honest client work while fn runs, and returns it.
func (k *kvd) meanwhile(fn func()) *honest {
	k.t.Helper()
	h := k.honest()
	var over atomic.Bool
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = h.work(&over) })
	fn()
	over.Store(true)
	wg.Wait()
	if err != nil {
		k.t.Errorf("an honest client: %v", err)
	}
	h.conn.Close()
	return h
}

// TestSlowClients has 1,000 clients that send one byte a second each, of commands that
// never end, while an honest client works.
func TestSlowClients(t *testing.T) {
	const clients = 1000
	bytes := 3
	if testing.Short() {
		bytes = 2
	}
	k := startKvd(t, t.TempDir(), 2, "--appendfsync", "no")
	alone := k.meanwhile(func() { time.Sleep(300 * time.Millisecond) }) // how long it works
	p := k.watchMemory()
	conns := make([]*resptest.Conn, clients)
	for i := range conns {
		conns[i] = k.dial()
	}
	hello := "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000000\r\nvvvvvvvvvv"
	tick := time.NewTicker(time.Second / clients)
	defer tick.Stop()
	h := k.meanwhile(func() {
		for n := range bytes * clients {
			<-tick.C
			if _, err := conns[n%clients].Conn.Write([]byte{hello[n/clients]}); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Logf("%d slow clients: memory has grown by %d KiB; beside them: %v; without them: %v", clients, p.grown()>>10, h, alone)
}

// TestNeverReads has a client send a million GETs, or many long MGETs, and take no reply.
// It must be stopped, not buffered for.
func TestNeverReads(t *testing.T) {
	for _, c := range []struct {
		name    string
		command string
		times   int
	}{
		{"a million GETs", "*2\r\n$3\r\nGET\r\n$5\r\nvalue\r\n", 1_000_000},
		{"MGETs of 6 MB", "*2001\r\n$4\r\nMGET\r\n" + strings.Repeat("$5\r\nvalue\r\n", 2_000), 400},
		{"inline PINGs", "PING\r\n", 4_000_000},
		{"errors", "NONSENSE abc\r\n", 4_000_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := startKvd(t, t.TempDir(), 2, "--appendfsync", "no")
			conn := k.dial()
			if _, err := conn.Do("SET", "value", strings.Repeat("v", 3000)); err != nil {
				t.Fatal(err)
			}
			p := k.watchMemory()
			sent := 0
			h := k.meanwhile(func() {
				batch := []byte(strings.Repeat(c.command, max(1, min(c.times, 64<<10/len(c.command)))))
				for total := len(c.command) * c.times; sent < total; {
					conn.SetWriteDeadline(time.Now().Add(time.Second / 2)) // then it is stopped
					n, err := conn.Conn.Write(batch)
					if sent += n; errors.Is(err, os.ErrDeadlineExceeded) {
						return
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				t.Errorf("all %d bytes were taken", sent)
			})
			t.Logf("stopped after %d KiB; memory has grown by %d KiB; beside it: %v", sent>>10, p.grown()>>10, h)
		})
	}
}

// A bomb is input that must cost little, and be refused or waited for.
type bomb struct {
	name  string
	input string
	want  string // the reply begins with it; "": none, and the connection stays
	ends  bool   // the connection ends
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// bombs are the known cases of ../docs/security.md.
func bombs() []bomb {
	const protocol = "-ERR Protocol error: "
	get := "*2\r\n$3\r\nGET\r\n"
	return []bomb{
		{"bulk length that overflows", "*1\r\n$9223372036854775800\r\nPING\r\n", protocol + "invalid bulk length", true},
		{"largest bulk length", "*1\r\n$9223372036854775807\r\n", protocol + "invalid bulk length", true},
		{"bulk length past 64 bits", "*1\r\n$18446744073709551620\r\nPING\r\n", protocol + "invalid bulk length", true},
		{"largest number of arguments", "*9223372036854775807\r\n$4\r\nPING\r\n", protocol + "invalid multibulk length", true},
		{"many arguments", "*9000000000000000000\r\n", protocol + "invalid multibulk length", true},
		{"arguments past 64 bits", "*18446744073709551617\r\n$4\r\nPING\r\n", protocol + "invalid multibulk length", true},
		{"negative bulk length", get + "$-1\r\n", protocol + "invalid bulk length", true},
		{"length with a plus", get + "$+1\r\na\r\n", protocol, true},
		{"length without digits", get + "$\r\n", protocol + "invalid bulk length", true},
		{"length that is no number", get + "$1a\r\n", protocol + "invalid bulk length", true},
		{"length of thousands of digits", get + "$" + strings.Repeat("1", 100_000), protocol, true},
		{"no dollar", get + "1\r\na\r\n", protocol + "expected '$', got '1'", true},
		{"inline without an end", strings.Repeat("a", 70<<10), protocol + "too big inline request", true},
		{"quotes without an end", "GET \"aaa\r\n", protocol + "unbalanced quotes", true},
		{"POST", "POST / HTTP/1.1\r\nHost: kvd\r\n\r\nSET a b\r\n", "", true},
		{"Host", "Host: kvd\r\nSET a b\r\n", "", true},
		{"empty commands", strings.Repeat("*0\r\n*-1\r\n\r\n", 100_000) + "PING\r\n", "+PONG", false},
		{"a million empty arguments", "*1048576\r\n$3\r\nDEL\r\n" + strings.Repeat("$0\r\n\r\n", 1_048_570), "", false},
		{"nested arrays", strings.Repeat("*1\r\n", 10_000), protocol + "expected '$', got '*'", true},
		{"far SETRANGE", "SETRANGE a 9223372036854775807 b\r\n", "-ERR", false},
		{"SETRANGE past the limit", "SETRANGE a 536870911 bb\r\n", "-ERR string exceeds maximum allowed size", false},
		{"largest SCAN", "SCAN 0 COUNT 9223372036854775807\r\n", "*2", false},
		{"MGET of 300 MB", "*300001\r\n$4\r\nMGET\r\n" + strings.Repeat("$1\r\nb\r\n", 300_000), "-ERR values of more than", false},
		{"pattern", "KEYS " + strings.Repeat("a*", 1000) + "b\r\n", "*0", false},
		{"logged bytes", "\x1b[31mGET\r\n", "-ERR unknown command", false},
	}
}

// TestParserBombs sends input that has broken other servers, and looks at the reply, at
// what it has cost, and whether others are still served. Afterwards kvd must be idle.
func TestParserBombs(t *testing.T) {
	k := startKvd(t, t.TempDir(), 2, "--appendfsync", "no")
	for key, value := range map[string]string{strings.Repeat("a", 1000): "value", "b": strings.Repeat("v", 1000)} {
		if _, err := k.dial().Do("SET", key, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range bombs() {
		t.Run(b.name, func(t *testing.T) {
			k.t = t
			p, cpu := k.watchMemory(), k.cpu()
			if strings.HasPrefix(b.name, "MGET") {
				p.room = replyRoom
			}
			if err := b.explode(k); err != nil {
				t.Error(err)
			}
			if _, err := k.dial().Do("PING"); err != nil {
				t.Errorf("others: %v", err)
			}
			t.Logf("memory has grown by %d KiB, %v of processor time", p.grown()>>10, k.cpu()-cpu)
		})
	}
	k.t = t
	k.idle()
}

// idle fails the test if kvd goes on to use the processor though nobody asks for anything:
// some parsers spin.
func (k *kvd) idle() {
	k.t.Helper()
	const looks, pause = 40, 50 * time.Millisecond
	for range looks {
		cpu := k.cpu()
		time.Sleep(pause)
		if k.cpu()-cpu < pause/2 {
			return
		}
	}
	k.t.Errorf("kvd has used the processor for %v, and nobody has asked for anything", looks*pause)
}

// explode sends the bomb and looks at the reply.
func (b *bomb) explode(k *kvd) error {
	conn := k.dial()
	defer conn.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Conn.Write([]byte(b.input))
		sent <- err
	}()
	if b.want == "" && !b.ends {
		return <-sent // it waits for the rest
	}
	got := make([]byte, 256)
	n, err := conn.Conn.Read(got)
	if b.want == "" {
		if n > 0 || err == nil {
			return fmt.Errorf("reply %q, want none", got[:n])
		}
		return nil
	}
	if !strings.HasPrefix(string(got[:n]), b.want) {
		return fmt.Errorf("reply %q, %v, want %q", got[:n], err, b.want)
	}
	if !b.ends {
		return nil
	}
	for err == nil {
		_, err = conn.Conn.Read(got)
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the connection goes on")
	}
	return nil
}

// TestDeclaredLengths has many clients announce a value as long as there may be one, and
// send a few bytes: memory is for bytes that have come.
func TestDeclaredLengths(t *testing.T) {
	const clients = 500
	k := startKvd(t, t.TempDir(), 2, "--appendfsync", "no")
	p := k.watchMemory()
	for range clients {
		conn := k.dial()
		conn.SendRaw("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1048576\r\nvvv")
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 { // by then all have been read, but for a few
		if _, err := k.dial().Do("PING"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d clients announced %d MiB in all; memory has grown by %d KiB", clients, clients, p.grown()>>10)
}

// TestStrangers has clients that do not know the password: what they may send is little,
// and they are told nothing.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := startKvd(t, filepath.Join(dir, "store"), 2, "--requirepass-file", secret)
	args := func(n, bytes int) string {
		return fmt.Sprintf("*%d\r\n", n) + bulk("PING") + strings.Repeat(bulk(strings.Repeat("a", bytes)), n-1)
	}
	for _, b := range []bomb{
		{"a command", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "-NOAUTH Authentication required.", false},
		{"9 arguments", args(9, 1), "-", false},
		{"10 arguments", args(10, 1), "-", false},
		{"11 arguments", args(11, 1), "-ERR Protocol error: unauthenticated multibulk length", true},
		{"an argument of 16383 bytes", args(2, 16383), "-", false},
		{"an argument of 16384 bytes", args(2, 16384), "-", false},
		{"an argument of 16385 bytes", args(2, 16385), "-ERR Protocol error: unauthenticated bulk length", true},
		{"wrong password", "AUTH wrong\r\n", "-WRONGPASS", false},
	} {
		t.Run(b.name, func(t *testing.T) {
			k.t = t
			if err := b.explode(k); err != nil {
				t.Error(err)
			}
		})
	}
	k.t = t
	t.Run("never reads", func(t *testing.T) {
		k.t = t
		p := k.watchMemory()
		conn := k.dial()
		batch := []byte(strings.Repeat("GET a\r\n", 10_000))
		for range 1000 {
			conn.SetWriteDeadline(time.Now().Add(time.Second / 2))
			if _, err := conn.Conn.Write(batch); err != nil {
				break // stopped, or cut off
			}
		}
		t.Logf("memory has grown by %d KiB", p.grown()>>10)
	})
	k.t = t
}
