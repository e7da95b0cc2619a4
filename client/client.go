package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// A DB is a client of a server. It is the keyspace that its URL names, and has the
// connections for others. Methods are safe for concurrent use.
type DB struct {
	space
	shared *shared
}

// space is a Keyspace that is embedded in what has a method of that name.
type space = Keyspace

var _ kv.Store = (*DB)(nil)

// shared is what all views of a DB have in common.
type shared struct {
	opts   options
	closed atomic.Bool
	mu     sync.Mutex
	links  map[string]*link // by keyspace
}

// A link is the connections to one keyspace.
type link struct {
	rueidis.Client
	name   string
	shared *shared
	sync   policy
}

// Open connects to the server of a URL, and returns when it serves: one that is
// still starting is waited for, until ctx ends.
//
//	kvd://[[user]:password@]host[:6379][/keyspace]
//	kvds://...                        the same over TLS
//	unix:///path/of/socket[?keyspace=name]
//
// redis:// and rediss:// are other names of kvd:// and kvds://. A password in a file
// (WithPasswordFile) is better than one in a URL.
func Open(ctx context.Context, url string, opts ...Option) (*DB, error) {
	o, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	for _, option := range opts {
		if err := option(o); err != nil {
			return nil, fmt.Errorf("open: %w", err)
		}
	}
	s := &shared{opts: *o, links: make(map[string]*link)}
	l, err := s.link(ctx, o.keyspace)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.InitAddress[0], err)
	}
	return &DB{Keyspace{link: l, ctx: context.Background()}, s}, nil
}

// WithContext returns a view of db whose calls end with ctx. What one of them has
// cut off may have been made by the server, or not.
func (db *DB) WithContext(ctx context.Context) *DB {
	return &DB{*db.space.WithContext(ctx), db.shared}
}

// Keyspace returns the keyspace of a name. Its connections are those of db: they end
// with db.
func (db *DB) Keyspace(name string) (*Keyspace, error) {
	l, err := db.shared.link(db.ctx, name)
	if err != nil {
		return nil, fmt.Errorf("keyspace %q: %w", name, err)
	}
	return &Keyspace{link: l, ctx: db.ctx}, nil
}

// Space is Keyspace for kv.Store.
func (db *DB) Space(name string) (kv.Keyspace, error) { return db.Keyspace(name) }

// Close ends all connections. Calls under way fail.
func (db *DB) Close() error {
	s := db.shared
	if s.closed.Swap(true) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		l.Close()
	}
	return nil
}

// link returns the connections to a keyspace, made if need be.
func (s *shared) link(ctx context.Context, name string) (*link, error) {
	if l, err := s.find(name); l != nil || err != nil {
		return l, err
	}
	l, err := s.connect(ctx, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch other := s.links[name]; {
	case s.closed.Load():
		l.Close()
		return nil, kv.ErrClosed
	case other != nil: // somebody was faster
		l.Close()
		return other, nil
	}
	s.links[name] = l
	return l, nil
}

func (s *shared) find(name string) (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, kv.ErrClosed
	}
	return s.links[name], nil
}

// connect makes the first connection to a keyspace, and waits until the server serves.
func (s *shared) connect(ctx context.Context, name string) (*link, error) {
	l := &link{name: name, shared: s}
	o := s.opts.ClientOption
	var err error
	if o.SelectDB, err = database(name); err != nil {
		return nil, err
	}
	dial := o.DialCtxFn
	if dial == nil {
		dial = dialTCP
	}
	var connected atomic.Bool
	o.DialCtxFn = func(dialing context.Context, addr string, d *net.Dialer, c *tls.Config) (net.Conn, error) {
		l.sync.forget()
		if !connected.Load() {
			var cancel context.CancelFunc
			dialing, cancel = context.WithCancel(dialing)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
		}
		return dial(dialing, addr, d, c)
	}
	if l.Client, err = rueidis.NewClient(o); err != nil {
		if l.Client != nil {
			l.Close()
		}
		return nil, cmp.Or(ctx.Err(), l.err(err))
	}
	connected.Store(true)
	if err := l.ready(ctx); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// ready returns when the server serves.
func (l *link) ready(ctx context.Context) error {
	_, err := l.do(ctx, func(b rueidis.Builder) rueidis.Completed { return b.Ping().Build() })
	return err
}

// database returns the number that SELECT takes for a keyspace.
func database(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%w: a server knows keyspaces by number", kv.ErrNoKeyspace)
	}
	return int(n), nil
}

// dialTCP is what rueidis does without a DialCtxFn.
func dialTCP(ctx context.Context, addr string, d *net.Dialer, c *tls.Config) (net.Conn, error) {
	if c != nil {
		return (&tls.Dialer{NetDialer: d, Config: c}).DialContext(ctx, "tcp", addr)
	}
	return d.DialContext(ctx, "tcp", addr)
}

var errNotServing = errors.New("the server is still starting")
