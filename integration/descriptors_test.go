//go:build linux && (amd64 || arm64)

package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"faultline/store"
)

// TestDescriptors has more clients than a small limit of open files leaves room for:
// they are refused, and the log still opens segment after segment.
func TestDescriptors(t *testing.T) {
	const limit, most, beyond = 256, 128, 200
	dir := filepath.Join(t.TempDir(), "store")
	db, err := store.Open(dir, &store.Options{MemoryBudget: 64 << 20, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	k := run(t, limited(limit, "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--admin", "", "--memory", "64MiB", "--appendfsync", "no"))
	k.waitLog(regexp.MustCompile(fmt.Sprintf(`maxclients is lowered.*asked=10000 maxclients=%d open_files=%d`, most, limit)))
	k.addr = k.waitLog(listening)[1]

	writer := k.dial()
	expect := func(want string, args ...string) {
		t.Helper()
		r, err := writer.Do(args...)
		if got := fmt.Sprint(r, err); !strings.Contains(got, want) {
			t.Fatalf("%.40q: %s, want %s", args, got, want)
		}
	}
	expect(fmt.Sprint(most), "CONFIG", "GET", "maxclients")
	expect(fmt.Sprintf("try with %d", most), "CONFIG", "SET", "maxclients", fmt.Sprint(most+1))
	for range most - 1 { // the writer is one
		if _, err := k.dial().Do("PING"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range beyond {
		r, err := k.dial().Receive()
		if err != nil || !strings.Contains(r.String(), "max number of clients reached") {
			t.Errorf("client %d too many: %v, %v", i+1, r, err)
			break
		}
	}
	value := strings.Repeat("x", 1000)
	for i := range 2000 { // 30 segments
		expect("OK", "SET", fmt.Sprint("key", i), value)
	}
	k.stop()
}

// TestNoDescriptors starts kvd where none would be left for clients.
func TestNoDescriptors(t *testing.T) {
	out, err := limited(128, "serve", "--dir", filepath.Join(t.TempDir(), "store"), "--listen", "127.0.0.1:0", "--memory", "64MiB").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the limit of 128 open files leaves none for clients") {
		t.Errorf("%v: %s", err, out)
	}
}

// limited is a command of kvd that can have so many files open.
func limited(files int, args ...string) *exec.Cmd {
	script := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files)
	return exec.Command("sh", append([]string{"-c", script, kvdPath}, args...)...)
}
