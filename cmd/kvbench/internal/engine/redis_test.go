package engine

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"faultline/server"
	"faultline/store"
)

// startServer starts a server of Redis' protocol, and returns the path of its socket.
func startServer(t *testing.T, fsync server.Fsync) string {
	t.Helper()
	db, err := store.Open(t.TempDir(), &store.Options{MemoryBudget: 16 << 20})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	srv := server.New(db, server.Options{Fsync: fsync, Version: "test"})
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(context.Background()), db.Close()); err != nil {
			t.Error(err)
		}
		<-served
	})
	return l.Addr().String()
}

// TestRedis does to a server what TestEngines does to a store, as far as a server can.
func TestRedis(t *testing.T) {
	e := New("redis", Setup{RedisAddr: startServer(t, server.FsyncAlways)})
	if err := e.(Remote).Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.Version() != "kvd test" || !strings.Contains(strings.Join(e.Settings(), "\n"), `appendfsync "always"`) {
		t.Errorf("%s, settings %q", e.Version(), e.Settings())
	}
	dir := t.TempDir()
	for _, m := range []Mode{{}, {Sync: true}} { // the second time it is there
		db, err := e.Open(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Sync {
			fill(t, db)
		}
		r := db.NewReader()
		for i, want := range map[int]bool{0: true, entries - 1: true, entries: false} {
			if found, err := r.Get(keyOf(i)); err != nil || found != want {
				t.Errorf("key %d: found %t, %v", i, found, err)
			}
		}
		if n, err := db.(Lener).Len(); err != nil || n != entries {
			t.Errorf("%d keys, %v", n, err)
		}
		if used, err := db.(CPUTimer).CPUTime(); err != nil || used <= 0 {
			t.Errorf("used %v, %v", used, err)
		}
		if _, err := db.NewIterator(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("an iterator, %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}

	// A server with keys is somebody's.
	if err := e.(Remote).Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "has 1000 keys") {
		t.Errorf("error %v, want one about its keys", err)
	}
	db, err := e.Open(t.TempDir(), Mode{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Put(keyOf(1), nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Delete(keyOf(1)); err != nil {
		t.Fatal(err)
	}
	if n, err := db.(Lener).Len(); err != nil || n != 0 {
		t.Errorf("%d keys in a new store, %v", n, err)
	}
}

// TestRedisSync checks that a server which syncs once a second has no synced writes.
func TestRedisSync(t *testing.T) {
	e := New("redis", Setup{RedisAddr: startServer(t, server.FsyncEverysec)})
	if err := e.(Remote).Reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(t.TempDir(), Mode{Sync: true}); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "everysec") {
		t.Errorf("error %v, want one that says everysec", err)
	}
}

// TestRedisAway checks the error where nobody listens.
func TestRedisAway(t *testing.T) {
	e := New("redis", Setup{RedisAddr: filepath.Join(t.TempDir(), "nobody")})
	if err := e.(Remote).Reach(t.Context()); err == nil || !strings.Contains(err.Error(), "engine redis: dial") {
		t.Errorf("error %v", err)
	}
}
