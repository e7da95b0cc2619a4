package server

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"faultline/server/resp/resptest"
	"faultline/store"
)

// A letter is a connection on which everything was sent beforehand.
type letter struct {
	in     bytes.Reader
	out    bytes.Buffer
	closed chan struct{}
}

func (l *letter) Read(b []byte) (int, error)       { return l.in.Read(b) }
func (l *letter) Write(b []byte) (int, error)      { return l.out.Write(b) }
func (l *letter) Close() error                     { close(l.closed); return nil }
func (l *letter) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (l *letter) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (l *letter) SetDeadline(time.Time) error      { return nil }
func (l *letter) SetReadDeadline(time.Time) error  { return nil }
func (l *letter) SetWriteDeadline(time.Time) error { return nil }

// FuzzConnection sends any bytes to a server that has keys. It must not panic, the
// connection must end, and what came back must be whole replies.
func FuzzConnection(f *testing.F) {
	db := openStore(f)
	for _, key := range []string{"a", "b", "ab", "\x00", "\xff\xff"} {
		if err := db.Put([]byte(key), []byte("value"), store.Deferred); err != nil {
			f.Fatal(err)
		}
	}
	srv, _ := start(f, db, Options{Fsync: FsyncNo})
	for name, cmd := range srv.commands.all {
		f.Add([]byte(name + "\r\n"))
		f.Add([]byte(name + " a b 1\r\n" + name + " a\r\n"))
		if cmd.arity < 0 {
			f.Add([]byte(name + " 0 match a* count 3 type string\r\n"))
		}
	}
	f.Add([]byte("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nbc\r\nMGET a b c\r\nPOST / HTTP/1.1\r\n"))
	f.Add([]byte("HELLO 3\r\nCLIENT TRACKING ON\r\nGET a\r\nSET a 1\r\nCLIENT REPLY SKIP\r\nGET a\r\nCLIENT LIST\r\n"))
	f.Add([]byte("SUBSCRIBE __redis__:invalidate\r\nPING\r\nGET a\r\nUNSUBSCRIBE\r\nGET a\r\nRESET\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.Contains(bytes.ToLower(in), []byte("pause")) {
			t.Skip("the connection would not end")
		}
		l := &letter{closed: make(chan struct{})}
		l.in.Reset(in)
		srv.admit(l)
		select {
		case <-l.closed:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection does not end")
		}
		replies := bufio.NewReader(&l.out)
		for {
			_, err := resptest.ReadReply(replies)
			if err == io.EOF && replies.Buffered() == 0 {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
