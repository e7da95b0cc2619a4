// Package rig has what all tests of the built kvd begin with.
package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Main builds kvd as it is shipped, puts its path into kvd, and runs the tests of a
// package. It returns the status to exit with.
func Main(m *testing.M, kvd *string) int {
	dir, err := os.MkdirTemp("", "kvd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*kvd = filepath.Join(dir, "kvd")
	build := exec.Command("go", "build", "-o", *kvd, "faultline/cmd/kvd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // Landlock needs it
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build kvd: %v\n%s", err, out)
		return 1
	}
	os.Setenv("KVD_ADMIN", "") // its address is for one kvd at a time
	return m.Run()
}

// Needs returns the path of a program or a file. Without it the test is skipped, but in
// CI, which must have it.
func Needs(t testing.TB, name string) string {
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
