package redis

import (
	"cmp"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"faultline/integration/internal/rig"
)

// eachServer runs a test of a client against kvd, and against redis-server, which
// shows that what the test expects is what Redis does.
func eachServer(t *testing.T, test func(t *testing.T, s *server)) {
	t.Run("kvd", func(t *testing.T) { test(t, startKvd(t)) })
	t.Run("redis", func(t *testing.T) { test(t, startRedisTCP(t)) })
}

// output runs a program to its end and returns what it prints. It must end well.
func output(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	return outputFrom(t, strings.NewReader(stdin), name, args...)
}

func outputFrom(t *testing.T, stdin io.Reader, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), watchdog)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, out)
	}
	return string(out)
}

// TestNode runs testdata/node/client.cjs with the node-redis that .ci/run installs.
func TestNode(t *testing.T) {
	modules := filepath.Join(cmp.Or(os.Getenv("FAULTLINE_NODE"), "/var/tmp/faultline-node"), "node_modules")
	rig.Needs(t, filepath.Join(modules, "redis"))
	node := rig.Needs(t, "node")
	t.Setenv("NODE_PATH", modules)
	eachServer(t, func(t *testing.T, s *server) {
		host, port := s.hostPort(t)
		output(t, "", node, "testdata/node/client.cjs", host, port)
	})
}

// TestPython runs testdata/python/client.py with Debian's redis-py.
func TestPython(t *testing.T) {
	rig.Needs(t, "/usr/lib/python3/dist-packages/redis")
	python := rig.Needs(t, "/usr/bin/python3")
	eachServer(t, func(t *testing.T, s *server) {
		host, port := s.hostPort(t)
		output(t, "", python, "testdata/python/client.py", host, port)
	})
}

func (s *server) hostPort(t *testing.T) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
