package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/netip"
	"sync"
	"time"
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
	manyFailures = "ERR too many wrong passwords from this address, try again later"
)

// SetSecret makes a password needed by whoever connects from now on, and by AUTH. With
// nil there is none. Who is in stays in, as in Redis.
func (s *Server) SetSecret(secret *Secret) { s.secret.Store(secret) }

// login lets the connection in, or makes a stranger of it.
func (c *conn) login(in bool) {
	if in != c.authenticated {
		n := int64(1)
		if in {
			n = -1
		}
		c.srv.strangers.Add(n)
	}
	c.authenticated = in
	c.in.SetStranger(!in)
	c.show()
}

// authenticate checks a name and a password; if they are wrong it answers that, after a
// while in which the connection does nothing else, unless it is inside EXEC: who comes
// there has given the password before.
func (c *conn) authenticate(user, password []byte) (ok bool) {
	secret := c.srv.secret.Load()
	from := source(c.nc.RemoteAddr())
	if secret != nil && !c.srv.failures.mayTry(from, time.Now()) {
		c.out.Error(manyFailures)
		return false
	}
	if string(user) == "default" && (secret == nil || secret.matches(password)) {
		c.login(true)
		return true
	}
	if secret != nil {
		c.srv.failures.add(from, time.Now())
		c.srv.stats.wrongPasswords.Add(1)
		c.srv.opts.Log.Warn("wrong password", "from", c.nc.RemoteAddr())
		if !c.multi.running { // EXEC keeps replies back, and has keys that others wait for
			c.pauseFor(failureDelay)
		}
	}
	c.out.Error(wrongPass)
	return false
}

// pauseFor sends what waits, and then waits itself, but not for longer than the server
// lives.
func (c *conn) pauseFor(d time.Duration) {
	c.flush()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.srv.ctx.Done():
	}
}

func cmdAuth(c *conn, args [][]byte) {
	user, password := []byte("default"), args[len(args)-1]
	switch {
	case len(args) > 3:
		c.out.Error(errSyntax)
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

const (
	failureDelay = 100 * time.Millisecond

	// An address may fail this often at once, and then once in failureEvery.
	failureBurst = 32
	failureEvery = time.Second

	// maxSources is how many addresses are remembered. Those that have not failed for
	// long go first.
	maxSources = 4096
)

// failures counts wrong passwords by where they come from: whoever guesses gets a guess
// a second, from as many connections as he likes.
type failures struct {
	mu      sync.Mutex
	sources map[netip.Addr]time.Time // until when the address pays for what it has failed
}

// source is where a connection comes from: an address, of IPv6 the network that one
// user has. All Unix sockets are one source.
func source(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if addr.Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// mayTry tells whether a password from there is looked at.
func (f *failures) mayTry(from netip.Addr, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sources[from].Sub(now) < failureBurst*failureEvery
}

func (f *failures) add(from netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, known := f.sources[from]
	if !known && len(f.sources) >= maxSources {
		f.forget(now)
	}
	if until.Before(now) {
		until = now
	}
	f.sources[from] = until.Add(failureEvery)
}

// forget makes room: of those that have paid, and if there are none of any.
func (f *failures) forget(now time.Time) {
	for a, until := range f.sources {
		if until.Before(now) {
			delete(f.sources, a)
		}
	}
	for a := range f.sources {
		if len(f.sources) < maxSources {
			return
		}
		delete(f.sources, a)
	}
}

// denied is what a server without a password tells whoever is not on its machine.
const denied = "-DENIED Redis is running in protected mode because protected mode is enabled and no password " +
	"is set for the default user. In this mode connections are only accepted from the loopback interface. If you " +
	"want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just " +
	"disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by " +
	"connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly " +
	"accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively " +
	"you can just disable the protected mode by editing the Redis configuration file, and setting the protected " +
	"mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, " +
	"restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. " +
	"NOTE: You only need to do one of the above things in order for the server to start accepting connections " +
	"from the outside.\r\n"

// denies tells whether protected mode refuses a client from there.
func (s *Server) denies(from net.Addr) bool {
	if s.conf.protected.Load() == 0 || s.secret.Load() != nil {
		return false
	}
	tcp, ok := from.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}
