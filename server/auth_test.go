package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"faultline/server/resp/resptest"
)

// withPassword returns options with the password "secret".
func withPassword() Options {
	secret := NewSecret([]byte("secret"))
	return Options{Secret: &secret}
}

// TestConfigSetPassword changes the password by CONFIG SET: who is in stays in, who comes
// needs the new one, and it is shown nowhere.
func TestConfigSetPassword(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	in := dial(t, addr)
	do(t, in, "CONFIG", "SET", "slowlog-log-slower-than", "0")
	for _, password := range []string{"one", "two"} {
		do(t, in, "CONFIG", "SET", "requirepass", password)
		c := dial(t, addr)
		for _, step := range []struct{ send, want string }{
			{"GET a", "-" + noAuth},
			{"AUTH " + password, "+OK"},
			{"GET a", "nil"},
			{"CONFIG GET requirepass", "[]"},
		} {
			if got := answer(t, c, strings.Fields(step.send)...); got != step.want {
				t.Errorf("%s: %s, want %s", step.send, got, step.want)
			}
		}
		if got := answer(t, in, "GET", "a"); got != "nil" {
			t.Errorf("GET of who was in before: %s", got)
		}
	}
	if log := answer(t, in, "SLOWLOG", "GET", "-1"); strings.Contains(log, `"one"`) || strings.Contains(log, `"two"`) {
		t.Errorf("SLOWLOG has the password: %s", log)
	}
	do(t, in, "CONFIG", "SET", "requirepass", "")
	if got := answer(t, dial(t, addr), "GET", "a"); got != "nil" {
		t.Errorf("GET without a password: %s", got)
	}
}

// TestAuth sends commands without the password, with a wrong one and with the right one,
// and takes it back. The texts are Redis's.
func TestAuth(t *testing.T) {
	srv, addr := start(t, openStore(t), withPassword())
	c := dial(t, addr)
	for _, step := range []struct{ send, want string }{
		{"GET a", "-" + noAuth},
		{"PING", "-" + noAuth},
		{"CONFIG GET *", "-" + noAuth},
		{"NOTHING", "-ERR unknown command 'NOTHING', with args beginning with: "},
		{"HELLO 3", "-" + helloNoAuth},
		{"AUTH wrong", "-" + wrongPass},
		{"AUTH default wrong", "-" + wrongPass},
		{"AUTH somebody secret", "-" + wrongPass},
		{"HELLO 3 AUTH default wrong", "-" + wrongPass},
		{"GET a", "-" + noAuth},
		{"AUTH secret", "+OK"},
		{"GET a", "nil"},
		{"AUTH wrong", "-" + wrongPass},
		{"GET a", "nil"}, // who is in stays in
		{"RESET", "+RESET"},
		{"GET a", "-" + noAuth},
		{"AUTH default secret", "+OK"},
		{"GET a", "nil"},
	} {
		if got := answer(t, c, strings.Fields(step.send)...); got != step.want {
			t.Errorf("%s: %s, want %s", step.send, got, step.want)
		}
	}
	if n := srv.strangers.Load(); n != 0 {
		t.Errorf("%d strangers", n)
	}
	another := NewSecret([]byte("another"))
	srv.SetSecret(&another)
	if got := answer(t, c, "GET", "a"); got != "nil" {
		t.Errorf("after another password was set: %s", got)
	}
	d := dial(t, addr)
	if got := answer(t, d, "AUTH", "secret"); got != "-"+wrongPass {
		t.Errorf("with the old password: %s", got)
	}
	if got := answer(t, d, "HELLO", "3", "AUTH", "default", "another", "SETNAME", "x"); !strings.HasPrefix(got, "%") {
		t.Errorf("with the new password: %s", got)
	}
	srv.SetSecret(nil)
	if got := answer(t, dial(t, addr), "GET", "a"); got != "nil" {
		t.Errorf("without a password: %s", got)
	}
}

// TestStrangers sends what only strangers may not, at the limits, and ends those that do
// not give the password in time.
func TestStrangers(t *testing.T) {
	_, addr := start(t, openStore(t), withPassword())
	long := strings.Repeat("x", 16<<10)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{append([]string{"DEL"}, strings.Fields(strings.Repeat("k ", 9))...), "-" + noAuth},
		{append([]string{"DEL"}, strings.Fields(strings.Repeat("k ", 10))...), "-ERR Protocol error: unauthenticated multibulk length"},
		{[]string{"ECHO", long}, "-" + noAuth},
		{[]string{"ECHO", long + "x"}, "-ERR Protocol error: unauthenticated bulk length"},
	} {
		c := dial(t, addr)
		if got := answer(t, c, tc.args...); got != tc.want {
			t.Errorf("%d arguments: %s, want %s", len(tc.args), got, tc.want)
		}
		do(t, dial(t, addr), "AUTH", "secret")
	}
	c := dial(t, addr)
	do(t, c, "AUTH", "secret")
	if got := answer(t, c, "ECHO", long+"x"); len(got) != len(long)+3 {
		t.Errorf("after the password: %d bytes", len(got))
	}
}

// TestStrangersTime lets strangers be until their time is over.
func TestStrangersTime(t *testing.T) {
	srv := New(openStore(t), withPassword()) // no Serve, so no janitor but this test
	defer srv.Shutdown(context.Background())
	slow, _ := pipe(t, srv)
	c, _ := pipe(t, srv)
	do(t, c, "AUTH", "secret")
	if got := answer(t, slow, "PING"); got != "-"+noAuth {
		t.Fatal(got)
	}
	for range strangerTicks {
		srv.look()
	}
	if got := answer(t, slow, "PING"); got != "-"+noAuth {
		t.Fatal(got)
	}
	srv.look()
	expectEnd(t, slow)
	do(t, c, "PING")
}

// TestStrangersCount connects more strangers than half of all clients.
func TestStrangersCount(t *testing.T) {
	o := withPassword()
	o.MaxClients = 4
	_, addr := start(t, openStore(t), o)
	a, b := dial(t, addr), dial(t, addr)
	for _, c := range []*resptest.Conn{a, b} {
		if got := answer(t, c, "PING"); got != "-"+noAuth {
			t.Fatal(got)
		}
	}
	expect(t, dial(t, addr), "-ERR max number of clients reached")
	do(t, a, "AUTH", "secret")
	if got := answer(t, dial(t, addr), "PING"); got != "-"+noAuth {
		t.Error(got)
	}
}

// TestFailures counts wrong passwords by address, with a clock of its own.
func TestFailures(t *testing.T) {
	f := failures{sources: make(map[netip.Addr]time.Time)}
	now := time.Unix(1e9, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range failureBurst {
		if !f.mayTry(a, now) {
			t.Fatalf("failure %d is one too many", i)
		}
		f.add(a, now)
	}
	if f.mayTry(a, now) || !f.mayTry(b, now) {
		t.Error("the wrong address may go on")
	}
	now = now.Add(failureEvery)
	if !f.mayTry(a, now) {
		t.Error("a second later it may not try again")
	}
	f.add(a, now)
	if f.mayTry(a, now) {
		t.Error("it may try twice")
	}
	for i := range 3 * maxSources {
		f.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := len(f.sources); n > maxSources {
		t.Errorf("%d addresses are remembered", n)
	}
}

// TestFailuresReach fails over the network until the right password is not looked at.
func TestFailuresReach(t *testing.T) {
	srv, addr := start(t, openStore(t), withPassword())
	c := dial(t, addr)
	if got := answer(t, c, "AUTH", "wrong"); got != "-"+wrongPass {
		t.Fatal(got)
	}
	from := source(c.LocalAddr())
	for range failureBurst {
		srv.failures.add(from, time.Now())
	}
	if got := answer(t, c, "AUTH", "secret"); got != "-"+manyFailures {
		t.Errorf("right password after many failures: %s", got)
	}
}

// TestSource has the addresses that are one source.
func TestSource(t *testing.T) {
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for _, tc := range []struct {
		a, b net.Addr
		same bool
	}{
		{tcp("192.0.2.1:1"), tcp("192.0.2.1:2"), true},
		{tcp("192.0.2.1:1"), tcp("192.0.2.2:1"), false},
		{tcp("192.0.2.1:1"), tcp("[::ffff:192.0.2.1]:1"), true},
		{tcp("[2001:db8::1]:1"), tcp("[2001:db8::ffff:1]:1"), true},
		{tcp("[2001:db8::1]:1"), tcp("[2001:db8:0:1::1]:1"), false},
		{&net.UnixAddr{Name: "a"}, &net.UnixAddr{Name: "b"}, true},
	} {
		if same := source(tc.a) == source(tc.b); same != tc.same {
			t.Errorf("%v and %v: same source %t", tc.a, tc.b, same)
		}
	}
}

// A distant connection says that it comes from another machine.
type distant struct {
	net.Conn
	from net.Addr
}

func (d distant) RemoteAddr() net.Addr { return d.from }

// A distantListener makes all connections distant.
type distantListener struct {
	net.Listener
	from net.Addr
}

func (l distantListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return distant{c, l.from}, err
}

// listenAs serves on a free port, with clients that seem to come from somewhere; with a
// config they speak TLS.
func listenAs(t *testing.T, srv *Server, from net.Addr, config *tls.Config) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if from != nil {
		l = distantListener{l, from}
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return addr
}

// TestProtected connects from another machine: it must be refused, in Redis's words,
// unless there is a password or protected mode is off.
func TestProtected(t *testing.T) {
	far := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234}
	srv := New(openStore(t), Options{})
	addr := listenAs(t, srv, far, nil)
	c := dial(t, addr)
	expect(t, c, strings.TrimSuffix(denied, "\r\n"))
	expectEnd(t, c)

	srv.conf.protected.Store(0)
	do(t, dial(t, addr), "PING")
	srv.conf.protected.Store(1)
	secret := NewSecret([]byte("secret"))
	srv.SetSecret(&secret)
	do(t, dial(t, addr), "AUTH", "secret")
	if n := srv.stats.denied.Load(); n != 1 {
		t.Errorf("%d connections denied", n)
	}
}

// TestTLS speaks TLS 1.3 with a server: as a client that knows it, one of an older
// version, one that does not speak it, and one from elsewhere that has no certificate.
func TestTLS(t *testing.T) {
	cert := newCertificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert}
	srv := New(openStore(t), Options{})
	near := listenAs(t, srv, nil, config)
	connect := func(addr string, version uint16, certs ...tls.Certificate) (*resptest.Conn, error) {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, Certificates: certs})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		return resptest.NewConn(c), nil
	}
	c, err := connect(near, tls.VersionTLS13)
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 1<<20)
	do(t, c, "SET", "a", value)
	if r := do(t, c, "GET", "a"); r.Str != value {
		t.Errorf("a value of %d bytes", len(r.Str))
	}
	// A kick ends a read of the server; the next must go on where it was.
	do(t, c, "HELLO", "3")
	do(t, c, "CLIENT", "TRACKING", "ON")
	for range 20 {
		replies(t, c, "GET a")
		srv.Expired(nil, []byte("a"))
		expect(t, c, `>["invalidate" ["a"]]`)
	}
	if _, err := connect(near, tls.VersionTLS12); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	plain := dial(t, near)
	plain.SendRaw("PING\r\n")
	plain.Flush()
	if r, err := plain.Receive(); err == nil && r.Kind == '+' {
		t.Errorf("reply %v without TLS", r)
	}

	far := listenAs(t, srv, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1234}, config)
	if c, err = connect(far, tls.VersionTLS13); err != nil {
		t.Fatal(err)
	}
	expect(t, c, strings.TrimSuffix(denied, "\r\n"))
	if c, err = connect(far, tls.VersionTLS13, cert); err != nil {
		t.Fatal(err)
	}
	do(t, c, "PING")
}

func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestUnix serves on a Unix socket, which protected mode does not concern.
func TestUnix(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	srv := New(openStore(t), Options{})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	nc, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := resptest.NewConn(nc)
	info := do(t, c, "CLIENT", "INFO").Str
	if want := fmt.Sprintf("addr=%[1]s:0 laddr=%[1]s:0 ", l.Addr()); !strings.Contains(info, want) || !strings.Contains(info, " flags=U ") {
		t.Errorf("no %q or flag U in %s", want, info)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
