package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A disk is a file system that says how much of it is free.
type disk struct {
	vfs.FS
	free uint64
}

func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free}, nil
}

// TestRoom takes the room on the disk from a store that clients write to: they are refused
// from the next file on, and what they had written is there.
func TestRoom(t *testing.T) {
	o := pebbleEngine{cacheBytes: 16 << 20, memTableBytes: 64 << 10}.options()
	d := &disk{o.FS, leastRoom(o)}
	o.FS = d
	db, err := openPebble(t.TempDir(), o, Mode{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db)
	look(t, db)
	if err := db.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}

	d.free--
	written := 0
	for ; err == nil && written < 100; written++ {
		err = db.Put(keyOf(0), make([]byte, 10<<10))
	}
	if err == nil || !strings.Contains(err.Error(), "has less than 65 MiB free") {
		t.Fatalf("error %v after %d puts", err, written)
	}
	batch := db.NewBatch()
	if err := batch.Put(keyOf(1), nil); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"delete": db.Delete(keyOf(0)), "commit": batch.Commit(), "settle": db.Settle(t.Context())} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	r := db.NewReader()
	for i, want := range map[int]bool{0: true, entries - 1: true, entries: false} {
		if found, err := r.Get(keyOf(i)); err != nil || found != want {
			t.Errorf("key %d: found %t, %v", i, found, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestRoomForLarge wants a value to be refused for which four clients might have no room at
// once, and a small one not to be before.
func TestRoomForLarge(t *testing.T) {
	o := pebbleEngine{cacheBytes: 16 << 20}.options()
	o.FS = &disk{o.FS, leastRoom(o) + 10<<20}
	db, err := openPebble(t.TempDir(), o, Mode{Writers: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, put := range []struct {
		bytes   int
		refused bool
	}{{100 << 10, false}, {1 << 20, true}, {1, true}} {
		if err := db.Put(keyOf(1), make([]byte, put.bytes)); (err != nil) != put.refused {
			t.Errorf("%d bytes: error %v", put.bytes, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// TestNoRoom wants a store on a full disk to be opened, and to be read only.
func TestNoRoom(t *testing.T) {
	o := pebbleEngine{cacheBytes: 16 << 20}.options()
	o.FS = &disk{o.FS, 0}
	db, err := openPebble(t.TempDir(), o, Mode{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Put(keyOf(1), nil); err == nil {
		t.Error("a put is done")
	}
	_, err = db.NewReader().Get(keyOf(1))
	if err := errors.Join(err, db.Close()); err != nil {
		t.Error(err)
	}
}
