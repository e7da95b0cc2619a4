package server

import (
	"context"
	"testing"

	"faultline/store"
)

// TestReadWaits reads a write that somebody else has made and not waited for. The reply
// must not be sent before the server has waited until that write is as durable as is
// promised: else a crash would take back what the client was shown.
func TestReadWaits(t *testing.T) {
	for _, fsync := range []Fsync{FsyncAlways, FsyncEverysec, FsyncNo} {
		t.Run(fsync.String(), func(t *testing.T) {
			db := &faulty{DB: openStore(t)}
			srv := New(db, Options{Fsync: fsync})
			defer srv.Shutdown(context.Background())
			c, w := pipe(t, srv)
			var waited store.LSN
			wait := func(lsn store.LSN) error {
				if n := w.writes.Load(); n > 0 {
					t.Errorf("%d writes before the wait", n)
				}
				waited = max(waited, lsn)
				return nil
			}
			if db.onDurable = wait; fsync != FsyncAlways {
				db.onDurable, db.onWritten = nil, wait
			}
			lsn := putDeferred(t, db)
			c.Send("GET", "key")
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			expect(t, c, `"value"`)
			if waited < lsn {
				t.Errorf("waited for LSN %d, the write that was read is below %d", waited, lsn)
			}
		})
	}
}

// putDeferred writes a key past the server, and returns the LSN up to which there is something
// to wait for.
func putDeferred(t *testing.T, db *faulty) store.LSN {
	t.Helper()
	var b store.Batch
	if err := b.Put([]byte("key"), []byte("value")); err != nil {
		t.Fatal(err)
	}
	lsn, err := db.Apply(&b, store.Deferred)
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// TestNullExecWaits marks a connection that watches a key, as a write does that nobody has
// waited for yet: EXEC may say that there was one only once it is durable.
func TestNullExecWaits(t *testing.T) {
	db := &faulty{DB: openStore(t)}
	srv := New(db, Options{})
	defer srv.Shutdown(context.Background())
	c, _ := pipe(t, srv)
	do(t, c, "WATCH", "key")
	do(t, c, "MULTI")
	lsn := putDeferred(t, db)
	srv.watches.announce([]written{{key: []byte("key")}})
	var waited store.LSN
	db.onDurable = func(lsn store.LSN) error {
		waited = max(waited, lsn)
		return nil
	}
	if got := do(t, c, "EXEC"); !got.Null || waited < lsn {
		t.Errorf("%v, waited for LSN %d, the write is below %d", got, waited, lsn)
	}
}
