package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"faultline/server"
	"faultline/store"
)

func newServe(stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve a store to Redis clients",
		Long: `Serve a store to Redis clients.

Clients that come while the store recovers are answered -LOADING. SIGTERM, SIGINT and
the command SHUTDOWN end the server in order: what has been read is executed and
answered, and the store is checkpointed. A second signal ends it at once. Nothing that
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
	if len(tcpAddresses(c.listen, c.bind, c.port)) == 0 && c.unixSocket == "" {
		return usageError{errors.New("port is 0, and there is no unixsocket: nobody could connect")}
	}
	return nil
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
	log       *slog.Logger
	listeners []net.Listener
	srv       *server.Server
	db        *store.DB
	served    chan error // an error of one of the listeners
	signals   chan os.Signal
}

// serve runs the server until a signal or SHUTDOWN. It listens before it opens the
// store, which may take long: a port in use shows at once, and who comes early is told
// how far it is.
func serve(c *config, log *slog.Logger) error {
	syscall.Umask(0o077) // what is made is for this user only
	d := &daemon{config: c, log: log, served: make(chan error, 1), signals: make(chan os.Signal, 2)}
	if err := d.listen(); err != nil {
		return err
	}
	defer closeAll(d.listeners)
	d.srv = server.New(nil, d.options())
	signal.Notify(d.signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(d.signals)
	for _, l := range d.listeners {
		go d.accept(l)
	}
	opened, err := d.open()
	if err != nil || !opened {
		return errors.Join(err, d.drain())
	}
	err = d.wait()
	return errors.Join(err, d.drain(), d.db.Close())
}

// listen opens the sockets of clients.
func (d *daemon) listen() (err error) {
	d.listeners, err = listenTCP(tcpAddresses(d.config.listen, d.bind, d.port), time.Duration(d.tcpKeepalive))
	if err != nil || d.unixSocket == "" {
		return err
	}
	l, err := listenUnix(string(d.unixSocket), d.unixSocketPerm)
	if err != nil {
		closeAll(d.listeners)
		return err
	}
	d.listeners = append(d.listeners, l)
	return nil
}

func (d *daemon) options() server.Options {
	fsync, err := server.ParseFsync(d.appendfsync)
	if err != nil {
		panic(err) // the setting allows no other
	}
	return server.Options{
		Fsync:       fsync,
		MaxClients:  d.maxClients,
		Log:         d.log,
		Version:     version(),
		Dir:         string(d.dir),
		MemoryBytes: int64(d.memory),
	}
}

func (d *daemon) accept(l net.Listener) {
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
	d.srv.Open(d.db)
	d.warn()
	for _, l := range d.listeners {
		d.log.Info("listening", "addr", l.Addr(), "dir", string(d.dir), "appendfsync", d.appendfsync,
			"loaded_in", time.Since(began).Round(time.Millisecond))
	}
	return true, nil
}

// warn tells of who can come in.
func (d *daemon) warn() {
	for _, l := range d.listeners {
		if !isLocal(l) {
			d.log.Warn("there is no password: whoever reaches this address can read, write and shut down", "addr", l.Addr())
		}
	}
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

// drain lets clients have the replies to what they have sent, for so long as is set. A
// signal meanwhile ends the process.
func (d *daemon) drain() error {
	go func() {
		sig := <-d.signals
		d.log.Warn("exit without a checkpoint", "signal", sig)
		os.Exit(exitFailure)
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
