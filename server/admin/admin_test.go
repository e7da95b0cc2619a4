package admin

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"faultline/server"
	"faultline/server/resp/resptest"
	"faultline/store"
)

// get asks h, as a client that names the host.
func get(h http.Handler, host, path string) (status int, body string) {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestStates asks for everything while the store recovers, when it is open, and after
// it is closed.
func TestStates(t *testing.T) {
	db := openStore(t)
	srv := server.New(nil, server.Options{})
	h := New(srv, "v1").Handler
	expect := func(path string, status int, text string) {
		t.Helper()
		if got, body := get(h, "127.0.0.1:9379", path); got != status || !strings.Contains(body, text) {
			t.Errorf("%s: %d %q, want %d %q", path, got, body, status, text)
		}
	}
	srv.Loading(3, 4)
	expect("/healthz", 200, "ok")
	expect("/readyz", 503, "recovering")
	expect("/metrics", 200, "\nkvd_ready 0\n")
	expect("/metrics", 200, "\nkvd_loading_done_bytes 3\n")
	expect("/metrics", 200, "\nkvd_stopped 0\n")
	srv.Open(db)
	expect("/readyz", 200, "ok")
	expect("/metrics", 200, "\nkvd_ready 1\n")
	expect("/metrics", 200, `kvd_build_info{version="v1"} 1`)
	expect("/debug/pprof/goroutine?debug=1", 200, "goroutine profile")
	expect("/debug/pprof/", 200, "heap")
	expect("/nowhere", 404, "")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	expect("/healthz", 200, "ok")
	expect("/readyz", 503, "closed")
	expect("/metrics", 200, "\nkvd_stopped 1\n")
}

// TestHost asks under names: one that a name server could make ours is refused.
func TestHost(t *testing.T) {
	h := New(server.New(nil, server.Options{}), "v1").Handler
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:80": 200, "localhost:9379": 200, "[::1]:9379": 200, "::1": 200,
		"evil.example:9379": 403, "localhost.evil.example": 403, "": 403,
	} {
		if got, _ := get(h, host, "/healthz"); got != want {
			t.Errorf("host %q: %d, want %d", host, got, want)
		}
		// Whoever reaches another address needs no trick.
		r := httptest.NewRequest("GET", "/healthz", nil)
		at := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at)))
		if w.Code != 200 {
			t.Errorf("host %q at %v: %d", host, at, w.Code)
		}
	}
}

// TestAllNumbers sets every number of store.Metrics to one of its own, and looks for it
// among the metrics: none is forgotten, none stands under two names.
func TestAllNumbers(t *testing.T) {
	shownElsewhere := map[string]bool{"Metrics.Keys": true, "Metrics.Log.BufferBytes": true, "Metrics.Pages.TableBytes": true, "Metrics.Pages.LentBytes": true} // Memory and Spaces have them
	var m store.Metrics
	names := map[float64]string{}
	var fill func(name string, v reflect.Value)
	fill = func(name string, v reflect.Value) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				fill(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
			return
		}
		if v.Kind() == reflect.Slice {
			return // of keyspaces
		}
		n := len(names) + 1
		if names[float64(n)] = name; v.CanUint() {
			v.SetUint(uint64(n))
			return
		}
		if v.Type().String() == "time.Duration" {
			v.SetInt(int64(n) * 1e9)
			return
		}
		v.SetInt(int64(n))
	}
	fill("Metrics", reflect.ValueOf(&m).Elem())
	for _, s := range storeMetrics {
		n := s.value(&m)
		if names[n] == "" {
			t.Errorf("%s is %v: no number, or a second time", s.name, n)
		}
		delete(names, n)
	}
	for _, name := range names {
		if !shownElsewhere[name] {
			t.Errorf("no metric shows %s", name)
		}
	}
}

// TestPromtool has Debian's promtool check what Prometheus would read, of a server
// that has done something.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	db := openStore(t)
	defer db.Close()
	srv := server.New(db, server.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Shutdown(context.Background())
	c, err := resptest.Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range [][]string{{"SET", "a", "b"}, {"SET", "c", "d", "EX", "100"}, {"GET", "a"}, {"GET"}, {"CONFIG", "GET", "dir"}} {
		c.Do(cmd...)
	}
	_, body := get(New(srv, `v1 "x"`).Handler, "localhost", "/metrics")
	for _, line := range []string{
		`kvd_command_calls_total{command="set"} 2`, `kvd_command_calls_total{command="config|get"} 1`,
		`kvd_command_rejected_total{command="get"} 1`, `kvd_keys{keyspace=""} 2`, `kvd_keys_expiring{keyspace=""} 1`, "kvd_connected_clients 1", "kvd_connections_total 1",
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}
	for _, check := range []struct {
		body string
		ok   bool
	}{{body, true}, {body + "# HELP kvd_wrong A gauge that says it is a counter.\n# TYPE kvd_wrong counter\nkvd_wrong 1\n", false}} {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(check.body)
		if out, err := cmd.CombinedOutput(); (err == nil && len(bytes.TrimSpace(out)) == 0) != check.ok {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
}

func openStore(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.TempDir(), &store.Options{MemoryBudget: 32 << 20})
	if errors.Is(err, errors.ErrUnsupported) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}
