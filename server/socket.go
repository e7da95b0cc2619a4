package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// errDrained says that a socket has no bytes now.
var errDrained = errors.New("no bytes yet")

// A socket is read by turns: the goroutine of a connection waits until the client has
// sent something, reads, executes, answers, and waits again, all of it inside one read of
// package net. So a command costs one read and one write. Read of net.Conn makes two of
// the read: it looks for bytes before it waits, each time, and there are none yet.
//
//	await       turn                        client
//	  | wait       |                           |
//	  |<-----------|-- readable ---------------|  the kernel tells of bytes that come
//	  |----------->| read: less than asked for |  now there are none left
//	  |            | execute, answer --------->|
//	  |<- false ---|                           |
//	  | wait
//
// It rests on what epoll says of edges: bytes that come after a read that got less than
// it asked for are told of (epoll(7)), and the runtime keeps that for the next wait in the
// same read. Between two calls of await it does not, so that each begins with a read.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil of TLS, which reads as net.Conn does
	fd      int             // while turn runs
	drained bool            // nothing has come since the last read, as far as is known
	gone    atomic.Bool     // see cut
}

func newSocket(nc net.Conn) *socket {
	s := &socket{Conn: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		s.raw, _ = sc.SyscallConn()
	}
	return s
}

// await calls turn, and again each time that the client has sent something, until it is
// true. It returns the error of the wait: os.ErrDeadlineExceeded and others.
func (s *socket) await(turn func() (done bool)) error {
	if s.raw == nil {
		for !turn() {
		}
		return nil
	}
	return s.raw.Read(func(fd uintptr) bool {
		s.fd = int(fd)
		done := turn()
		s.drained = false
		return done
	})
}

// cut ends the connection at once, from any goroutine, and waits for nobody: Close would
// wait for the turn, or for a client of TLS to take a last message. Nothing is read any more.
func (s *socket) cut() {
	s.gone.Store(true)
	if t, ok := s.Conn.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	if s.raw == nil {
		s.Conn.Close()
		return
	}
	s.raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
}

// Read reads what there is, or returns errDrained. Only turn may call it, and it is in vain
// if the socket is drained.
func (s *socket) Read(p []byte) (int, error) {
	if s.raw == nil {
		return s.Conn.Read(p)
	}
	if s.gone.Load() {
		return 0, net.ErrClosed
	}
	for {
		n, err := syscall.Read(s.fd, p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, errDrained
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		s.drained = n < len(p)
		return n, nil
	}
}
