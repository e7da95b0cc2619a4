package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// asRoot skips a test that needs root.
func asRoot(t *testing.T) {
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("not root")
	}
	t.Skip("not root")
}

// owned makes a directory that another user can come to.
func owned(t *testing.T) string {
	dir, err := os.MkdirTemp("", "kvd-confine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestUser starts kvd as root with --user, and looks at every thread of the process: who
// it is, and that it can get no rights back; at its mask and at whom its memory belongs
// to; and at what it has made. The store works, its audit of the page tables too, which
// an unprivileged process that cannot be dumped may open no more.
func TestUser(t *testing.T) {
	asRoot(t)
	dir := filepath.Join(owned(t), "data")
	k := startKvd(t, dir, 2, "--user", "65534:65533", "--landlock", "yes")
	c := k.dial()
	c.Do("SET", "a", "b")
	if r, err := c.Do("GET", "a"); err != nil || r.Str != "b" {
		t.Errorf("GET: %v, %v", r, err)
	}
	for thread, status := range k.threads() {
		for _, line := range []string{"Seccomp:\t2", "Uid:\t65534\t65534\t65534\t65534", "Gid:\t65533\t65533\t65533\t65533", "Groups:\t ",
			"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "Umask:\t0077"} {
			if !bytes.Contains(status, []byte("\n"+line+"\n")) {
				t.Errorf("%s has no line %q:\n%s", thread, line, status)
			}
		}
	}
	if uid := ownerOf(t, fmt.Sprintf("/proc/%d/mem", k.cmd.Process.Pid)); uid != 0 {
		t.Errorf("the memory of the process is %d's: it can be dumped", uid)
	}
	checkModes(t, dir, 65534)
	k.signal(syscall.SIGTERM)
	if status := k.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// checkModes looks at all that kvd has made: for its user only.
func checkModes(t *testing.T, dir string, uid uint32) {
	t.Helper()
	n := 0
	err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		n++
		want := os.FileMode(0o600)
		if st.IsDir() {
			want = 0o700
		}
		if st.Mode().Perm() != want || st.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s: mode %04o, user %d", path, st.Mode().Perm(), st.Sys().(*syscall.Stat_t).Uid)
		}
		return nil
	})
	if err != nil || n < 5 {
		t.Errorf("%d files, %v", n, err)
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

// TestModes starts kvd with a mask that would leave all open.
func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	k := startWith(t, "umask 0; exec \"$0\" \"$@\"", "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--memory", "64MiB",
		"--unixsocket", filepath.Join(filepath.Dir(dir), "s"))
	checkModes(t, dir, uint32(os.Getuid()))
	k.stop()
}

// startWith is launch, and waits until kvd serves.
func startWith(t *testing.T, sh string, args ...string) *kvd {
	t.Helper()
	k := launch(t, sh, args...)
	k.addr = k.waitLog(listening)[1]
	return k
}

// launch starts kvd by a line of sh, which finds it in $0 and its arguments in $@.
func launch(t *testing.T, sh string, args ...string) *kvd {
	t.Helper()
	return run(t, exec.Command("sh", append([]string{"-c", sh, kvdPath}, args...)...))
}

// refused runs kvd serve and returns the last line of its log, which is why it ended.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(kvdPath, append([]string{"serve", "--memory", "64MiB"}, args...)...).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Fatalf("kvd serve %v: %v, want exit status 1\n%s", args, err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// TestOpenDirectory refuses a directory that everybody can write to, and files that are
// links: who plants one would choose what is overwritten.
func TestOpenDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, "--dir", dir, "--listen", "127.0.0.1:0"); !strings.Contains(got, "everybody can write") {
		t.Errorf("a directory of mode 0777: %s", got)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LOCK", "journal", "rounds", "data"} {
		link := filepath.Join(dir, name)
		os.Remove(link)
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
		if got := refused(t, "--dir", dir, "--listen", "127.0.0.1:0"); !strings.Contains(got, "symbolic link") {
			t.Errorf("%s is a link: %s", name, got)
		}
		if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
			t.Fatalf("%s is a link: what it names is now %q, %v", name, b, err)
		}
		os.Remove(link)
	}
}

var reloaded = regexp.MustCompile(`msg=reloaded|msg="reload: .* err=(.*)`)

// TestLandlock has kvd read its file with the password again after that has become a
// link to a place that it has no business with. Confined it cannot, though it is root;
// not confined, the control, it can.
func TestLandlock(t *testing.T) {
	asRoot(t)
	for _, landlock := range []string{"yes", "no"} {
		t.Run(landlock, func(t *testing.T) {
			elsewhere, secrets := t.TempDir(), t.TempDir()
			file, other := filepath.Join(secrets, "password"), filepath.Join(elsewhere, "password")
			for name, password := range map[string]string{file: "one", other: "two"} {
				if err := os.WriteFile(name, []byte(password+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			k := startKvd(t, filepath.Join(t.TempDir(), "data"), 2, "--requirepass-file", file, "--landlock", landlock)
			c := k.dial()
			if _, err := c.Do("AUTH", "one"); err != nil {
				t.Error(err)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(other, file); err != nil {
				t.Fatal(err)
			}
			k.signal(syscall.SIGHUP)
			failed := k.waitLog(reloaded)[1]
			_, err := c.Do("AUTH", "two")
			if landlock == "yes" && (!strings.Contains(failed, "permission denied") || err == nil) {
				t.Errorf("confined: reload: %q, AUTH: %v", failed, err)
			}
			if landlock == "no" && (failed != "" || err != nil) {
				t.Errorf("not confined: reload: %q, AUTH: %v", failed, err)
			}
			k.stop()
		})
	}
}

// TestSeccomp looks at the filters of system calls that every thread of kvd is under,
// while it serves, saves, reloads, takes profiles, and starts again from what a kill has
// left: two, the second of which is for a store that is open. What they refuse is the
// test of the same name in package cmd/kvd. The control is a kvd that is told not to.
func TestSeccomp(t *testing.T) {
	for setting, want := range map[string]string{"auto": "2", "no": "0"} {
		t.Run(setting, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			secret := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(secret, []byte("one\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			flags := []string{"--seccomp", setting, "--admin", "127.0.0.1:0", "--requirepass-file", secret}
			k := startUnready(t, dir, flags...)
			url := k.waitLog(adminLine)[1]
			k.addr = k.waitLog(listening)[1]
			c := k.dial()
			for _, cmd := range [][]string{{"AUTH", "one"}, {"SET", "a", "b"}, {"SAVE"}, {"SET", "a", "c"}} {
				if r, err := c.Do(cmd...); err != nil || r.Str != "OK" {
					t.Fatalf("%q: %v, %v", cmd, r, err)
				}
			}
			k.signal(syscall.SIGHUP)
			if failed := k.waitLog(reloaded)[1]; failed != "" {
				t.Error(failed)
			}
			if status, body := ask(t, url+"/debug/pprof/profile?seconds=1"); status != 200 {
				t.Errorf("profile: %d %s", status, body)
			}
			checkFilters(t, k, want)
			k.kill()

			k = startKvd(t, dir, 2, flags...)
			c = k.dial()
			if _, err := c.Do("AUTH", "one"); err != nil {
				t.Fatal(err)
			}
			if r, err := c.Do("GET", "a"); err != nil || r.Str != "c" {
				t.Errorf("GET after a kill: %v, %v", r, err)
			}
			checkFilters(t, k, want)
			k.stop()
		})
	}
}

// checkFilters asks the kernel how many filters each thread is under.
func checkFilters(t *testing.T, k *kvd, want string) {
	t.Helper()
	for thread, status := range k.threads() {
		if !bytes.Contains(status, []byte("\nSeccomp_filters:\t"+want+"\n")) {
			t.Errorf("%s: want %s filters:\n%s", thread, want, status)
		}
	}
}

// threads returns what the kernel says of each thread.
func (k *kvd) threads() map[string][]byte {
	k.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", k.cmd.Process.Pid))
	if err != nil || len(files) < 2 {
		k.t.Fatalf("%d threads, %v", len(files), err)
	}
	statuses := make(map[string][]byte)
	for _, file := range files {
		status, err := os.ReadFile(file)
		if os.IsNotExist(err) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			k.t.Fatal(err)
		}
		statuses[file] = status
	}
	return statuses
}

// TestSandbox runs the test of package cmd/kvd for what a confined process can do, in a
// binary without cgo, which is needed for it.
func TestSandbox(t *testing.T) {
	cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestSandbox$", "faultline/cmd/kvd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestSandbox")) {
		t.Errorf("%v\n%s", err, out)
	}
}
