//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// runTests runs each /tests/NAME/test, those tests that match the pattern beside
// it. Their temporary files are on the disk.
func runTests() error {
	binaries, err := filepath.Glob("/tests/*/test")
	if err != nil {
		return err
	}
	for _, binary := range binaries {
		dir := filepath.Dir(binary)
		pattern, err := os.ReadFile(filepath.Join(dir, "pattern"))
		if err != nil {
			return err
		}
		cmd := exec.Command(binary, "-test.v", "-test.short", "-test.run", string(pattern))
		cmd.Dir = dir
		cmd.Env = []string{"TMPDIR=" + disk}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("tests of %s: %w", filepath.Base(dir), err)
		}
	}
	return nil
}
