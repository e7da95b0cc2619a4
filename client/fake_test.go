package client

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A fake is a server that says what a test wants it to, and remembers what it was
// told.
type fake struct {
	t   *testing.T
	url string

	// reply returns what to send for a command of a connection: RESP, or "" for the end
	// of the connection. Without one, or where it returns more, usual is sent.
	reply func(conn int, command string) string

	mu       sync.Mutex
	conns    int
	commands []string // "connection command arguments"
}

const usual = "usual"

// ofConnections are the commands that rueidis sends to keep its connections. They are
// not remembered.
const ofConnections = " HELLO CLIENT PING UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE DISCARD "

// serveFake starts a fake, which is asked for nothing but what reply knows.
func serveFake(t *testing.T, reply func(conn int, command string) string) *fake {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, url: "unix://" + path, reply: reply}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns++
			conn := f.conns
			f.mu.Unlock()
			wg.Go(func() { f.serve(nc, conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return f
}

// open opens a client of f, which is closed before f is.
func (f *fake) open(opts ...Option) *DB {
	f.t.Helper()
	db, err := Open(f.t.Context(), f.url, opts...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { db.Close() })
	return db
}

func (f *fake) serve(nc net.Conn, conn int) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	for {
		command, err := readCommand(r)
		if err != nil {
			return
		}
		name, _, _ := strings.Cut(command, " ")
		if !strings.Contains(ofConnections, " "+name+" ") {
			f.mu.Lock()
			f.commands = append(f.commands, fmt.Sprint(conn, " ", command))
			f.mu.Unlock()
		}
		reply := f.reply(conn, command)
		if reply == usual {
			reply = usualReply(name)
		}
		if reply == "" {
			return
		}
		if _, err := io.WriteString(nc, reply); err != nil {
			return
		}
	}
}

func usualReply(name string) string {
	switch name {
	case "HELLO":
		return "%3\r\n+server\r\n+redis\r\n+version\r\n+7.2.4\r\n+proto\r\n:3\r\n"
	case "PING":
		return "+PONG\r\n"
	case "CONFIG":
		return "%1\r\n+appendfsync\r\n+always\r\n"
	}
	return "+OK\r\n"
}

// readCommand reads an array of strings.
func readCommand(r *bufio.Reader) (string, error) {
	count := func(prefix string) (int, error) {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, prefix)))
	}
	n, err := count("*")
	if err != nil {
		return "", err
	}
	words := make([]string, n)
	for i := range words {
		size, err := count("$")
		if err != nil {
			return "", err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return "", err
		}
		words[i] = string(word[:size])
	}
	return strings.Join(words, " "), nil
}

// told returns the commands since the last call.
func (f *fake) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	told := f.commands
	f.commands = nil
	return told
}
