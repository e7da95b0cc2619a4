package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"faultline/server"
	"faultline/server/admin"
	"faultline/store"
	"faultline/uffd"
)

func newServe(stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve a store to Redis clients",
		Long: `Serve a store to Redis clients.

Clients that come while the store recovers are answered -LOADING. SIGTERM, SIGINT and
the command SHUTDOWN end the server in order: what has been read is executed and
answered, and the store is checkpointed. A signal a second later ends it at once. Nothing that
was acknowledged is lost either way.`,
		Args: cobra.NoArgs,
	}
	c := configure(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		unknown, err := c.load()
		if err != nil {
			return err
		}
		if err := c.config.check(); err != nil {
			return err
		}
		log := c.config.logger(stderr)
		for _, name := range unknown {
			log.Warn("a name in the environment is no setting", "name", name)
		}
		return serve(c.config, log)
	}
	return cmd
}

// check finds what no setting shows alone.
func (c *config) check() error {
	if c.dir == "" {
		return usageError{errors.New("dir is empty")}
	}
	if len(tcpAddresses(c.listen, c.bind, c.port))+len(tcpAddresses(c.tlsListen, c.bind, c.tlsPort)) == 0 && c.unixSocket == "" {
		return usageError{errors.New("port is 0, and there is no unixsocket: nobody could connect")}
	}
	return c.checkTLS()
}

// logger returns the log that the settings ask for.
func (c *config) logger(w io.Writer) *slog.Logger {
	var o slog.HandlerOptions
	var level slog.Level
	if level.UnmarshalText([]byte(c.logLevel)) == nil { // choice has checked it
		o.Level = level
	}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &o))
	}
	return slog.New(slog.NewTextHandler(w, &o))
}

// A daemon is kvd serve as it runs.
type daemon struct {
	*config
	log         *slog.Logger
	id          *identity // whom to become; nil is nobody else
	tls         certificates
	secret      *server.Secret // of the start; nil is no password
	mostClients int            // that maxclients can be set to
	listeners   []net.Listener // of clients
	admins      []net.Listener
	srv         *server.Server
	db          *store.DB
	opened      chan struct{} // closed when clients can be served
	served      chan error    // an error of one of the listeners
	signals     chan os.Signal
}

// serve runs the server until a signal or SHUTDOWN. It opens what only a privileged
// user can, becomes another user and confines itself, and then opens the store, which
// may take long: who comes early is told how far it is.
func serve(c *config, log *slog.Logger) error {
	syscall.Umask(0o077) // what is made is for this user only
	d := &daemon{config: c, log: log, opened: make(chan struct{}), served: make(chan error, 1), signals: make(chan os.Signal, 2)}
	d.tls.config = c
	defer d.close()
	for _, step := range []func() error{d.budget, d.boundClients, d.identify, d.readFiles, d.listen, d.makeDir, d.confine} {
		if err := step(); err != nil {
			return err
		}
	}
	d.srv = server.New(nil, d.options())
	if err := d.configure(); err != nil {
		return err
	}
	signal.Notify(d.signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(d.signals)
	defer d.reloadOnHangup()()
	d.serveAdmin()
	for _, l := range d.listeners {
		go d.accept(l)
	}
	opened, err := d.open()
	if err != nil || !opened {
		return errors.Join(err, d.drain())
	}
	notify("READY=1\nSTATUS=serving")
	err = d.wait()
	notify("STOPPING=1\nSTATUS=draining")
	return errors.Join(err, d.drain(), d.db.Close())
}

// budget sets the memory of the store, if nobody has: to half of what there is.
func (d *daemon) budget() error {
	if d.memory != 0 {
		return nil
	}
	_, available, err := availableMemory()
	d.memory = size(available / 2)
	return err
}

// identify finds the user to become.
func (d *daemon) identify() error {
	if d.user == "" {
		return nil
	}
	id, err := identityOf(string(d.user))
	d.id = &id
	return err
}

// readFiles reads the password and the certificates.
func (d *daemon) readFiles() (err error) {
	d.secret, err = d.reload()
	return err
}

// reload returns the password, nil if there is no file of it, and reads the certificates,
// which hold from then on. It may be called at any time.
func (d *daemon) reload() (secret *server.Secret, err error) {
	if d.requirePassFile != "" {
		if secret, err = readPassword(string(d.requirePassFile)); err != nil {
			return nil, err
		}
	}
	if d.tlsCertFile != "" {
		err = d.tls.load()
	}
	return secret, err
}

// listen opens the sockets of clients, and those of the admin.
func (d *daemon) listen() error {
	keepAlive := time.Duration(d.tcpKeepalive)
	plain, err := listenTCP(tcpAddresses(d.config.listen, d.bind, d.port), keepAlive)
	if d.listeners = plain; err != nil {
		return err
	}
	secure, err := listenTCP(tcpAddresses(d.tlsListen, d.bind, d.tlsPort), keepAlive)
	if err != nil {
		return err
	}
	for _, l := range secure {
		d.listeners = append(d.listeners, tls.NewListener(l, d.tls.server()))
	}
	if d.unixSocket != "" {
		l, err := listenUnix(string(d.unixSocket), d.unixSocketPerm, d.id)
		if err != nil {
			return err
		}
		d.listeners = append(d.listeners, l)
	}
	d.admins, err = listenTCP(d.admin, keepAlive)
	if errors.Is(err, syscall.EADDRINUSE) && d.origin["admin"] == "" {
		d.log.Warn("no HTTP server for the admin: set admin to another address", "err", err)
		return nil
	}
	return err
}

// warn tells of addresses that other machines reach without a password.
func (d *daemon) warn() {
	if d.secret != nil {
		return
	}
	for _, l := range d.listeners {
		switch {
		case isLocal(l):
		case bool(d.protectedMode):
			d.log.Warn("clients of other machines are refused: there is no password, and protected-mode is yes", "addr", l.Addr())
		default:
			d.log.Warn("there is no password: whoever reaches this address can read, write and shut down", "addr", l.Addr())
		}
	}
}

func (d *daemon) makeDir() error { return prepareDir(string(d.dir), d.id) }

// confine gives up all rights that are not needed any more.
func (d *daemon) confine() error {
	uffd.Hold()
	if d.id != nil {
		if err := d.id.become(); err != nil {
			return fmt.Errorf("user %s: %w", d.user, err)
		}
	}
	if err := noNewPrivileges(); err != nil {
		return err
	}
	if err := d.confined(d.landlock, func() error { _, err := d.sandbox().apply(); return err }); err != nil {
		return err
	}
	return d.confined(d.seccomp, newFilter(os.Getenv("NOTIFY_SOCKET") != "").apply)
}

// confineOpen gives up what only opening the store needs.
func (d *daemon) confineOpen() error {
	uffd.Release()
	return d.confined(d.seccomp, newOpenFilter().apply)
}

// confined calls apply as a setting wants it: not at all (no), as far as the kernel lets
// it (auto), or in any case (yes).
func (d *daemon) confined(setting string, apply func() error) error {
	if setting == "no" {
		return nil
	}
	err := apply()
	if setting == "auto" && errors.Is(err, errors.ErrUnsupported) {
		d.log.Info("not confined", "err", err)
		return nil
	}
	return err
}

// sandbox says what the process needs from now on: the store; the files that it reads
// again, which may be others by then under the same names; and what the kernel tells of
// memory.
func (d *daemon) sandbox() *sandbox {
	s := &sandbox{
		readWrite: []string{string(d.dir)},
		read:      []string{"/proc", "/sys/fs/cgroup"},
		abstract:  strings.HasPrefix(os.Getenv("NOTIFY_SOCKET"), "@"),
	}
	for _, f := range []path{d.requirePassFile, d.tlsCertFile, d.tlsKeyFile, d.tlsCACertFile} {
		if f != "" {
			s.read = append(s.read, filepath.Dir(string(f)))
		}
	}
	if d.unixSocket != "" {
		s.unlink = append(s.unlink, filepath.Dir(string(d.unixSocket)))
	}
	return s
}

// serveAdmin starts the HTTP servers. They end with the process.
func (d *daemon) serveAdmin() {
	for _, l := range d.admins {
		h := admin.New(d.srv, version())
		h.ErrorLog = slog.NewLogLogger(d.log.Handler(), slog.LevelWarn)
		go h.Serve(l)
		d.log.Info("admin", "url", "http://"+l.Addr().String())
		if !isLocal(l) {
			d.log.Warn("whoever reaches this address can read metrics and take profiles", "addr", l.Addr())
		}
	}
}

// reloadOnHangup reads the password and the certificates again at each SIGHUP, until
// what it returns is called. If one is wrong what was read before holds.
func (d *daemon) reloadOnHangup() (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			secret, err := d.reload()
			if err != nil {
				d.log.Error("reload: what was read before still holds", "err", err)
				continue
			}
			if secret != nil { // else clients may have set one
				d.srv.SetSecret(secret)
			}
			d.log.Info("reloaded")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}

// close ends what serve has opened, if it has not ended yet.
func (d *daemon) close() {
	closeAll(d.listeners)
	closeAll(d.admins)
}

func (d *daemon) options() server.Options {
	fsync, err := server.ParseFsync(d.appendfsync)
	if err != nil {
		panic(err) // the setting allows no other
	}
	o := server.Options{
		Fsync:        fsync,
		MaxClients:   d.maxClients,
		MostClients:  d.mostClients,
		Databases:    d.databases,
		Secret:       d.secret,
		Unprotected:  !bool(d.protectedMode),
		ClientMemory: int64(d.clientMemory),
		OutputLimit:  server.OutputLimit(d.outputLimit),
		Timeout:      time.Duration(d.timeout),
		Debug:        bool(d.debugCommand),
		Log:          d.log,
		Version:      version(),
		Dir:          string(d.dir),
		MemoryBytes:  int64(d.memory),
		Parameters:   map[string]string{},
	}
	o.Limits.BulkBytes, o.Limits.CommandBytes = int(d.maxBulk), int(d.queryBuffer)
	for _, g := range d.groups() {
		for _, s := range g.settings {
			switch v, isSize := s.value.(*size); {
			case g.title == "": // for tests
			case isSize: // in bytes, as Redis has them
				o.Parameters[s.name] = strconv.FormatInt(int64(*v), 10)
			default:
				o.Parameters[s.name] = s.value.String()
			}
		}
	}
	return o
}

// configure tells the server what has no place among its options.
func (d *daemon) configure() error {
	for _, c := range []struct {
		name  string
		value int
	}{
		{"slowlog-log-slower-than", d.slowlogSlower},
		{"slowlog-max-len", d.slowlogMaxLen},
		{"tracking-table-max-keys", d.trackedKeys},
	} {
		if err := d.srv.Configure(c.name, strconv.Itoa(c.value)); err != nil {
			return err
		}
	}
	return nil
}

// quickOpen is how long clients wait for a store to open before they are told that it is
// loading. Most open sooner, and then nobody need come again.
const quickOpen = 500 * time.Millisecond

func (d *daemon) accept(l net.Listener) {
	select {
	case <-d.opened:
	case <-time.After(quickOpen):
	}
	if err := d.srv.Serve(l); err != nil {
		select {
		case d.served <- err:
		default: // one is enough
		}
	}
}

// open opens the store and gives it to the server. If somebody wants an end before that
// it returns false: recovery can begin again.
func (d *daemon) open() (opened bool, err error) {
	began := time.Now()
	result := make(chan error, 1)
	go func() {
		var err error
		d.db, err = store.Open(string(d.dir), &store.Options{
			MemoryBudget: int64(d.memory),
			DirtyBudget:  int64(d.dirtyBudget),
			LogBytes:     int64(d.logBytes),
			TrapOnly:     bool(d.trapOnly),
			Progress:     d.progress(),
			Expired:      d.srv.Expired,
		})
		result <- err
	}()
	select {
	case err := <-result:
		if err != nil {
			return false, err
		}
	case sig := <-d.signals:
		d.log.Info("shutting down while loading", "signal", sig)
		return false, nil
	case <-d.srv.ShutdownAsked():
		d.log.Info("shutting down while loading", "command", "SHUTDOWN")
		return false, nil
	case err := <-d.served:
		return false, err
	}
	if err := d.confineOpen(); err != nil {
		return false, errors.Join(err, d.db.Close())
	}
	d.srv.Open(d.db)
	close(d.opened)
	d.warn()
	for _, l := range d.listeners {
		d.log.Info("listening", "addr", l.Addr(), "dir", string(d.dir), "appendfsync", d.appendfsync,
			"tls", isTLS(l), "loaded_in", time.Since(began).Round(time.Millisecond))
	}
	return true, nil
}

// progressEvery is how often the log tells of a long recovery.
const progressEvery = 5 * time.Second

// progress returns what the store tells of its recovery.
func (d *daemon) progress() func(done, total uint64) {
	var next time.Time
	return func(done, total uint64) {
		d.srv.Loading(done, total)
		if now := time.Now(); total > 0 && now.After(next) {
			next = now.Add(progressEvery)
			notify(fmt.Sprintf("STATUS=loading, %d of %d bytes of the log\nEXTEND_TIMEOUT_USEC=%d", done, total, 10*progressEvery.Microseconds()))
			d.log.Info("loading", "addr", d.listeners[0].Addr(), "dir", string(d.dir), "log_bytes", done, "of", total)
		}
	}
}

// wait returns when somebody or something ends the server.
func (d *daemon) wait() error {
	select {
	case sig := <-d.signals:
		d.log.Info("shutting down", "signal", sig)
	case <-d.srv.ShutdownAsked():
		d.log.Info("shutting down", "command", "SHUTDOWN")
	case err := <-d.served:
		return err
	}
	return nil
}

// sameSignal is how soon after the first a second signal means the same: timeout(1) sends
// one to the process and one to its group.
const sameSignal = time.Second

// drain lets clients have the replies to what they have sent, for so long as is set. A
// second signal ends the process.
func (d *daemon) drain() error {
	began := time.Now()
	go func() {
		for sig := range d.signals {
			if time.Since(began) < sameSignal {
				d.log.Info("already shutting down", "signal", sig)
				continue
			}
			d.log.Warn("exit without a checkpoint", "signal", sig)
			os.Exit(exitFailure)
		}
	}()
	within := time.Duration(d.shutdownWithin)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	err := d.srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		d.log.Warn("cut off clients that did not take their replies", "after", within)
		return nil
	}
	if err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return nil
}
