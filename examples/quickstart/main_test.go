package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"faultline/server"
	"faultline/store"
)

const want = `pear is green, no plum: true
example/fruit/plum is blue
example/fruit/quince is yellow
the last key is example/fruit/quince
3 visits
locked by me: true, by you: false
deleted 4 keys
`

// TestSameProgram runs the program on a store and on a server, which print the same,
// and compares the two sources: beside comments and imports one line is another.
func TestSameProgram(t *testing.T) {
	dir := t.TempDir()
	db := openWithOthers(t, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := runProgram(t, ".", dir); got != want {
		t.Errorf("on a store:\n%s", got)
	}
	db = openStore(t, dir)
	checkOthers(t, db)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if got := runProgram(t, "../remote", serve(t)); got != want {
		t.Errorf("on a server:\n%s", got)
	}
	embedded, remote := statements(t, "main.go"), statements(t, "../remote/main.go")
	if len(embedded) != len(remote) {
		t.Fatalf("%d lines and %d", len(embedded), len(remote))
	}
	changed := 0
	for i := range embedded {
		if embedded[i] != remote[i] {
			t.Logf("%s -> %s", strings.TrimSpace(embedded[i]), strings.TrimSpace(remote[i]))
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d lines are changed, want 1", changed)
	}
}

// runProgram builds and runs the program in dir, and returns what it prints.
func runProgram(t *testing.T, dir, place string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", program, dir).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(program, place)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", dir, err, &stderr)
	}
	return string(out)
}

// serve starts kvd in this process and returns its URL.
func serve(t *testing.T) string {
	t.Helper()
	db := openWithOthers(t, t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := server.New(db, server.Options{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := srv.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		checkOthers(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return "kvd://" + l.Addr().String()
}

// others are keys that are not the program's, on both sides of its own.
var others = []string{"a", "example", "example0", "z"}

func openStore(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(dir, &store.Options{MemoryBudget: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// openWithOthers makes a store that holds others.
func openWithOthers(t *testing.T, dir string) *store.DB {
	t.Helper()
	db := openStore(t, dir)
	for _, key := range others {
		if err := db.Put([]byte(key), []byte("kept"), store.Async); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// checkOthers reports those that the program has deleted.
func checkOthers(t *testing.T, db *store.DB) {
	t.Helper()
	for _, key := range others {
		if _, err := db.Get([]byte(key)); err != nil {
			t.Errorf("%s, which is not the program's: %v", key, err)
		}
	}
}

// statements returns the lines of a program below its imports.
func statements(t *testing.T, name string) []string {
	t.Helper()
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := strings.Cut(string(source), "\n)\n")
	if !found {
		t.Fatalf("%s has no imports", name)
	}
	return strings.Split(body, "\n")
}
