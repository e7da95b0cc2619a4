package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"faultline/internal/memdisk"
	"faultline/pagemeta"
)

// A victim is a store that nobody has open, closed or as a kill left it, for tests
// that damage it. It is small, and has every kind of file but LOCK, which nobody
// reads.
type victim struct {
	name  string
	fs    *memdisk.FS
	files map[string]image   // by path in victimDir
	older map[place][][]byte // what was there before, at some sync

	// want is what is in it: first all, then what may be found if the end of the
	// log is gone that was never synced.
	want []map[string]string
}

const victimDir = "/victim"

// An image is a file: the pages up to the last that is not zero, and its length.
type image struct {
	data []byte
	size int64
}

// imageOf reads a file; there is nothing in one that is not there.
func imageOf(m *memdisk.FS, name string) image {
	f, err := m.OpenRead(filepath.Join(victimDir, name))
	if err != nil {
		return image{}
	}
	size, _ := f.Size() // neither fails, in memory
	b := make([]byte, size)
	_, _ = f.ReadAt(b, 0)
	pages := (len(bytes.TrimRight(b, "\x00")) + pagemeta.PageBytes - 1) / pagemeta.PageBytes
	return image{b[:min(len(b), pages*pagemeta.PageBytes)], size}
}

// A place is a page of a file.
type place struct {
	file string
	at   int // bytes from the start
}

// victimOptions make small files: a segment of the log is a page.
func victimOptions(m *memdisk.FS) *Options {
	o := crowdOptions(m, false)
	o.SegmentBytes = pagemeta.PageBytes
	o.LogBytes = 1 << 20 // no round but by Checkpoint
	o.logBuffer = 2 * pagemeta.PageBytes
	o.noHelper = true
	return o
}

// victimKeys are all keys that a victim may have.
const victimKeys = 60

func victimKey(n int) string { return fmt.Sprintf("key%02d", n%victimKeys) }

// A making is a store that is being written, and what is known of it.
type making struct {
	t     *testing.T
	m     *memdisk.FS
	db    *DB
	want  map[string]string
	n     int // writes
	older map[place][][]byte
}

// makeStore makes a store in which several rounds have overwritten and deleted
// keys, with groups behind them that are in the log only.
func makeStore(t *testing.T) *making {
	w := &making{t: t, m: memdisk.New(), want: map[string]string{}, older: map[place][][]byte{}}
	w.m.Maps = true
	w.m.SetHook(w.hook(func(op, name string) {}))
	db, err := Open(victimDir, victimOptions(w.m))
	if err != nil {
		t.Fatal(err)
	}
	w.db = db
	t.Cleanup(func() { db.Close() })
	w.write(40, Sync)
	w.checkpoint()
	for range 3 {
		w.write(14, Sync)
		w.checkpoint()
	}
	w.write(20, Sync)
	return w
}

// hook notes what a file is when it is synced, and calls also. Nothing is written
// meanwhile: a sync is waited for, and there is no helper.
func (w *making) hook(also func(op, name string)) func(op, path string) error {
	return func(op, path string) error {
		name := strings.TrimPrefix(path, victimDir+"/")
		if op == "sync" {
			w.note(name)
			w.note("wal/tail")
		}
		also(op, name)
		return nil
	}
}

// note keeps the pages of a file that are not as they were.
func (w *making) note(name string) {
	for i, now := range slices.Collect(slices.Chunk(imageOf(w.m, name).data, pagemeta.PageBytes)) {
		p := place{name, i * pagemeta.PageBytes}
		if was := w.older[p]; len(was) == 0 || !bytes.Equal(was[len(was)-1], now) {
			w.older[p] = append(was, now)
		}
	}
}

func blank(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// write makes n writes, each seventh a delete.
func (w *making) write(n int, d Durability) {
	w.t.Helper()
	for range n {
		w.n++
		k := victimKey(w.n * 17)
		if w.n%7 == 0 {
			delete(w.want, k)
		} else {
			w.want[k] = strings.Repeat(fmt.Sprintf("%d ", w.n), 40+w.n%50)
		}
		if err := putOrDelete(w.db, k, w.want, d); err != nil {
			w.t.Fatal(err)
		}
	}
}

// putOrDelete makes key in db what it is in want.
func putOrDelete(db *DB, key string, want map[string]string, d Durability) error {
	if v, ok := want[key]; ok {
		return db.Put([]byte(key), []byte(v), d)
	}
	return db.Delete([]byte(key), d)
}

func (w *making) checkpoint() {
	w.t.Helper()
	if err := w.db.Checkpoint(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// left is what a kill now leaves.
func (w *making) left(name string) *victim {
	v := &victim{
		name:  name,
		fs:    w.m.Crash(memdisk.Kill, nil),
		files: map[string]image{},
		older: map[place][][]byte{},
		want:  []map[string]string{maps.Clone(w.want)},
	}
	v.fs.Settle()
	for _, path := range v.fs.Names() {
		name := strings.TrimPrefix(path, victimDir+"/")
		v.files[name] = imageOf(v.fs, name)
	}
	for p, was := range w.older {
		v.older[p] = slices.Clone(was)
	}
	return v
}

// closedVictim is a store that was closed.
func closedVictim(t *testing.T) *victim {
	w := makeStore(t)
	if err := w.db.Close(); err != nil {
		t.Fatal(err)
	}
	return w.left("closed")
}

// killedVictim is one whose last writes are synced, and in the log only.
func killedVictim(t *testing.T) *victim { return makeStore(t).left("killed") }

// asyncVictim is one whose last writes are in the tail file only: none of them was
// synced.
func asyncVictim(t *testing.T) *victim {
	w := makeStore(t)
	var shorter []map[string]string
	for range 5 {
		shorter = append(shorter, maps.Clone(w.want))
		w.write(1, Async)
	}
	v := w.left("killed, last writes async")
	slices.Reverse(shorter)
	v.want = append(v.want, shorter...)
	return v
}

// killedIn is one killed in a flush round, before call number n of op on file.
func killedIn(t *testing.T, name, op, file string, n int) *victim {
	w := makeStore(t)
	var v *victim
	calls := 0
	w.m.SetHook(w.hook(func(o, f string) {
		if o == op && f == file {
			if calls++; calls == n {
				v = w.left(name)
			}
		}
	}))
	w.checkpoint()
	if v == nil {
		t.Fatalf("%s: the round makes %d calls %s %s", name, calls, op, file)
	}
	return v
}

// victims make a store at each moment that leaves another kind of files.
var victims = []func(t *testing.T) *victim{
	closedVictim,
	killedVictim,
	asyncVictim,
	func(t *testing.T) *victim { // the images are in the journal, the header is not
		return killedIn(t, "killed before B", "write", "journal", 2)
	},
	func(t *testing.T) *victim { return killedIn(t, "killed after B", "write", "data", 1) },
	func(t *testing.T) *victim { return killedIn(t, "killed in C", "write", "data", 2) },
	func(t *testing.T) *victim { return killedIn(t, "killed after C", "write", "journal", 3) },
}

// before returns what the n bytes at a place of a file once were, and are not now.
func (v *victim) before(name string, at, n int) (all [][]byte) {
	here := v.files[name].data[at : at+n]
	page := place{name, at / pagemeta.PageBytes * pagemeta.PageBytes}
	for _, was := range v.older[page] {
		was = was[at-page.at:][:n]
		same := func(b []byte) bool { return bytes.Equal(b, was) }
		if !same(here) && !slices.ContainsFunc(all, same) {
			all = append(all, was)
		}
	}
	return all
}
