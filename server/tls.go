package server

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

const (
	// handshakeTime is how long a client may take for the handshake of TLS.
	handshakeTime = 5 * time.Second

	// maxHandshakes is how many may be under way; who comes then is sent away.
	maxHandshakes = 512
)

// handshake does what TLS begins with, in the connection's own goroutine: Accept of a
// tls.Listener does not. It is nothing for other connections.
func (c *conn) handshake() error {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	if c.srv.handshakes.Add(1) > maxHandshakes {
		c.srv.handshakes.Add(-1)
		return errors.New("too many handshakes at once")
	}
	defer c.srv.handshakes.Add(-1)
	ctx, cancel := context.WithTimeout(c.srv.ctx, handshakeTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	if c.srv.denies(t.RemoteAddr()) && len(t.ConnectionState().PeerCertificates) == 0 {
		c.srv.stats.denied.Add(1)
		c.srv.refuse(t, denied)
		return errDenied
	}
	return nil
}

var errDenied = errors.New("protected mode: no password, and no certificate of the client")
