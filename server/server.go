package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"faultline/server/resp"
	"faultline/store"
)

// A Store is what the server needs of a *store.DB.
type Store interface {
	keyspace

	ApplyContext(context.Context, *store.Batch, store.Durability) (store.LSN, error)
	LSN() store.LSN
	SeenLSN() store.LSN
	WaitDurable(context.Context, store.LSN) error
	WaitWritten(store.LSN) error
	Checkpoint(context.Context) error

	Keyspace(name string) (*store.Keyspace, error)
	Keyspaces() []string

	Now() time.Time // by which keys expire
	Metrics() store.Metrics
	Err() error
}

var _ Store = (*store.DB)(nil)

// Options say how to serve. The zero value of a field means its default.
type Options struct {
	Fsync        Fsync         // appendfsync; 0 = FsyncAlways
	MaxClients   int           // 0 = 10000, as in Redis
	MostClients  int           // that CONFIG SET maxclients takes, for want of descriptors; 0 = any number
	Databases    int           // for SELECT; 0 = 16
	Secret       *Secret       // of the password that clients must give; nil = none
	Unprotected  bool          // protected-mode no: without a password, others than this machine may connect
	Limits       resp.Limits   // a zero is that of resp.DefaultLimits
	ClientMemory int64         // for the buffers of all connections, maxmemory-clients; 0 = 1 GiB
	OutputLimit  OutputLimit   // client-output-buffer-limit normal; zero = none
	Timeout      time.Duration // for a client that sends nothing; 0 = none
	WriteTimeout time.Duration // for a client that takes nothing of a reply; 0 = 30 s
	Log          *slog.Logger  // nil = silent

	Debug bool // the command DEBUG is allowed

	// For INFO and CONFIG GET only.
	Version     string
	Dir         string
	MemoryBytes int64
	Parameters  map[string]string // further ones of CONFIG GET; those of the server come first
}

// An OutputLimit bounds the replies that wait for one client.
type OutputLimit struct {
	HardBytes int64         // more end the connection; 0 = no limit
	SoftBytes int64         // more must be taken within SoftFor; 0 = no limit
	SoftFor   time.Duration // whole seconds in Redis
}

// String is the form of the limit in redis.conf.
func (l OutputLimit) String() string {
	return fmt.Sprintf("normal %d %d %d", l.HardBytes, l.SoftBytes, int64(l.SoftFor.Seconds()))
}

func (o *Options) setDefaults() {
	if o.ClientMemory == 0 {
		o.ClientMemory = 1 << 30
	}
	if o.MaxClients == 0 {
		o.MaxClients = 10_000
	}
	if o.Databases == 0 {
		o.Databases = 16
	}
	o.Limits = resp.Limits{
		BulkBytes:    cmp.Or(o.Limits.BulkBytes, resp.DefaultLimits.BulkBytes),
		Args:         cmp.Or(o.Limits.Args, resp.DefaultLimits.Args),
		InlineBytes:  cmp.Or(o.Limits.InlineBytes, resp.DefaultLimits.InlineBytes),
		CommandBytes: cmp.Or(o.Limits.CommandBytes, resp.DefaultLimits.CommandBytes),
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// A Server serves a store to clients. Serve may run on several listeners.
type Server struct {
	db       Store // see loading
	loading  loading
	opts     Options
	conf     settings
	watches  watches
	saves    saves
	commands *table
	cursors  *cursors
	started  time.Time

	// ctx ends when Shutdown gives up waiting; with it end waits for the log
	// and for room in the store.
	ctx    context.Context
	cancel context.CancelFunc

	shutdownAsked chan struct{} // closed by the command SHUTDOWN
	askOnce       sync.Once

	ticking    sync.Once // tick has begun
	background sync.WaitGroup

	secret atomic.Pointer[Secret] // nil = no password is needed

	pause atomic.Pointer[pause] // CLIENT PAUSE

	failures   failures     // of AUTH
	strangers  atomic.Int64 // connections without the password
	handshakes atomic.Int64 // under way
	memory     memory
	tracking   tracking
	slow       slowlog

	stopped atomic.Bool // some command met store.ErrStopped; it is logged once

	conns sync.WaitGroup // one for each connection's goroutine

	mu struct {
		sync.Mutex
		draining  bool
		listeners map[net.Listener]struct{}
		open      map[*conn]struct{}
		lastID    int64
	}

	stats  stats
	errors errorCounts
	runID  string
}

// New returns a Server of db, which stays the caller's to close. If db is nil, clients
// are answered -LOADING until Open.
func New(db Store, o Options) *Server {
	o.setDefaults()
	s := &Server{
		db:            db,
		opts:          o,
		commands:      newTable(),
		cursors:       newCursors(),
		runID:         newRunID(),
		started:       time.Now(),
		shutdownAsked: make(chan struct{}),
	}
	s.conf.init(&o)
	s.watches.init()
	s.tracking.init(&s.conf.trackedKeys)
	s.slow.micros, s.slow.most = &s.conf.slowMicros, &s.conf.slowEntries
	s.failures.sources = make(map[netip.Addr]time.Time)
	s.memory.most.Store(o.ClientMemory)
	s.saves.last.Store(s.started.Unix())
	s.secret.Store(o.Secret)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.listeners = make(map[net.Listener]struct{})
	s.mu.open = make(map[*conn]struct{})
	s.loading.began = s.started
	if db != nil {
		s.Open(db)
	}
	return s
}

// Serve accepts connections from l until Shutdown, then returns nil; any other
// end of l is an error. It closes l. Clients of a listener of crypto/tls have a few
// seconds for the handshake.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.addListener(l) {
		return nil
	}
	backoff := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			backoff = 0
			s.stats.accepted.Add(1)
			if _, secure := nc.(*tls.Conn); !secure && s.denies(nc.RemoteAddr()) {
				s.stats.denied.Add(1)
				s.refuse(nc, denied)
				continue
			}
			s.admit(nc)
		case s.isDraining():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Out of file descriptors, most likely: those that are open go on.
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.opts.Log.Warn("accept", "err", err, "retry_in", backoff)
			select {
			case <-time.After(backoff):
			case <-s.ctx.Done():
			}
		}
	}
}

// admit starts a connection, or refuses it as Redis does. Half of all connections can be
// such that have not given the password.
func (s *Server) admit(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	most := s.conf.maxClients.Load()
	full := int64(len(s.mu.open)) >= most || !c.authenticated && s.strangers.Load() >= max(most/2, 1)
	ok := !full && !s.mu.draining
	if ok {
		s.mu.lastID++
		c.id = s.mu.lastID
		s.mu.open[c] = struct{}{}
		s.conns.Add(1)
		if !c.authenticated {
			s.strangers.Add(1)
		}
	}
	s.mu.Unlock()
	if ok {
		go c.serve()
		return
	}
	if full {
		s.stats.refused.Add(1)
		s.refuse(nc, "-ERR max number of clients reached\r\n")
		return
	}
	nc.Close()
}

// refuse ends a connection with a text. A client of TLS that has not shaken hands, or one
// that does not read, does not get it.
func (s *Server) refuse(nc net.Conn, text string) {
	defer nc.Close()
	if t, ok := nc.(*tls.Conn); ok && !t.ConnectionState().HandshakeComplete {
		return
	}
	nc.SetWriteDeadline(time.Now().Add(refuseTime))
	nc.Write([]byte(text))
}

// refuseTime is for a text that fits every socket's buffer: it is not to hold up those
// who come next.
const refuseTime = 100 * time.Millisecond

// forget takes a connection that has ended out of the set.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.mu.open, c)
	s.mu.Unlock()
	s.conns.Done()
}

// Shutdown stops accepting, and lets each connection execute and answer what it
// has read; what a client has sent beyond that stays without a reply. It returns
// once all connections are closed. When ctx ends first, it cuts them off, waits
// for the calls of the store that are under way, and returns the error of ctx.
// The store may be closed after either.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.mu.draining = true
	for l := range s.mu.listeners {
		l.Close()
	}
	for c := range s.mu.open {
		c.wake()
	}
	s.mu.Unlock()
	s.pause.Swap(nil).over()

	done := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(done)
	}()
	defer s.background.Wait() // it asks the store, too
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.mu.open {
		c.nc.Close()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

// ShutdownAsked is closed when a client has sent SHUTDOWN. Whoever runs the
// server then calls Shutdown.
func (s *Server) ShutdownAsked() <-chan struct{} { return s.shutdownAsked }

func (s *Server) askShutdown() { s.askOnce.Do(func() { close(s.shutdownAsked) }) }

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.draining {
		return false
	}
	s.mu.listeners[l] = struct{}{}
	s.ticking.Do(func() {
		s.background.Go(s.tick)
		s.background.Go(s.janitor)
	})
	return true
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.draining
}

func (s *Server) openCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.open)
}
