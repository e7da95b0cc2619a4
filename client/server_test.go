package client_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"faultline/server"
	"faultline/store"
)

// A daemon is a kvd in this process.
type daemon struct {
	url string
	db  *store.DB
	srv *server.Server
	dir string
}

// serve starts a daemon on a socket of its own, in a directory of its own.
func serve(o server.Options) (*daemon, error) {
	dir, err := os.MkdirTemp("", "kvd")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return serveOn(l, "unix://"+path, dir, o)
}

// serveTLS is serve over TCP and TLS.
func serveTLS(c *tls.Config, o server.Options) (*daemon, error) {
	dir, err := os.MkdirTemp("", "kvd")
	if err != nil {
		return nil, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		return nil, err
	}
	return serveOn(l, fmt.Sprintf("kvds://%s", l.Addr()), dir, o)
}

func serveOn(l net.Listener, url, dir string, o server.Options) (*daemon, error) {
	db, err := store.Open(filepath.Join(dir, "data"), &store.Options{MemoryBudget: 64 << 20})
	if err != nil {
		return nil, err
	}
	d := &daemon{url: url, db: db, srv: server.New(db, o), dir: dir}
	go d.srv.Serve(l)
	return d, nil
}

// stop ends the server, then the store. Clients are cut off.
func (d *daemon) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d.srv.Shutdown(ctx)
	d.db.Close()
	os.RemoveAll(d.dir)
}
