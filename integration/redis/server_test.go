package redis

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"faultline/integration/internal/rig"
)

// A server is a running kvd or redis-server.
type server struct {
	name    string
	network string // tcp or unix
	addr    string
	cmd     *exec.Cmd

	// alter changes a command before it is sent: a difference that a test plants.
	alter func(args [][]byte) [][]byte

	mu  sync.Mutex
	log bytes.Buffer
}

var (
	kvdListens   = regexp.MustCompile(`msg=listening addr=(\S+)`)
	redisListens = regexp.MustCompile(`server is now ready to accept connections at (\S+)`)
)

// startKvd starts kvd on a port of its own. It returns when it listens.
func startKvd(t testing.TB, flags ...string) *server {
	t.Helper()
	args := append([]string{"serve", "--dir", t.TempDir(), "--listen", "127.0.0.1:0", "--admin", "", "--memory", "64MiB",
		"--appendfsync", "everysec"}, flags...)
	return start(t, "tcp", exec.Command(kvdPath, args...), kvdListens)
}

// startRedis starts Debian's redis-server on a socket of its own, without files.
func startRedis(t testing.TB, flags ...string) *server {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"--port", "0", "--unixsocket", filepath.Join(dir, "redis"), "--dir", dir, "--save", ""}, flags...)
	return start(t, "unix", exec.Command(rig.Needs(t, "redis-server"), args...), redisListens)
}

// freeAddr returns an address with a port that was free a moment ago.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startRedisTCP starts redis-server on a port.
func startRedisTCP(t testing.TB, flags ...string) *server {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	s := startRedis(t, append([]string{"--port", port}, flags...)...)
	s.network, s.addr = "tcp", addr
	return s
}

// start runs a server until the end of the test, and returns when it has logged
// where it listens.
func start(t testing.TB, network string, cmd *exec.Cmd, listens *regexp.Regexp) *server {
	t.Helper()
	s := &server{name: filepath.Base(cmd.Path), network: network, cmd: cmd}
	log, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	addrs := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.readLog(log, listens, addrs)
	}()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-ended
		s.cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %v; the end of its log:\n%s", s.name, s.cmd.ProcessState, s.tail())
		}
	})
	select {
	case s.addr = <-addrs:
	case <-ended:
		t.Fatalf("%s ended before it listened", s.name)
	case <-time.After(watchdog):
		t.Fatalf("%s does not listen", s.name)
	}
	return s
}

// readLog keeps the log, and passes on the address in it.
func (s *server) readLog(log io.ReadCloser, listens *regexp.Regexp, addrs chan<- string) {
	defer log.Close()
	for lines := bufio.NewScanner(log); lines.Scan(); {
		s.mu.Lock()
		s.log.Write(lines.Bytes())
		s.log.WriteByte('\n')
		s.mu.Unlock()
		if m := listens.FindSubmatch(lines.Bytes()); m != nil {
			select {
			case addrs <- string(m[1]):
			default:
			}
		}
	}
}

// tail returns the last lines of the log.
func (s *server) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.Split(s.log.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// dial connects to the server.
func (s *server) dial() (*conn, error) {
	c, err := net.Dial(s.network, s.addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, server: s, r: bufio.NewReaderSize(c, 64<<10)}, nil
}
