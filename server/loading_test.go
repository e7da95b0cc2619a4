package server

import (
	"strings"
	"testing"

	"faultline/server/resp/resptest"
)

// TestLoading asks a server that has no store yet, tells it how far the recovery is,
// and gives it the store while a client is connected.
func TestLoading(t *testing.T) {
	srv, addr := start(t, nil, Options{})
	c := dial(t, addr)
	for _, cmd := range [][]string{{"GET", "a"}, {"SET", "a", "b"}, {"PING"}, {"DBSIZE"}, {"SCAN", "0"}} {
		if got := answer(t, c, cmd...); got != "-LOADING Redis is loading the dataset in memory" {
			t.Errorf("%v while loading: %q", cmd, got)
		}
	}
	// An unknown command and a wrong number of arguments are told first, as in Redis.
	if got := answer(t, c, "GET"); !strings.HasPrefix(got, "-ERR wrong number") {
		t.Errorf("GET without a key while loading: %q", got)
	}
	srv.Loading(1<<20, 4<<20)
	info := do(t, c, "INFO").Str
	for _, line := range []string{"loading:1", "loading_total_bytes:4194304", "loading_loaded_bytes:1048576",
		"loading_loaded_perc:25.00", "loading_eta_seconds:0", "# Keyspace"} {
		if !strings.Contains(info, line+"\r\n") {
			t.Errorf("INFO while loading has no %q:\n%s", line, info)
		}
	}

	srv.Open(openStore(t))
	if got := answer(t, c, "SET", "a", "b"); got != "+OK" {
		t.Errorf("SET after loading: %q", got)
	}
	info = do(t, c, "INFO").Str
	if !strings.Contains(info, "loading:0\r\n") || strings.Contains(info, "loading_eta_seconds") {
		t.Errorf("INFO after loading:\n%s", info)
	}
}

// TestLoadingAll sends each command that is not refused while there is no store, outside
// of MULTI and, where it is queued, inside: the server must go on.
func TestLoadingAll(t *testing.T) {
	srv, addr := start(t, nil, Options{Debug: true})
	for _, cmd := range srv.commands.all {
		if cmd.flags&flagLoading == 0 || cmd.run == nil || cmd.full == "shutdown" {
			continue
		}
		args := strings.Split(cmd.full, "|")
		for len(args) < max(cmd.arity, -cmd.arity) {
			args = append(args, "1")
		}
		if cmd.full == "debug" {
			args = []string{"debug", "reload"}
		}
		c := dial(t, addr)
		c.Send(args...)
		c.Send("MULTI")
		c.Send(args...)
		c.Send("EXEC")
		c.Send("QUIT")
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := c.Receive(); err != nil {
				break
			}
		}
	}
	if got := answer(t, dial(t, addr), "PING"); !strings.HasPrefix(got, "-LOADING") {
		t.Errorf("PING: %s", got)
	}
}

// answer returns the reply to one command, which may be an error, as text.
func answer(t *testing.T, c *resptest.Conn, args ...string) string {
	t.Helper()
	r, err := c.Do(args...)
	if err != nil && r.Kind != '-' {
		t.Fatal(err)
	}
	return r.String()
}
