package integration

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"faultline/server/resp/resptest"
)

// A pki makes certificates for tests.
type pki struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

func newPKI(t *testing.T) *pki {
	p := &pki{t: t}
	p.key, p.cert = p.sign("authority", nil)
	return p
}

// sign makes a certificate for a name, signed by the authority, or by itself if there
// is none yet.
func (p *pki) sign(name string, usage []x509.ExtKeyUsage) (*ecdsa.PrivateKey, *x509.Certificate) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.last++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(p.last), Subject: pkix.Name{CommonName: name}, ExtKeyUsage: usage,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	parent, signer := p.cert, p.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return key, cert
}

func pemCert(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// write makes a certificate for a server, and puts it and its key into dir.
func (p *pki) write(dir, name string) (certFile, keyFile string) {
	p.t.Helper()
	key, cert := p.sign(name, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(os.WriteFile(certFile, pemCert(cert), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	if err != nil {
		p.t.Fatal(err)
	}
	return certFile, keyFile
}

// client returns what a client needs that trusts the authority, with a certificate of
// its own if it has a name.
func (p *pki) client(name string) *tls.Config {
	conf := &tls.Config{RootCAs: x509.NewCertPool()}
	conf.RootCAs.AddCert(p.cert)
	if name != "" {
		key, cert := p.sign(name, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth})
		conf.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	return conf
}

var listeningTLS = regexp.MustCompile(`msg=listening addr=(\S+) .*tls=true`)

// ping connects by TLS, and returns the name of the server's certificate.
func ping(addr string, conf *tls.Config) (server string, err error) {
	nc, err := tls.DialWithDialer(&net.Dialer{Timeout: watchdog}, "tcp", addr, conf)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(watchdog)); err != nil {
		return "", err
	}
	if _, err := resptest.NewConn(nc).Do("PING"); err != nil {
		return "", err
	}
	return nc.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// TestTLS connects with and without a certificate, with TLS 1.2, and without TLS; gives
// kvd another certificate by SIGHUP; and then a key that others can read, with which it
// must not go on: what it had holds.
func TestTLS(t *testing.T) {
	p, files := newPKI(t), t.TempDir()
	cert, key := p.write(files, "first")
	ca := filepath.Join(files, "ca.pem")
	if err := os.WriteFile(ca, pemCert(p.cert), 0o644); err != nil {
		t.Fatal(err)
	}
	k := startKvd(t, t.TempDir(), 2, "--tls-listen", "127.0.0.1:0", "--tls-cert-file", cert, "--tls-key-file", key,
		"--tls-ca-cert-file", ca)
	addr := k.waitLog(listeningTLS)[1]
	expect := func(name string) {
		t.Helper()
		if got, err := ping(addr, p.client("me")); err != nil || got != name {
			t.Errorf("the server is %q, %v, want %q", got, err, name)
		}
	}
	expect("first")
	if _, err := ping(addr, p.client("")); err == nil {
		t.Error("a client without a certificate came in")
	}
	if _, err := ping(addr, newPKI(t).client("me")); err == nil {
		t.Error("a client of another authority came in, and trusts the server")
	}
	old := p.client("me")
	old.MaxVersion = tls.VersionTLS12
	if _, err := ping(addr, old); err == nil {
		t.Error("a client came in with TLS 1.2")
	}
	if c, err := resptest.Dial(addr); err != nil {
		t.Error(err)
	} else if _, err := c.Do("PING"); err == nil {
		t.Error("a client came in without TLS")
	}

	p.write(files, "second")
	k.signal(syscall.SIGHUP)
	if m := k.waitLog(reloaded); m[1] != "" {
		t.Errorf("reload: %s", m[1])
	}
	expect("second")

	p.write(files, "third")
	if err := os.Chmod(key, 0o604); err != nil {
		t.Fatal(err)
	}
	k.signal(syscall.SIGHUP)
	if m := k.waitLog(reloaded); !strings.Contains(m[1], "others can read it") {
		t.Errorf("reload with a key that others can read: %q", m[1])
	}
	expect("second")
	k.stop()
	if got := refused(t, "--dir", t.TempDir(), "--port", "0", "--tls-listen", "127.0.0.1:0", "--tls-cert-file", cert,
		"--tls-key-file", key); !strings.Contains(got, "others can read it") {
		t.Errorf("a start with a key that others can read: %s", got)
	}
}

// TestPassword starts kvd with a file that has a password: others must not be able to
// read it, nobody comes in without the password, and SIGHUP changes it.
func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"secret", 0o604, "others can read it"},
		{"secret", 0o602, "others can read it"},
		{"\n", 0o600, "no password in it"},
		{strings.Repeat("a", 1<<20), 0o600, "longer than"},
	} {
		write(c.text, c.mode)
		if got := refused(t, "--dir", t.TempDir(), "--listen", "127.0.0.1:0", "--requirepass-file", file); !strings.Contains(got, c.want) {
			t.Errorf("%.10q, mode %o: %s", c.text, c.mode, got)
		}
	}
	write("one\r\n", 0o640)
	k := startKvd(t, t.TempDir(), 2, "--requirepass-file", file)
	if _, err := k.dial().Do("GET", "a"); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a password: %v", err)
	}
	c := k.dial()
	if _, err := c.Do("AUTH", "one"); err != nil {
		t.Error(err)
	}
	write("two", 0o600)
	k.signal(syscall.SIGHUP)
	k.waitLog(reloaded)
	if _, err := k.dial().Do("AUTH", "one"); err == nil {
		t.Error("the old password still does")
	}
	if _, err := k.dial().Do("AUTH", "two"); err != nil {
		t.Error(err)
	}
	if _, err := c.Do("SET", "a", "b"); err != nil {
		t.Errorf("who was in is out: %v", err)
	}
	k.mu.Lock()
	if strings.Contains(k.log.String(), "one") || strings.Contains(k.log.String(), "two") {
		t.Error("a password stands in the log")
	}
	k.mu.Unlock()
	k.stop()
}

// TestUnixSocket kills kvd, which leaves its socket, and starts it again; a second one
// meanwhile, and a file that is no socket, are refused.
func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "kvd.sock")
	flags := []string{"--unixsocket", socket, "--unixsocketperm", "770"}
	k := startKvd(t, filepath.Join(dir, "data"), 2, flags...)
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o770 {
		t.Errorf("socket: %v, %v", st, err)
	}
	if got := refused(t, append(flags, "--dir", t.TempDir(), "--port", "0")...); !strings.Contains(got, "another process listens") {
		t.Errorf("a second kvd on the socket: %s", got)
	}
	k.kill()
	k = startKvd(t, filepath.Join(dir, "data"), 2, flags...)
	nc, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := resptest.NewConn(nc).Do("SET", "a", "b"); err != nil {
		t.Error(err)
	}
	k.stop()
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left after an end in order: %v", err)
	}
	if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, append(flags, "--dir", t.TempDir(), "--port", "0")...); !strings.Contains(got, "no socket") {
		t.Errorf("a file in the place of the socket: %s", got)
	}
}

var (
	loadingLine = regexp.MustCompile(`msg=loading addr=(\S+)`)
	adminLine   = regexp.MustCompile(`msg=admin url=(\S+)`)
)

// TestLoadingServer kills kvd with some MiB of log, and watches the next one recover: it
// answers -LOADING and tells how far it is, while it lives and is not ready. Before that
// it ends one by SIGTERM while it recovers.
func TestLoadingServer(t *testing.T) {
	dir := t.TempDir()
	k := startKvd(t, dir, 2, "--appendfsync", "no", "--log-bytes", "1GiB", "--dirty-budget", "64MiB")
	c := k.dial()
	const batches, keys = 60, 10_000
	for b := range batches {
		for i := range keys {
			c.Send("SET", fmt.Sprintf("key%d", (b*keys+i)*7919%(batches*keys)), "value")
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		for range keys {
			if _, err := c.Receive(); err != nil {
				t.Fatal(err)
			}
		}
	}
	k.kill()

	k = startUnready(t, dir)
	k.waitLog(loadingLine)
	k.signal(syscall.SIGTERM)
	if status := k.wait(); status != 0 {
		t.Errorf("SIGTERM while it recovers: exit status %d", status)
	}
	for try := 0; ; try++ { // the recovery may be over before we come
		k := startUnready(t, dir, "--admin", "127.0.0.1:0")
		admin := k.waitLog(adminLine)[1]
		k.addr = k.waitLog(loadingLine)[1]
		c := k.dial()
		_, err := c.Do("GET", "key1")
		if err == nil && try < 5 {
			k.kill()
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "LOADING Redis is loading the dataset in memory") {
			t.Fatalf("GET while it recovers: %v", err)
		}
		info, err := c.Do("INFO", "persistence")
		if err != nil || !strings.Contains(info.Str, "loading:1\r\n") || !regexp.MustCompile(`loading_total_bytes:[1-9]`).MatchString(info.Str) {
			t.Errorf("INFO while it recovers: %v\n%s", err, info.Str)
		}
		if status, body := ask(t, admin+"/healthz"); status != 200 {
			t.Errorf("healthz: %d %s", status, body)
		}
		if status, body := ask(t, admin+"/readyz"); status != 503 || !strings.Contains(body, "recovering") {
			t.Errorf("readyz while it recovers: %d %s", status, body)
		}
		k.waitLog(listening)
		if status, body := ask(t, admin+"/readyz"); status != 200 {
			t.Errorf("readyz: %d %s", status, body)
		}
		if r, err := c.Do("GET", "key1"); err != nil || r.Str != "value" {
			t.Errorf("GET after the recovery: %v, %v", r, err)
		}
		if status, body := ask(t, admin+"/metrics"); status != 200 || !strings.Contains(body, "\nkvd_ready 1\n") {
			t.Errorf("metrics: %d %s", status, body)
		}
		k.stop()
		return
	}
}

// startUnready starts kvd on dir and does not wait until it serves.
func startUnready(t *testing.T, dir string, flags ...string) *kvd {
	t.Helper()
	return launch(t, "exec \"$0\" \"$@\"", append([]string{"serve", "--dir", dir, "--listen", "127.0.0.1:0", "--memory", "256MiB"}, flags...)...)
}

func ask(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// TestNotify gives kvd the socket of a systemd, and reads what it says there.
func TestNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	k := startKvd(t, t.TempDir(), 2, "--landlock", "yes")
	k.stop()
	var said []string
	if err := l.SetReadDeadline(time.Now().Add(watchdog)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 4096); len(said) == 0 || !strings.HasPrefix(said[len(said)-1], "STOPPING=1"); {
		n, err := l.Read(b)
		if err != nil {
			t.Fatalf("%q, then %v", said, err)
		}
		said = append(said, string(b[:n]))
	}
	if !strings.HasPrefix(said[len(said)-2], "READY=1") {
		t.Errorf("kvd said %q", said)
	}
}

// TestShutdownTimeout ends kvd while a client takes no reply: it waits no longer than it
// is told.
func TestShutdownTimeout(t *testing.T) {
	k := startKvd(t, t.TempDir(), 2, "--shutdown-timeout", "100ms")
	k.deafClient()
	k.signal(syscall.SIGTERM)
	k.waitLog(regexp.MustCompile("cut off clients"))
	if status := k.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// deafClient has a reply on its way that is larger than the sockets hold, to a client that
// does not read.
func (k *kvd) deafClient() {
	k.t.Helper()
	c := k.dial()
	if _, err := c.Do("SET", "a", strings.Repeat("x", 1<<20)); err != nil {
		k.t.Fatal(err)
	}
	for range 64 {
		c.Send("GET", "a")
	}
	if err := c.Flush(); err != nil {
		k.t.Fatal(err)
	}
	if _, err := bufio.NewReader(c.Conn).Peek(1); err != nil { // the first reply is on its way
		k.t.Fatal(err)
	}
}
