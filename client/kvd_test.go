package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"faultline/client"
	"faultline/kv"
	"faultline/kv/kvtest"
	"faultline/server"
)

// examples is the daemon of the examples.
var examples *daemon

func TestMain(m *testing.M) {
	var err error
	if examples, err = serve(server.Options{}); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	examples.stop()
	os.Exit(code)
}

// daemonFor starts a daemon for one test.
func daemonFor(t *testing.T, o server.Options) *daemon {
	t.Helper()
	d, err := serve(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	return d
}

// TestConformance runs the tests of package kv on a client.
func TestConformance(t *testing.T) {
	db, err := client.Open(t.Context(), daemonFor(t, server.Options{}).url)
	if err != nil {
		t.Fatal(err)
	}
	kvtest.Run(t, db)
}

// TestCache reads from memory what the server has said nothing about, and sees what it
// has.
func TestCache(t *testing.T) {
	d := daemonFor(t, server.Options{})
	reader, err := client.Open(t.Context(), d.url, client.WithCache(1<<20, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer, err := client.Open(t.Context(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	key := []byte("key")
	if _, err := reader.Get(key); !errors.Is(err, kv.ErrNotFound) {
		t.Fatal(err)
	}
	for i := range 100 {
		want := fmt.Sprint(i)
		if err := writer.Put(key, []byte(want), kv.Async); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); ; {
			value, err := reader.Get(key)
			if string(value) == want {
				clear(value) // it is the caller's
				break
			}
			if err != nil && !errors.Is(err, kv.ErrNotFound) || time.Now().After(deadline) {
				t.Fatalf("%q, %v; want %q", value, err, want)
			}
		}
	}
	before := commands(t, writer)
	for range 100 {
		if value, err := reader.Get(key); string(value) != "99" || err != nil {
			t.Fatalf("%q, %v", value, err)
		}
	}
	if n := commands(t, writer) - before; n >= 100 {
		t.Errorf("100 reads from memory were %d commands", n)
	}
}

// commands returns how many the server has executed.
func commands(t *testing.T, db *client.DB) (n int) {
	t.Helper()
	raw := db.Raw()
	info, err := raw.Do(t.Context(), raw.B().Info().Section("stats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	const field = "total_commands_processed:"
	for i := range info {
		if len(info)-i > len(field) && info[i:i+len(field)] == field {
			fmt.Sscanf(info[i+len(field):], "%d", &n)
			return n
		}
	}
	t.Fatalf("no %s in %q", field, info)
	return 0
}

// TestSyncOnKvd writes to servers that sync when they like: each Sync write makes them.
func TestSyncOnKvd(t *testing.T) {
	for _, fsync := range []server.Fsync{server.FsyncEverysec, server.FsyncNo} {
		d := daemonFor(t, server.Options{Fsync: fsync})
		db, err := client.Open(t.Context(), d.url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		key := []byte("key")
		if err := db.Put(key, nil, kv.Async); err != nil {
			t.Fatal(err)
		}
		for name, write := range map[string]func() error{
			"put":    func() error { return db.Put(key, []byte("value"), kv.Sync) },
			"expire": func() error { _, err := db.Expire(key, time.Now().Add(time.Hour), kv.Sync); return err },
			"batch":  func() error { return db.Write(t.Context(), kv.Sync, func(b kv.Batch) error { return b.Put(key, nil) }) },
			"update": func() error {
				return db.Update(t.Context(), nil, kv.Sync, func(tx kv.Tx) error { return tx.Put(key, nil) })
			},
		} {
			lsn := d.db.LSN()
			if err := write(); err != nil {
				t.Fatalf("%s, appendfsync %v: %v", name, fsync, err)
			}
			if d.db.LSN() == lsn {
				t.Errorf("%s wrote nothing", name)
			}
			before := d.db.Metrics().Log.Syncs
			if err := d.db.WaitDurable(t.Context(), d.db.LSN()); err != nil {
				t.Fatal(err)
			}
			if syncs := d.db.Metrics().Log.Syncs - before; syncs != 0 {
				t.Errorf("%s, appendfsync %v: %d syncs were left to be done", name, fsync, syncs)
			}
		}
	}
}

// TestPassword gives the right password, a wrong one and none.
func TestPassword(t *testing.T) {
	secret := server.NewSecret([]byte("open sesame"))
	d := daemonFor(t, server.Options{Secret: &secret})
	for _, c := range []struct {
		opts []client.Option
		want string
	}{
		{nil, "NOAUTH"},
		{[]client.Option{client.WithPassword("", "close sesame")}, "WRONGPASS"},
		{[]client.Option{client.WithPassword("", "open sesame")}, ""},
	} {
		db, err := client.Open(t.Context(), d.url, c.opts...)
		if err == nil {
			db.Close()
		}
		if err == nil != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sesame")) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestTLS connects with an authority of its own, and not without.
func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	d, err := serveTLS(&tls.Config{Certificates: []tls.Certificate{cert}}, server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	if _, err := client.Open(t.Context(), d.url); err == nil {
		t.Error("a certificate of an unknown authority is taken")
	}
	db, err := client.Open(t.Context(), d.url, client.WithTLS(&tls.Config{RootCAs: pool}))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Put([]byte("key"), make([]byte, 100_000), kv.Sync); err != nil {
		t.Fatal(err)
	}
	if value, err := db.Get([]byte("key")); len(value) != 100_000 || err != nil {
		t.Fatalf("%d bytes, %v", len(value), err)
	}
}

// certificate makes one for 127.0.0.1, and what trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
