package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"faultline/internal/memdisk"
	"faultline/pagemeta"
	"faultline/store/tree"
)

// fuzzStore returns a store in dir that was closed, as it lies on its disk.
func fuzzStore(t testing.TB, dir string) *memdisk.FS {
	t.Helper()
	m := memdisk.New()
	db, err := Open(dir, crowdOptions(m, false))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if err := db.Put(fuzzKey(i), bytes.Repeat([]byte{'v'}, 20*i), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

func fuzzKey(i int) []byte { return fmt.Appendf(nil, "key%03d", i) }

// reseal changes pages of a data file as patches says, eleven bytes each: which
// page, at which offset, the new bytes. Each page gets the checksum that it then
// needs.
func reseal(data, patches []byte) {
	for ; len(patches) >= 11; patches = patches[11:] {
		id := int(patches[0]) % (len(data) / pagemeta.PageBytes)
		page := (*pagemeta.Page)(data[id*pagemeta.PageBytes:])
		copy(page[int(le.Uint16(patches[1:]))%pagemeta.PageBytes:], patches[3:11])
		page.Seal(pagemeta.PageID(id), page.Round())
	}
}

// patch is one that reseal understands.
func patch(page byte, at int, value uint64) []byte {
	return le.AppendUint64(le.AppendUint16([]byte{page}, uint16(at)), value)
}

// FuzzOpen opens stores whose superblock, or another page, is not what this
// program has written, though its checksum is right, and uses what opens. Nothing
// may panic or hang, or take memory that the files do not explain.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	closed := fuzzStore(f, dir)
	for _, at := range []int{superMagicAt, superVersionAt, superSegmentAt, superLSNAt, superPagesAt, superUsedAt, superDeadAt, superInnerAt} {
		for _, value := range []uint64{0, 1, 1<<16 - 8, 1 << 31, 1<<32 - 1, 1 << 63, 1<<64 - 1<<16, 1<<64 - 1} {
			f.Add(patch(0, at, value), false)
		}
	}
	f.Add(patch(0, superSegmentAt, 0), true)
	f.Fuzz(func(t *testing.T, patches []byte, readOnly bool) {
		if len(patches) > 500 {
			t.Skip()
		}
		watchdog := time.AfterFunc(20*time.Second, func() { panic("the store hangs") })
		defer watchdog.Stop()
		m := closed.Crash(memdisk.Kill, nil)
		reseal(m.Bytes(filepath.Join(dir, "data")), patches)
		m.Settle()
		o := crowdOptions(m, false)
		o.ReadOnly = readOnly

		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		useAll(dir, o)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
			t.Errorf("%d bytes allocated", took)
		}
	})
}

// useAll opens a store and makes every kind of call. Errors are what a damaged store
// has to give; calls after one must not fare worse.
func useAll(dir string, o *Options) {
	db, err := Open(dir, o)
	if err != nil {
		return
	}
	for range db.All() {
	}
	if it, err := db.NewIterator(nil); err == nil {
		for ok := it.Last(); ok; ok = it.Prev() {
		}
		it.Close()
	}
	_, _ = db.Verify(context.Background())
	for i := range 70 {
		_, _ = db.Get(fuzzKey(i))
		_ = db.Put(fuzzKey(i), make([]byte, 50*i), Deferred)
		_ = db.Delete(fuzzKey(i*7%60), Deferred)
	}
	_ = db.Checkpoint(context.Background())
	_ = db.Close()
}

// FuzzWrites gives any bytes as the payload of a log record to the parsers of
// batches and ranges. What it takes must keep the limits of a write, and be what a Batch
// makes of these writes.
func FuzzWrites(f *testing.F) {
	var b Batch
	for _, err := range []error{b.Put([]byte("a"), []byte("1")), b.Delete([]byte("b")), b.Put([]byte("c"), nil),
		b.PutExpiring([]byte("d"), []byte("2"), time.UnixMilli(5)), b.SetExpiry([]byte("e"), time.Time{})} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(b.data)
	f.Add([]byte{opPut, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'a'})
	f.Add(appendRange(nil, []byte("a"), []byte("b")))
	f.Add(appendRange(nil, nil, []byte{1, 0}))
	f.Add([]byte{opDeleteRange, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if isRange(data) {
			lower, upper, err := parseRange(data)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			if err == nil && len(appendRange(nil, lower, upper)) > len(data) {
				t.Fatalf("from %q to %q, of %q", lower, upper, data)
			}
			return
		}
		var again Batch
		rest := data
		for len(rest) > 0 {
			w, more, err := nextWrite(rest)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				break
			}
			if len(more) >= len(rest) {
				t.Fatalf("%d bytes left of %d", len(more), len(rest))
			}
			again.Use(&Keyspace{slot: w.key[0]})
			key := w.key[tree.OwnerBytes:]
			switch w.op {
			case opPut, opPutExpiring:
				err = again.put(key, w.value, w.expiry)
			case opSetExpiry:
				err = again.SetExpiry(key, timeOf(w.expiry))
			default:
				err = again.Delete(key)
			}
			if err != nil && w.key[0] != systemSlot {
				t.Fatal(err)
			}
			rest = more
		}
		if len(again.data) > len(data)-len(rest) { // a varint can be longer than it must be
			t.Fatalf("%d bytes of batch from %d", len(again.data), len(data)-len(rest))
		}
	})
}
