package memdisk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"faultline/internal/disk"
)

// open opens or makes a file.
func open(t *testing.T, m *FS, name string) disk.File {
	t.Helper()
	f, err := m.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func writeAt(t *testing.T, f disk.File, off int64, b []byte) {
	t.Helper()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// letters is n bytes of c.
func letters(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

// runs says which letters a file has, each run of the same once: "ab" of "aaabb".
func runs(b []byte) string { return string(slices.Compact(bytes.Clone(b))) }

// seen crashes m often and returns what see makes of each, as a set, sorted.
func seen(m *FS, how Loss, see func(after *FS) string) string {
	rng := rand.New(rand.NewPCG(1, uint64(how)))
	var all []string
	for i := range 400 {
		all = append(all, see(m.CrashOdds(how, []int{1, 4, 7}[i%3], rng)))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// TestLosses has a file of two blocks that is synced as a, then written with b as a
// whole and then, in its first two sectors, with c. Each loss must leave everything
// that its grain allows, and nothing else.
func TestLosses(t *testing.T) {
	m := New()
	f := open(t, m, "/d/f")
	writeAt(t, f, 0, letters('a', 8192))
	must(t, f.Sync())
	must(t, m.SyncDir("/d"))
	writeAt(t, f, 0, letters('b', 8192))
	writeAt(t, f, 0, letters('c', 1024))
	for how, want := range map[Loss]string{
		Kill:   "cb",
		Keep:   "cb",
		Drop:   "a",
		Subset: "a b ca cb",
		Blocks: "a ab b ba ca cab cb cba",
	} {
		if got := seen(m, how, func(after *FS) string { return runs(after.Bytes("/d/f")) }); got != want {
			t.Errorf("%v: left %s, want %s", how, got, want)
		}
	}
	torn := map[int]bool{}
	seen(m, Torn, func(after *FS) string {
		b := after.Bytes("/d/f")
		for at := 0; at < len(b); at += 512 {
			if sector := runs(b[at : at+512]); len(sector) > 1 {
				t.Errorf("the sector at %d is torn itself: %s", at, sector)
			} else if at < 1024 || sector != "c" {
				torn[at+int(sector[0])<<16] = true
			}
		}
		return ""
	})
	if want := 2*3 + 14*2; len(torn) != want {
		t.Errorf("%d sectors as they may be, want %d", len(torn), want)
	}
}

// TestSyncedStays makes random writes, renames and syncs, and crashes: of a file
// whose name and bytes are synced nothing may be missing, whatever the loss.
func TestSyncedStays(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		m := New()
		f := open(t, m, "/d/f0")
		var want []byte
		n := 0
		for range rng.IntN(20) {
			switch rng.IntN(4) {
			case 0:
				must(t, m.Rename(fmt.Sprintf("/d/f%d", n), fmt.Sprintf("/d/f%d", n+1)))
				n++
			case 1:
				must(t, f.Truncate(int64(rng.IntN(9000))))
			default:
				writeAt(t, f, int64(rng.IntN(9000)), letters(byte('a'+rng.IntN(26)), rng.IntN(6000)))
			}
		}
		name := fmt.Sprintf("/d/f%d", n)
		want = bytes.Clone(m.Bytes(name))
		must(t, f.Sync())
		must(t, m.SyncDir("/d"))
		for how := range NumLoss {
			after := m.Crash(how, rng)
			if got := after.Names(); len(got) != 1 || got[0] != name || !bytes.Equal(after.Bytes(name), want) {
				t.Fatalf("%v: left %v, or other bytes", how, got)
			}
		}
	}
}

// TestNames has names that are not synced: each may be there or not, but a name that
// is given by a rename never together with the one before.
func TestNames(t *testing.T) {
	m := New()
	open(t, m, "/d/old")
	must(t, m.SyncDir("/d"))
	must(t, m.Rename("/d/old", "/d/new"))
	open(t, m, "/d/other")
	names := func(after *FS) string {
		return "[" + strings.ReplaceAll(strings.Join(after.Names(), ","), "/d/", "") + "]"
	}
	for how, want := range map[Loss]string{
		Kill:   "[new,other]",
		Keep:   "[new,other]",
		Drop:   "[old]",
		Subset: "[new,other] [new] [old,other] [old]",
		Torn:   "[new,other] [new] [old,other] [old]",
	} {
		if got := seen(m, how, names); got != want {
			t.Errorf("%v: left %s, want %s", how, got, want)
		}
	}
	must(t, m.SyncDir("/elsewhere"))
	if got := seen(m, Drop, names); got != "[old]" {
		t.Errorf("after a sync of another directory: %s", got)
	}
}

// TestMapped stores to a mapping, and has a look at the file system in between: each
// version that was there at such a moment may be what the disk has, the last sync the
// oldest. A copy does not change when the mapping does.
func TestMapped(t *testing.T) {
	m := New()
	m.Maps = true
	f := open(t, m, "/d/f")
	writeAt(t, f, 0, letters('a', 8192))
	must(t, m.SyncDir("/d"))
	mem, err := f.(disk.Mapper).Map(8192)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, letters('b', 4096))
	must(t, f.Sync())
	copy(mem, letters('c', 4096))
	before := m.Crash(Kill, nil)
	copy(mem, letters('d', 4096))
	bytesOf := func(after *FS) string { return runs(after.Bytes("/d/f")) }
	for how, want := range map[Loss]string{Kill: "da", Keep: "da", Drop: "ba", Subset: "ba ca da", Blocks: "ba ca da"} {
		if got := seen(m, how, bytesOf); got != want {
			t.Errorf("%v: left %s, want %s", how, got, want)
		}
	}
	if got := seen(before, Keep, bytesOf); got != "ca" {
		t.Errorf("an earlier copy has %s, want ca", got)
	}
	writeAt(t, f, 4096, letters('e', 4096))
	if got := runs(mem); got != "de" {
		t.Errorf("a write is not seen in the mapping: %s", got)
	}
}

// TestFailures has the failures that can be asked for: a hook that fails a call, a
// cut, syncs that lie, syncs that fail and lose what they were to write, a lock.
func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	content := func(m *FS, how Loss) string { return runs(m.Crash(how, nil).Bytes("/d/f")) }
	make := func() (*FS, disk.File) {
		m := New()
		f := open(t, m, "/d/f")
		writeAt(t, f, 0, letters('a', 10))
		must(t, f.Sync())
		must(t, m.SyncDir("/d"))
		return m, f
	}

	m, f := make()
	m.SetHook(func(op, path string) error { return broken })
	if _, err := f.WriteAt(letters('b', 10), 0); !errors.Is(err, broken) {
		t.Errorf("write: %v", err)
	}
	if got := content(m, Kill); got != "a" {
		t.Errorf("a write that failed has written %s", got)
	}

	m, f = make()
	m.CutAt(1)
	writeAt(t, f, 0, letters('b', 10))
	if err := f.Sync(); !errors.Is(err, ErrCut) {
		t.Errorf("sync after the cut: %v", err)
	}
	if got := content(m, Drop); got != "a" {
		t.Errorf("a sync after the cut has made %s durable", got)
	}

	for _, lies := range []string{"/d/f", "/d/*"} {
		m, f = make()
		m.Lies = lies
		writeAt(t, f, 0, letters('b', 10))
		must(t, f.Sync())
		if got := content(m, Drop); got != "a" {
			t.Errorf("a sync that lies has made %s durable", got)
		}
	}
	m.Lies = "/d"
	open(t, m, "/d/g")
	must(t, m.SyncDir("/d"))
	if got := m.Crash(Drop, nil).Names(); len(got) != 1 {
		t.Errorf("a sync of the directory that lies has made %v durable", got)
	}

	m, f = make()
	m.Drops = "/d/f"
	writeAt(t, f, 0, letters('b', 10))
	m.SetHook(func(op, path string) error { return broken })
	if err := f.Sync(); !errors.Is(err, broken) {
		t.Errorf("sync: %v", err)
	}
	m.SetHook(nil)
	must(t, f.Sync())
	if read, left := content(m, Kill), content(m, Keep); read != "b" || left != "a" {
		t.Errorf("after a sync that failed, and one that did not: %s is read and %s on disk, want b and a", read, left)
	}

	must(t, f.(disk.Evicter).Evict())
	if read := content(m, Kill); read != "a" {
		t.Errorf("%s is read after what was dropped is evicted", read)
	}

	l, err := m.Lock("/d/LOCK")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Lock("/d/LOCK"); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	if _, err := m.Crash(Kill, nil).Lock("/d/LOCK"); err != nil {
		t.Errorf("lock after a crash: %v", err)
	}
	must(t, l.Close())
	if _, err := m.Lock("/d/LOCK"); err != nil {
		t.Errorf("lock after the lock: %v", err)
	}
}
