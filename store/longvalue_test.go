package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"faultline/flusher"
	"faultline/internal/disk"
	"faultline/pagemeta"
	"faultline/store/tree"
)

// longOptions have pieces of two pages, so that small values are streamed.
func longOptions() *Options {
	o := smallOptions(false)
	o.pieceBytes = 2 * flusher.ValuePageBytes
	return o
}

// longBytes are n bytes that are not like others.
func longBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return b
}

// TestLongValues writes values of lengths at all borders, in three ways, over
// values of other lengths, and reads them back: by Get, by ranges at all borders,
// by walks. The store must have the same after a crash, after Close, and read-only.
func TestLongValues(t *testing.T) {
	const page, piece = flusher.ValuePageBytes, 2 * flusher.ValuePageBytes
	sizes := []int{
		0, 1, MaxEntryBytes - 4, MaxEntryBytes - 3, page - 1, page, page + 1, piece - 1, piece, piece + 1,
		2*piece - 1, 2 * piece, 2*piece + 1, 10*piece + 77, 1 << 20,
	}
	if raceEnabled {
		sizes = sizes[5:12]
	}
	dir := t.TempDir()
	db := open(t, dir, longOptions())
	want := map[string]string{}
	puts := []func(key, value []byte) error{
		func(key, value []byte) error { return db.Put(key, value, Sync) },
		func(key, value []byte) error {
			return db.PutReader(t.Context(), key, iotest.HalfReader(bytes.NewReader(value)), int64(len(value)), Async)
		},
		func(key, value []byte) error {
			return db.PutReader(t.Context(), key, iotest.DataErrReader(bytes.NewReader(value)), -1, Async)
		},
		func(key, value []byte) error {
			var b Batch
			err := errors.Join(b.Put(key, []byte("first")), b.Put(key, value), b.Put([]byte("beside"), value))
			if err == nil {
				want["beside"] = string(value)
				_, err = db.Apply(&b, Deferred)
			}
			return err
		},
	}
	for round := range 2 {
		for i, size := range sizes {
			for how, put := range puts {
				key := fmt.Sprintf("%02d%d", (i+7*round)%len(sizes), how) // another length had it before
				value := longBytes(uint64(1000*round+10*i+how), size)
				if err := put([]byte(key), value); err != nil {
					t.Fatalf("put %d, value of %d bytes: %v", how, size, err)
				}
				want[key] = string(value)
			}
		}
		if round == 0 {
			if err := db.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(what string, db *DB) {
		t.Helper()
		wantSame(t, contents(t, db), want)
		for key, value := range want {
			got, err := db.AppendGet([]byte("before"), []byte(key))
			if err != nil || string(got) != "before"+value {
				t.Fatalf("%s: %q: %d bytes, %v, want %d", what, key, len(got), err, 6+len(value))
			}
			if has, err := db.Has([]byte(key)); !has || err != nil {
				t.Fatalf("%s: has %q: %t, %v", what, key, has, err)
			}
			checkRanges(t, db, key, value)
		}
		if r, err := db.Verify(t.Context()); err != nil || r.Values == 0 {
			t.Fatalf("%s: %+v, %v", what, r, err)
		}
	}
	check("first", db)
	copied := crashed(t, db)
	check("after a crash", open(t, copyOf(t, copied), longOptions()))
	o := longOptions()
	o.ReadOnly = true
	check("read-only", open(t, copied, o))
	for i := range sizes {
		key := fmt.Sprintf("%020d", i%10)[18:] + "0"
		if err := db.Delete([]byte(key), Sync); err != nil {
			t.Fatal(err)
		}
		delete(want, key)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, longOptions())
	check("opened again", db)
	for key := range want {
		if err := db.Delete([]byte(key), Async); err != nil {
			t.Fatal(err)
		}
	}
	if s := db.tree.State(); s.Values != 0 || db.Len() != 0 {
		t.Errorf("emptied: %+v", s)
	}
}

// checkRanges reads ranges that begin and end at the borders of pages and a byte
// beside them, and past the end.
func checkRanges(t *testing.T, db *DB, key, value string) {
	t.Helper()
	borders := []int{0, 1, len(value) - 1, len(value), len(value) + 1, len(value) + 5000}
	for n := flusher.ValuePageBytes; n < min(len(value), 13_000); n += flusher.ValuePageBytes {
		borders = append(borders, n-1, n, n+1)
	}
	for _, from := range borders {
		for _, to := range borders {
			if from < 0 || from > to {
				continue
			}
			got, err := db.AppendGetRange([]byte("x"), []byte(key), int64(from), int64(to-from))
			if want := value[min(from, len(value)):min(to, len(value))]; err != nil || string(got) != "x"+want {
				t.Fatalf("%q, %d to %d of %d: %d bytes, %v", key, from, to, len(value), len(got)-1, err)
			}
		}
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, -1}} {
		if got, err := db.AppendGetRange(nil, []byte(key), bad[0], bad[1]); err == nil || len(got) > 0 {
			t.Fatalf("range %v: %d bytes, %v", bad, len(got), err)
		}
	}
}

// TestLongIterator walks over long and short values, with and without reading them.
func TestLongIterator(t *testing.T) {
	db := open(t, t.TempDir(), longOptions())
	want := map[string][]byte{}
	for i := range 40 {
		key := fmt.Sprintf("%03d", i)
		want[key] = longBytes(uint64(i), []int{10, 5000, 30_000, 4054, 0}[i%5])
		if err := db.Put([]byte(key), want[key], Async); err != nil {
			t.Fatal(err)
		}
	}
	for _, keysOnly := range []bool{false, true} {
		it, err := db.NewIterator(&IterOptions{Lower: []byte("003"), KeysOnly: keysOnly})
		if err != nil {
			t.Fatal(err)
		}
		for _, walk := range []struct{ first, step func() bool }{{it.First, it.Next}, {it.Last, it.Prev}} {
			n := 0
			for ok := walk.first(); ok; ok = walk.step() {
				n++
				value := want[string(it.Key())]
				if it.ValueBytes() != len(value) {
					t.Fatalf("%q: %d bytes, want %d", it.Key(), it.ValueBytes(), len(value))
				}
				if keysOnly && len(value) > MaxEntryBytes-3 {
					value = nil
				}
				if !bytes.Equal(it.Value(), value) {
					t.Fatalf("%q: %d bytes, want %d", it.Key(), len(it.Value()), len(value))
				}
			}
			if n != len(want)-3 || it.Err() != nil {
				t.Errorf("%d keys, %v", n, it.Err())
			}
		}
	}
}

// untouched returns a function that fails the test unless db is as it is now, and
// holds nothing.
func untouched(t *testing.T, db *DB) func(what string) {
	t.Helper()
	was, used := contents(t, db), db.tree.State()
	return func(what string) {
		t.Helper()
		wantSame(t, contents(t, db), was)
		if now := db.tree.State(); now != used {
			t.Errorf("%s: %+v, was %+v", what, now, used)
		}
		if n := len(db.open.all()) + len(db.open.slots); n > 0 {
			t.Errorf("%s: values are open", what)
		}
		if e, err := db.tree.Hold(1, true); err != nil {
			t.Errorf("%s: %v", what, err)
		} else {
			db.tree.Drop(e)
		}
		if _, err := db.Verify(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestPutReaderFails lets readers fail at every piece, end too early, and be
// cancelled: the error must be what PutReader returns, and the store must be as it
// was, then and after a crash.
func TestPutReaderFails(t *testing.T) {
	db := open(t, t.TempDir(), longOptions())
	key := []byte("key")
	if err := db.Put(key, longBytes(1, 30_000), Sync); err != nil {
		t.Fatal(err)
	}
	same := untouched(t, db)
	value := longBytes(2, 50_000)
	for _, n := range []int{0, 1, 8143, 8144, 8145, 16_288, 33_000, 50_000} {
		for _, size := range []int64{-1, 60_000} {
			r := io.MultiReader(bytes.NewReader(value[:n]), iotest.ErrReader(errReader))
			if err := db.PutReader(t.Context(), key, r, size, Sync); !errors.Is(err, errReader) {
				t.Errorf("reader fails after %d bytes: %v", n, err)
			}
			same(fmt.Sprintf("reader fails after %d bytes", n))
		}
		if err := db.PutReader(t.Context(), key, bytes.NewReader(value[:n]), int64(n)+1, Sync); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes instead of %d: %v", n, n+1, err)
		}
		same("short reader")
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(bytes.NewReader(value), readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if err := db.PutReader(ctx, key, r, -1, Sync); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	same("cancelled")
	wantSame(t, contents(t, open(t, crashed(t, db), longOptions())), contents(t, db))
	if err := db.PutReader(t.Context(), key, bytes.NewReader(value), 40_000, Sync); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Get(key); err != nil || !bytes.Equal(got, value[:40_000]) {
		t.Errorf("%d bytes, %v, want the first 40000 of the reader", len(got), err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestOpenAtCut makes checkpoints while values are streamed, and crashes in the
// middle of them, before and after they are complete. A value that was not complete
// is not there, and its pages are free, also when a recovery has found it in the
// superblock, and when that recovery was followed by others.
func TestOpenAtCut(t *testing.T) {
	db := open(t, t.TempDir(), longOptions())
	if err := db.Put([]byte("key"), longBytes(1, 40_000), Sync); err != nil {
		t.Fatal(err)
	}
	old := contents(t, db)
	value := longBytes(2, 10*8144)
	var copies []string
	n := 0
	r := readerFunc(func(p []byte) (int, error) {
		if n == len(value) {
			return 0, io.EOF
		}
		if n%8144 == 0 && n > 0 {
			if n == 3*8144 || n == 7*8144 {
				if err := db.Checkpoint(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if err := db.WaitDurable(t.Context(), db.LSN()); err != nil {
				t.Error(err)
			}
			copies = append(copies, crashed(t, db))
		}
		k := copy(p[:min(len(p), 8144-n%8144)], value[n:])
		n += k
		return k, nil
	})
	if err := db.PutReader(t.Context(), []byte("key"), r, -1, Sync); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"key": string(value)}
	wantSame(t, contents(t, db), want)
	wantSame(t, contents(t, open(t, crashed(t, db), longOptions())), want)
	if len(copies) != 9 {
		t.Fatalf("%d copies", len(copies))
	}
	for i, dir := range copies {
		for range 2 {
			db := open(t, dir, longOptions())
			untouched(t, db)(fmt.Sprintf("copy %d", i))
			wantSame(t, contents(t, db), old)
			if err := db.Put([]byte("more"), longBytes(3, 20_000), Sync); err != nil {
				t.Fatal(err)
			}
			if err := db.Delete([]byte("more"), Sync); err != nil {
				t.Fatal(err)
			}
			dir = crashed(t, db)
		}
	}
}

// TestLongConcurrent overwrites and deletes long values while others read them: a
// value that is read is one that was written, whole. Rounds come and go.
func TestLongConcurrent(t *testing.T) {
	db := open(t, t.TempDir(), longOptions())
	const keys = 6
	fill := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 4000+n%23*1500) }
	sound := func(value []byte) error {
		if len(value) == 0 {
			return nil
		}
		if want := fill(int(value[0])); !bytes.Equal(value, want) {
			return fmt.Errorf("%d bytes that begin with %d, want %d of them", len(value), value[0], len(want))
		}
		return nil
	}
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	var reads atomic.Int64
	for g := range 3 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			var buf []byte
			for !stop.Load() {
				key := fmt.Appendf(nil, "key%d", r.IntN(keys))
				var err error
				switch r.IntN(4) {
				case 0, 1:
					buf, err = db.AppendGet(buf[:0], key)
				case 2:
					buf, err = db.AppendGetRange(buf[:0], key, 3000, 1000) // all have these
					if err == nil && !bytes.Equal(buf, bytes.Repeat(buf[:1], 1000)) {
						err = errors.New("a range of several values")
					}
					buf = buf[:0]
				case 3:
					for item, e := range db.All() {
						if err = errors.Join(e, sound(item.Value)); err != nil {
							break
						}
					}
					buf = buf[:0]
				}
				if err == nil {
					err = sound(buf)
				}
				if err != nil && !errors.Is(err, ErrNotFound) {
					t.Errorf("%q: %v", key, err)
					return
				}
				reads.Add(1)
			}
		})
	}
	writes := 300
	if raceEnabled {
		writes = 100
	}
	for g := range 2 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 2))
			for i := range writes {
				key := fmt.Appendf(nil, "key%d", r.IntN(keys))
				value := fill(r.IntN(256))
				var err error
				switch r.IntN(8) {
				case 0:
					err = db.Delete(key, Async)
				case 1:
					err = db.Checkpoint(t.Context())
				case 2:
					err = db.PutReader(t.Context(), key, bytes.NewReader(value), -1, Async)
				default:
					err = db.Put(key, value, Async)
				}
				if err != nil {
					t.Errorf("write %d: %v", i, err)
					return
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	if reads.Load() == 0 {
		t.Error("nothing was read")
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLongMoved reads a long value by a Ref that is out of date, as a reader does that
// was overtaken, when its pages have another value in them: it must get what the key has
// by then, long, short or nothing.
func TestLongMoved(t *testing.T) {
	db := open(t, t.TempDir(), longOptions())
	key := []byte("key")
	for _, now := range [][]byte{longBytes(2, 50_000), []byte("short"), nil} {
		if err := db.Put(key, longBytes(1, 40_000), Async); err != nil {
			t.Fatal(err)
		}
		old, found, err := db.tree.Get(nil, mainKey(key))
		if err != nil || found != tree.Long {
			t.Fatal(found, err)
		}
		if now == nil {
			err = db.Delete(key, Async)
		} else {
			err = db.Put(key, now, Async)
		}
		if err == nil {
			err = db.Checkpoint(t.Context()) // from here on the pages may be used again
		}
		if err == nil {
			err = db.Put([]byte("other"), longBytes(3, 40_000), Async)
		}
		if err != nil {
			t.Fatal(err)
		}
		ref, err := tree.ParseRef(old)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.readRef(nil, ref, whole); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("the old pages: %v, want another value in them", err)
		}
		got, err := db.readLong(nil, mainKey(key), old, whole)
		if now == nil && !errors.Is(err, ErrNotFound) || now != nil && (err != nil || !bytes.Equal(got, now)) {
			t.Errorf("%d bytes, %v, want %d", len(got), err, len(now))
		}
		if err := errors.Join(db.Delete(key, Async), db.Delete([]byte("other"), Async), db.Checkpoint(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLongDamage flips a bit in each page of a long value, in its header, its id and
// its content: with nothing in memory, reads that need the page fail with file and offset,
// all others go on, and so do reads of other keys. Verify says the same, also of a value
// that is in memory.
func TestLongDamage(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, longOptions())
	value := longBytes(5, 3*flusher.ValuePageBytes)
	for _, key := range []string{"a", "b", "c"} {
		if err := db.Put([]byte(key), value, Sync); err != nil {
			t.Fatal(err)
		}
	}
	raw, found, err := db.tree.Get(nil, mainKey([]byte("b")))
	if err != nil || found != tree.Long {
		t.Fatal(found, err)
	}
	ref, err := tree.ParseRef(raw)
	if err != nil || len(ref.Extents) != 1 {
		t.Fatal(ref, err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "data"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := range 3 {
		for _, at := range []int64{0, 4, 8, 12, 17, 24, 4095} {
			off := (int64(ref.Extents[0].Page)+int64(i))*4096 + at
			flip := func() {
				var b [1]byte
				if _, err := file.ReadAt(b[:], off); err != nil {
					t.Fatal(err)
				}
				b[0] ^= 4
				if _, err := file.WriteAt(b[:], off); err != nil {
					t.Fatal(err)
				}
			}
			flip()
			if _, err := db.Verify(t.Context()); !errors.Is(err, ErrCorrupt) {
				t.Errorf("page %d, byte %d: verify: %v", i, at, err)
			}
			must(t, db.Close())
			db = open(t, dir, longOptions())
			var corrupt *disk.CorruptError
			_, err := db.Get([]byte("b"))
			if !errors.Is(err, ErrCorrupt) || !errors.As(err, &corrupt) || corrupt.Offset != off-at || !strings.HasSuffix(corrupt.File, "data") {
				t.Errorf("page %d, byte %d: %v", i, at, err)
			}
			for page := range 3 {
				_, err := db.GetRange([]byte("b"), int64(page*flusher.ValuePageBytes+10), 100)
				if (page == i) != errors.Is(err, ErrCorrupt) || page != i && err != nil {
					t.Errorf("page %d, byte %d: range in page %d: %v", i, at, page, err)
				}
			}
			for _, key := range []string{"a", "c"} {
				if got, err := db.Get([]byte(key)); err != nil || !bytes.Equal(got, value) {
					t.Errorf("page %d, byte %d: %q: %v", i, at, key, err)
				}
			}
			flip()
			if got, err := db.Get([]byte("b")); err != nil || !bytes.Equal(got, value) {
				t.Errorf("page %d, byte %d is well again: %v", i, at, err)
			}
		}
	}
	page := pagemeta.NewPage() // of another place in its value
	off := (int64(ref.Extents[0].Page) + 1) * pagemeta.PageBytes
	if _, err := file.ReadAt(page[:], off); err != nil {
		t.Fatal(err)
	}
	was := *page
	page.Seal(ref.Extents[0].Page+1, 2)
	if _, err := file.WriteAt(page[:], off); err != nil {
		t.Fatal(err)
	}
	must(t, db.Close())
	db = open(t, dir, longOptions())
	if _, err := db.Get([]byte("b")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("page 1 is page 2 of its value: %v", err)
	}
	if _, err := file.WriteAt(was[:], off); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLongFull fills a store with long values until there is no room, and overwrites
// them then: freed pages come back, at the latest after a round, and what fails
// leaves all as it was.
func TestLongFull(t *testing.T) {
	o := longOptions()
	o.pages = 2000
	db := open(t, t.TempDir(), o)
	n := 0
	for ; ; n++ {
		err := db.Put(fmt.Appendf(nil, "%03d", n), longBytes(uint64(n), 200_000), Async)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 20 {
		t.Fatalf("full with %d values", n)
	}
	untouched(t, db)("full")
	for i := range 2 * n {
		key := fmt.Appendf(nil, "%03d", i%n)
		if err := db.Delete(key, Async); err != nil {
			t.Fatal(err)
		}
		if err := db.Put(key, longBytes(uint64(i+n), 200_000), Async); err != nil {
			t.Fatalf("write %d, of %d that there is room for: %v", i, n, err)
		}
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := contents(t, db)
	wantSame(t, contents(t, open(t, crashed(t, db), o)), was)
}

// TestLongUnknown puts a value whose length is not known, so that its pages come a few at
// a time, into a file that has to grow for it again and again.
func TestLongUnknown(t *testing.T) {
	watchdog(t)
	db := open(t, t.TempDir(), &Options{MemoryBudget: 64 << 20})
	want := longBytes(1, 48<<20)
	for range 2 { // the second time beside pages that are free
		if err := db.PutReader(context.Background(), []byte("key"), bytes.NewReader(want), -1, Async); err != nil {
			t.Fatal(err)
		}
		got, err := db.Get([]byte("key"))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
}

// TestAppendGetSpan has a writer give the key another value each time that a reader is told
// how long it is: what is read is a part of the value that had the length.
func TestAppendGetSpan(t *testing.T) {
	db := open(t, t.TempDir(), longOptions())
	key := []byte("key")
	for _, sizes := range [][2]int{{3, 7}, {7, 3}, {5000, 50_000}, {50_000, 5000}, {7, 50_000}, {50_000, 7}} {
		version, told := 0, int64(0)
		next := func() {
			version++
			value := bytes.Repeat([]byte{'a' + byte(version%2)}, sizes[version%2])
			must(t, db.Put(key, value, Deferred))
		}
		next()
		writes := 3
		got, err := db.AppendGetSpan([]byte("dst"), key, func(bytes int64) (offset, n int64) {
			if told = bytes; writes > 0 {
				writes--
				next()
			}
			return 1, bytes - 2
		})
		must(t, err)
		want := "a"
		if told == int64(sizes[1]) {
			want = "b"
		}
		if string(got) != "dst"+strings.Repeat(want, int(told)-2) {
			t.Errorf("%v: told of %d bytes, got %d that begin with %q", sizes, told, len(got)-3, got[:min(len(got), 8)])
		}
	}
	if got, err := db.AppendGetSpan(nil, []byte("none"), func(int64) (int64, int64) { return 0, 1 }); !errors.Is(err, ErrNotFound) || got != nil {
		t.Errorf("no key: %q, %v", got, err)
	}
	for _, s := range [][2]int64{{-1, 3}, {0, -1}, {1 << 40, 1}, {math.MaxInt64, math.MaxInt64}} {
		if _, err := db.AppendGetSpan(nil, key, func(int64) (int64, int64) { return s[0], s[1] }); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}
