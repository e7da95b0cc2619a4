package redis

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"faultline/integration/internal/rig"
)

// cliModes are the ways to use redis-cli that have to do with strings. Of those
// that print times or sizes only a part is looked for.
var cliModes = []struct {
	name  string
	args  string
	stdin string
	want  string // all of the output, or, with a leading ..., a part
}{
	{name: "command", args: "get a", want: "1\n"},
	{name: "error", args: "incr text", want: "ERR value is not an integer or out of range\n\n"},
	{name: "RESP3", args: "-3 --json mget a nothing", want: "[\"1\",null]\n"},
	{name: "csv", args: "--csv mget a nothing", want: "\"1\",NULL\n"},
	{name: "no raw", args: "--no-raw get text", want: "\"two\\r\\nlines\"\n"},
	{name: "repeat", args: "-r 3 -i 0.001 incr counter", want: "1\n2\n3\n"},
	{name: "last argument", args: "-x set text", stdin: "two\r\nlines", want: "OK\n"},
	{name: "database", args: "-n 5 dbsize", want: "0\n"},
	{name: "lines", stdin: "multi\nincr b\nexec\n", want: "OK\nQUEUED\n3\n"},
	{name: "scan", args: "--scan --pattern many:1*", want: "...many:199\n"},
	{name: "bigkeys", args: "--bigkeys", want: "...Biggest string found '\"big\"' has 5000 bytes"},
	{name: "memkeys", args: "--memkeys", want: "...Biggest string found '\"big\"' has"},
	{name: "latency", args: "-i 0.1 --latency --csv", want: "...,"},
	{name: "latency of RESP3", args: "-3 -i 0.1 --latency --csv", want: "...,"},
	{name: "pipe", args: "--pipe", stdin: "SET piped 1\r\n*2\r\n$4\r\nINCR\r\n$5\r\npiped\r\n", want: "...errors: 0, replies: 2"},
	{name: "quit", stdin: "get a\nquit\nget a\n", want: "1\n"},
}

// TestRedisCLI uses redis-cli in each of its modes.
func TestRedisCLI(t *testing.T) {
	cli := rig.Needs(t, "redis-cli")
	eachServer(t, func(t *testing.T, s *server) {
		_, port := s.hostPort(t)
		fill(t, s)
		for _, mode := range cliModes {
			t.Run(mode.name, func(t *testing.T) {
				got := output(t, mode.stdin, cli, append([]string{"-p", port}, strings.Fields(mode.args)...)...)
				if part, ok := strings.CutPrefix(mode.want, "..."); ok && strings.Contains(got, part) {
					return
				}
				if got != mode.want {
					t.Errorf("prints %q, want %q", got, mode.want)
				}
			})
		}
	})
}

// fill puts the keys into the server that cliModes ask for.
func fill(t *testing.T, s *server) {
	t.Helper()
	c, err := s.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	set := []string{"MSET", "a", "1", "b", "2", "text", "two\r\nlines", "big", strings.Repeat("x", 5000)}
	for i := range 1000 {
		set = append(set, fmt.Sprintf("many:%d", i), "x")
	}
	if v, err := c.do(set...); err != nil || v.isError() {
		t.Fatal(v, err)
	}
}

// TestRedisCLITerminal types into redis-cli, which asks for COMMAND DOCS then,
// and runs --stat, which does not end.
func TestRedisCLITerminal(t *testing.T) {
	rig.Needs(t, "redis-cli")
	script := rig.Needs(t, "script")
	t.Setenv("TERM", "dumb") // no cursor to move
	eachServer(t, func(t *testing.T, s *server) {
		_, port := s.hostPort(t)
		keyboard, typist, err := os.Pipe() // an end of input would end it too early
		if err != nil {
			t.Fatal(err)
		}
		defer keyboard.Close()
		defer typist.Close()
		fmt.Fprint(typist, "SET k v\nGET k\nHELP GET\nHELLO 3\nexit\n")
		got := outputFrom(t, keyboard, script, "-qec", "redis-cli -p "+port, "/dev/null")
		for _, want := range []string{port + "> OK", "\"v\"", "Get the value of a key", "\"proto\" => (integer) 3"} {
			if !strings.Contains(got, want) {
				t.Errorf("a terminal has no %q:\n%s", want, got)
			}
		}
		got = output(t, "", "sh", "-c", "redis-cli --stat -i 0.01 -p "+port+" | head -5")
		if lines := strings.Count(got, "\n"); lines != 5 || !strings.Contains(got, "(+1)") {
			t.Errorf("--stat:\n%s", got)
		}
	})
}

// TestRedisBenchmark runs redis-benchmark with all its tests of strings, over
// pipelines, threads and RESP3.
func TestRedisBenchmark(t *testing.T) {
	benchmark := rig.Needs(t, "redis-benchmark")
	for _, flags := range []string{"", "-P 16 -c 20", "-P 4 --threads 2", "-3 -P 4 -d 2000", "-k 0 -n 500 -c 5"} {
		t.Run(flags, func(t *testing.T) {
			_, port := startKvd(t, "--appendfsync", "everysec").hostPort(t)
			args := append([]string{"-p", port, "-t", "ping,set,get,incr,mset", "-n", "4000", "-r", "1000", "--csv"},
				strings.Fields(flags)...)
			got := output(t, "", benchmark, args...)
			for _, test := range []string{"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"} {
				if !strings.Contains(got, "\n\""+test+"\",") {
					t.Errorf("no result of %s:\n%s", test, got)
				}
			}
			if strings.Contains(strings.ToLower(got), "err") {
				t.Errorf("an error:\n%s", got)
			}
		})
	}
}
