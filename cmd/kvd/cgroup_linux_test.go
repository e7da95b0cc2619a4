package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCgroupLimit looks for limits in directories as the two versions of control groups
// have them, on a machine and in a container.
func TestCgroupLimit(t *testing.T) {
	root := t.TempDir()
	for name, limit := range map[string]string{
		"a/memory.max": "max", "a/b/memory.max": "1000000", "a/b/c/memory.max": "2000000",
		"memory/d/memory.limit_in_bytes": "9223372036854771712", "memory/d/e/memory.limit_in_bytes": "3000000",
		"f/memory.max": "garbage",
	} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(limit+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		groups string
		limit  int64 // 0: none
	}{
		{"0::/a\n", 0},
		{"0::/a/b\n", 1_000_000},
		{"0::/a/b/c\n", 1_000_000}, // that of the parent is less
		{"0::/not/seen/from/here\n", 0},
		{"0::/f\n", 0},
		{"4:memory:/d\n0::/\n", 0},
		{"4:cpu,memory:/d/e\n3:cpuset:/a/b\n", 3_000_000},
		{"0::/../a/b\n", 1_000_000},
		{"", 0}, {"garbage", 0},
	} {
		limit, ok := leastLimit(c.groups, root)
		if ok != (c.limit != 0) || ok && limit != c.limit {
			t.Errorf("%q: %d, %t, want %d", c.groups, limit, ok, c.limit)
		}
	}
}
