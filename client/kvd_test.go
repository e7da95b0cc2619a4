package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"faultline/client"
	"faultline/kv"
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
