// Package redis shows that kvd behaves as Redis where it says that it does: it is
// compared with Debian's redis-server, run by Redis's own test suite, and used
// by the clients that people have. docs/redis.md has what is known to differ.
package redis

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// watchdog ends what hangs. It decides nothing else.
const watchdog = time.Minute

// kvdPath is the binary under test.
var kvdPath string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kvd-redis")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	kvdPath = filepath.Join(dir, "kvd")
	build := exec.Command("go", "build", "-o", kvdPath, "faultline/cmd/kvd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as users have it
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build kvd: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needs returns the path of a tool or a file that CI must have.
func needs(t testing.TB, name string) string {
	t.Helper()
	path, err := name, error(nil)
	if filepath.IsAbs(name) {
		_, err = os.Stat(name)
	} else {
		path, err = exec.LookPath(name)
	}
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}
