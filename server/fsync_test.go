package server

import (
	"context"
	"sync/atomic"
	"testing"

	"faultline/store"
)

// TestEverysec lets seconds pass by hand: each must sync all that is written by then while
// appendfsync is everysec, and nothing while it is not.
func TestEverysec(t *testing.T) {
	db := &faulty{DB: openStore(t)}
	var synced atomic.Int64
	db.onDurable = func(lsn store.LSN) error {
		synced.Store(int64(lsn))
		return nil
	}
	srv := New(db, Options{Fsync: FsyncEverysec})
	defer srv.Shutdown(context.Background())
	c, _ := pipe(t, srv)
	for _, fsync := range []string{"everysec", "no", "everysec"} {
		do(t, c, "CONFIG", "SET", "appendfsync", fsync)
		srv.second()
		before := synced.Load()
		do(t, c, "INCR", "a")
		if synced.Load() != before {
			t.Errorf("%s: synced for the command", fsync)
		}
		want := int64(db.LSN()) // a sync may leave a mark behind it
		srv.second()
		if fsync == "no" {
			want = before
		}
		if got := synced.Load(); got != want {
			t.Errorf("%s: synced up to LSN %d, want %d of %d", fsync, got, want, db.LSN())
		}
	}
	do(t, c, "CONFIG", "SET", "appendfsync", "always")
	before := int64(db.LSN())
	do(t, c, "INCR", "a")
	if got := synced.Load(); got <= before {
		t.Errorf("always: synced up to LSN %d before the reply, the write is behind %d", got, before)
	}
}

// TestWaitaof writes without waiting for the disk, and asks for it. The answer must come
// after the sync, for the connection's own write, and say so if that takes too long.
func TestWaitaof(t *testing.T) {
	db := &faulty{DB: openStore(t)}
	srv := New(db, Options{Fsync: FsyncNo})
	defer srv.Shutdown(context.Background())
	var synced store.LSN
	db.onDurable = func(lsn store.LSN) error {
		synced = lsn
		return nil
	}
	c, _ := pipe(t, srv)
	if got := do(t, c, "WAITAOF", "1", "0", "0").String(); got != "[:1 :0]" || synced != 0 {
		t.Errorf("%s, synced up to LSN %d before there is a write", got, synced)
	}
	do(t, c, "SET", "a", "1")
	own := db.LSN()
	if err := db.Put([]byte("b"), nil, store.Deferred); err != nil {
		t.Fatal(err)
	}
	if got := do(t, c, "WAITAOF", "1", "0", "0").String(); got != "[:1 :0]" || synced != own {
		t.Errorf("%s, synced up to LSN %d, want %d", got, synced, own)
	}
	db.onDurable = func(store.LSN) error { return context.DeadlineExceeded }
	do(t, c, "INCR", "a")
	if got := do(t, c, "WAITAOF", "1", "0", "10").String(); got != "[:0 :0]" {
		t.Errorf("%s after a sync that was too slow", got)
	}
}
