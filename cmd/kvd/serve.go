package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"faultline/server"
	"faultline/store"
)

// drainTime is how long a shutdown waits for clients that do not read.
const drainTime = 10 * time.Second

type serveOptions struct {
	dir        string
	listen     string
	pprof      string
	maxClients int
	durability durabilityFlag
	memory     sizeFlag

	// For tests: checkpoints under load, and traps alone.
	dirtyBudget sizeFlag
	logBytes    sizeFlag
	trapOnly    bool
}

func newServe(stderr io.Writer) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve --dir DIR",
		Short: "Serve a store to Redis clients",
		Long: `Serve a store to Redis clients.

SIGTERM, SIGINT and the command SHUTDOWN end it in order: what has been read is
executed and answered, and the store is checkpointed. A second signal ends it at
once. Nothing that was acknowledged is lost either way.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serve(&o, stderr) },
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "", "directory of the store, made if there is none")
	f.StringVar(&o.listen, "listen", "127.0.0.1:6380", "address for clients; port 0 takes a free one")
	f.Var(&o.durability, "durability", "a write is acknowledged when it is on disk (sync), or when the kernel has it (async)")
	f.Var(&o.memory, "memory", "memory of the store, e.g. 1GiB (default half of the machine's)")
	f.IntVar(&o.maxClients, "max-clients", 10_000, "connections at once")
	f.StringVar(&o.pprof, "pprof", "", "address for Go's profiles over HTTP (default none)")
	f.Var(&o.dirtyBudget, "dirty-budget", "")
	f.Var(&o.logBytes, "log-bytes", "")
	f.BoolVar(&o.trapOnly, "trap-only", false, "")
	for _, name := range []string{"dirty-budget", "log-bytes", "trap-only"} {
		f.Lookup(name).Hidden = true
	}
	cmd.MarkFlagRequired("dir")
	return cmd
}

// serve runs the server until a signal or SHUTDOWN. It listens before it opens
// the store, which may take long: a port in use shows at once, and clients that
// connect early wait.
func serve(o *serveOptions, stderr io.Writer) error {
	if o.dir == "" {
		return usageError{errors.New("--dir is empty")}
	}
	if o.maxClients < 1 {
		return usageError{fmt.Errorf("--max-clients %d: want 1 or more", o.maxClients)}
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := servePprof(o.pprof, log); err != nil {
		return err
	}
	db, err := store.Open(o.dir, &store.Options{
		MemoryBudget: int64(o.memory),
		DirtyBudget:  int64(o.dirtyBudget),
		LogBytes:     int64(o.logBytes),
		TrapOnly:     o.trapOnly,
	})
	if err != nil {
		return err
	}

	// Until here a signal ends the process: recovery can begin again.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	srv := server.New(db, server.Options{
		Durability:  store.Durability(o.durability),
		MaxClients:  o.maxClients,
		Log:         log,
		Version:     version(),
		Dir:         o.dir,
		MemoryBytes: int64(o.memory),
	})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	log.Info("listening", "addr", l.Addr(), "dir", o.dir, "durability", o.durability.String())
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		log.Warn("there is no password: whoever reaches this address can read, write and shut down", "addr", l.Addr())
	}

	var serveErr error
	select {
	case sig := <-signals:
		log.Info("shutting down", "signal", sig)
	case <-srv.ShutdownAsked():
		log.Info("shutting down", "command", "SHUTDOWN")
	case serveErr = <-served:
	}
	go func() {
		sig := <-signals
		log.Warn("exit without a checkpoint", "signal", sig)
		os.Exit(exitFailure)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Warn("cut off clients that did not take their replies", "after", drainTime)
	}
	return errors.Join(serveErr, db.Close())
}

func servePprof(addr string, log *slog.Logger) error {
	if addr == "" {
		return nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("pprof: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	go http.Serve(l, mux)
	log.Info("profiles", "url", fmt.Sprintf("http://%s/debug/pprof/", l.Addr()))
	return nil
}
