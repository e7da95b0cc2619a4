package server

import (
	"crypto/sha256"
	"crypto/subtle"
)

// A Secret is the SHA-256 of a password. That is enough for one that nobody can guess:
// a program should draw it, not a person.
type Secret [sha256.Size]byte

// NewSecret returns the Secret of a password.
func NewSecret(password []byte) Secret { return sha256.Sum256(password) }

// matches compares in a time that does not depend on what is in either.
func (s *Secret) matches(password []byte) bool {
	got := NewSecret(password)
	return subtle.ConstantTimeCompare(got[:], s[:]) == 1
}

const (
	noAuth     = "NOAUTH Authentication required."
	wrongPass  = "WRONGPASS invalid username-password pair or user is disabled."
	noPassword = "ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?"
	helloNoAuth = "NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
		"HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP " +
		"protocol version at the same time"
)

// SetSecret makes a password needed by whoever connects from now on, and by AUTH. With
// nil there is none. Who is in stays in, as in Redis.
func (s *Server) SetSecret(secret *Secret) { s.secret.Store(secret) }

// authenticate checks a name and a password; if they are wrong it answers that.
func (c *conn) authenticate(user, password []byte) (ok bool) {
	secret := c.srv.secret.Load()
	if string(user) != "default" || secret != nil && !secret.matches(password) {
		c.out.Error(wrongPass)
		return false
	}
	c.authenticated = true
	return true
}

func cmdAuth(c *conn, args [][]byte) {
	user, password := []byte("default"), args[len(args)-1]
	switch {
	case len(args) > 3:
		c.out.Error("ERR syntax error")
		return
	case len(args) == 3:
		user = args[1]
	case c.srv.secret.Load() == nil:
		c.out.Error(noPassword)
		return
	}
	if c.authenticate(user, password) {
		c.out.Status("OK")
	}
}
