package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"faultline/internal/memdisk"
	"faultline/pagemeta"
	"faultline/store/tree"
)

// TestHalfMade cuts the power before every call that the making of a store makes,
// in every way, and opens what is left: that must be an empty store, and one that
// works. A crash is no corruption, however little is there.
func TestHalfMade(t *testing.T) {
	dir := t.TempDir()
	points := 0
	for at := int64(1); ; at++ {
		m := memdisk.New()
		var images []*memdisk.FS
		calls := int64(0)
		m.SetHook(func(op, path string) error {
			if calls++; calls == at {
				for how := range memdisk.NumLoss {
					images = append(images, m.Crash(how, rand.New(rand.NewPCG(uint64(at), uint64(how)))))
				}
			}
			if calls >= at {
				return memdisk.ErrCut
			}
			return nil
		})
		db, err := Open(dir, crowdOptions(m, false))
		if images == nil {
			if err != nil {
				t.Fatal(err)
			}
			m.SetHook(nil)
			db.Close()
			break
		}
		if !errors.Is(err, memdisk.ErrCut) {
			if err == nil {
				db.Close()
			}
			t.Fatalf("call %d: %v", at, err)
		}
		for how, left := range images {
			left.Settle()
			o := crowdOptions(left, false)
			for again, want := range []map[string]string{{}, {"key": "value"}} {
				db, err := Open(dir, o)
				if err != nil {
					t.Fatalf("cut before call %d, %v, open %d: %v", at, memdisk.Loss(how), again, err)
				}
				wantSame(t, contents(t, db), want)
				if err := db.Put([]byte("key"), []byte("value"), Sync); err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			points++
		}
	}
	if points < 8*int(memdisk.NumLoss) {
		t.Errorf("%d states", points)
	}
}

// filled makes a store with a few dozen pages, and returns its directory, as a
// kill leaves it, and what is in it: a third is in the log only.
func filled(t *testing.T) (dir string, want map[string]string) {
	t.Helper()
	o := smallOptions(false)
	o.SegmentBytes = 8 << 10
	db := open(t, t.TempDir(), o)
	want = map[string]string{}
	for i := range 600 {
		if i == 400 {
			if err := db.Checkpoint(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		k, v := fmt.Sprintf("key%04d", i*7%600), value(uint64(i))
		if err := db.Put([]byte(k), []byte(v), Async); err != nil {
			t.Fatal(err)
		}
		want[k] = v
		if i%50 == 49 {
			if err := db.WaitDurable(context.Background(), db.LSN()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return crashed(t, db), want
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// edit changes a file in place.
func edit(t *testing.T, name string, fn func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, fn(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// segments returns the paths of the files of the log that hold it, in order.
func segments(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			names = append(names, filepath.Join(dir, "wal", e.Name()))
		}
	}
	return names
}

// TestLostFiles takes files of a store away, or shortens them, as no crash does.
// Open, or the reads after it, must say what is wrong and where, or find what is
// there without the file; none may panic, and none may give a value that was
// never put. The second column says what is possible.
func TestLostFiles(t *testing.T) {
	dir, want := filled(t)
	const (
		whole   = 1 << iota // all is there
		corrupt             // ErrCorrupt, with a path in the directory
		older               // some writes are missing: the newest
		other               // an error of another kind
	)
	for _, c := range []struct {
		name     string
		possible int
		do       func(dir string) error
	}{
		{"nothing", whole, func(dir string) error { return nil }},
		{"LOCK removed", whole, func(dir string) error { return os.Remove(filepath.Join(dir, "LOCK")) }},
		{"journal removed", whole, func(dir string) error { return os.Remove(filepath.Join(dir, "journal")) }},
		{"journal emptied", whole, func(dir string) error { return os.Truncate(filepath.Join(dir, "journal"), 0) }},
		{"journal cut", whole, func(dir string) error { return os.Truncate(filepath.Join(dir, "journal"), 5000) }},
		{"data removed", corrupt, func(dir string) error { return os.Remove(filepath.Join(dir, "data")) }},
		{"data emptied", corrupt, func(dir string) error { return os.Truncate(filepath.Join(dir, "data"), 0) }},
		{"data cut in page 0", corrupt, func(dir string) error { return os.Truncate(filepath.Join(dir, "data"), 1000) }},
		{"data cut after page 0", corrupt, func(dir string) error { return os.Truncate(filepath.Join(dir, "data"), 4096) }},
		{"data cut in the middle", corrupt, func(dir string) error { return os.Truncate(filepath.Join(dir, "data"), 20*4096+7) }},
		{"log removed", corrupt | older, func(dir string) error { return os.RemoveAll(filepath.Join(dir, "wal")) }},
		{"a segment removed", corrupt, func(dir string) error {
			s := segments(t, dir)
			return os.Remove(s[len(s)/2])
		}},
		{"a segment cut", corrupt, func(dir string) error {
			s := segments(t, dir)
			return os.Truncate(s[len(s)/2], 100)
		}},
		{"data and log removed", older, func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "data")), os.RemoveAll(filepath.Join(dir, "wal")))
		}},
		{"data is a directory", other, func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "data")), os.Mkdir(filepath.Join(dir, "data"), 0o700))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyOf(t, dir)
			if err := os.RemoveAll(filepath.Join(dir, "wal", "tail")); err != nil { // what it has is in segments too
				t.Fatal(err)
			}
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			came := 0
			switch found, err := readAll(dir, smallOptions(false)); {
			case errors.Is(err, ErrCorrupt) && strings.Contains(err.Error(), dir):
				came = corrupt
			case err != nil:
				came = other
			default:
				came = whole
				for k, v := range want {
					if found[k] != v {
						came = older
					}
				}
				for k, v := range found {
					if !wasPut(k, v) {
						t.Errorf("%q has %q", k, v)
					}
				}
			}
			if came&c.possible == 0 {
				_, err := readAll(dir, smallOptions(false))
				t.Errorf("came %b, possible %b: %v", came, c.possible, err)
			}
		})
	}
}

// wasPut tells whether filled has ever put v at k.
func wasPut(k, v string) bool {
	var at, n uint64
	fmt.Sscanf(k, "key%d", &at)
	fmt.Sscanf(v, "%d ", &n)
	return n*7%600 == at && v == value(n)
}

// readAll opens a store and reads it, both ways.
func readAll(dir string, o *Options) (found map[string]string, err error) {
	db, err := Open(dir, o)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	found = map[string]string{}
	for item, err := range db.All() {
		if err != nil {
			return nil, err
		}
		found[string(item.Key)] = string(item.Value)
	}
	_, err = db.Verify(context.Background())
	return found, err
}

// TestLogDamage flips a bit in the log, wherever there is a record: where later
// marks prove that it was durable, Open must fail, and name the segment and the
// offset; at the end the log is cut, and what remains are the first writes. Never
// may a value change. Without damage all is there.
func TestLogDamage(t *testing.T) {
	dir, want := filled(t)
	if err := os.Remove(filepath.Join(dir, "wal", "tail")); err != nil {
		t.Fatal(err)
	}
	ro := smallOptions(false)
	ro.ReadOnly = true
	if found, err := readAll(dir, ro); err != nil {
		t.Fatal(err)
	} else {
		wantSame(t, found, want)
	}
	rng := rand.New(rand.NewPCG(1, 7))
	corrupt, cut, harmless := 0, 0, 0
	before := ""
	for _, name := range segments(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := rng.IntN(300); at < len(b); at += 1 + rng.IntN(4000) {
			edit(t, name, func(b []byte) []byte { b[at] ^= 1 << rng.IntN(8); return b })
			switch found, err := readAll(dir, ro); {
			case errors.Is(err, ErrCorrupt):
				corrupt++
				// A record can begin in the segment before.
				if text := err.Error(); !strings.Contains(text, name+" at byte ") && !strings.Contains(text, before+" at byte ") {
					t.Errorf("byte %d of %s: %v", at, name, err)
				}
			case err != nil:
				t.Errorf("byte %d of %s: %v", at, name, err)
			case len(found) == len(want) && slices.Equal(sortedItems(found), sortedItems(want)):
				harmless++ // zeros behind the log, or a segment before the cut
			default:
				cut++
				prefixOf(t, found)
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before = name
	}
	if corrupt == 0 || cut == 0 {
		t.Errorf("%d corrupt, %d cut, %d harmless: the test shows nothing", corrupt, cut, harmless)
	}
	t.Logf("%d corrupt, %d cut, %d harmless", corrupt, cut, harmless)
}

func sortedItems(m map[string]string) (items []string) {
	for k, v := range m {
		items = append(items, k+"="+v)
	}
	slices.Sort(items)
	return items
}

// prefixOf fails unless found is what filled has after some number of its puts,
// 400 at least.
func prefixOf(t *testing.T, found map[string]string) {
	t.Helper()
	want := map[string]string{}
	for i := range 600 {
		if i >= 400 && slices.Equal(sortedItems(found), sortedItems(want)) {
			return
		}
		want[fmt.Sprintf("key%04d", i*7%600)] = value(uint64(i))
	}
	t.Errorf("%d keys that are no prefix of the writes", len(found))
}

// TestPageDamage flips a bit in each page of the data file in turn. Whatever needs
// the page, Open, a read or Verify, must fail with ErrCorrupt, the data file and
// the offset of the page; all other keys must be there. That some read fails for
// every page in use shows that damage is found.
func TestPageDamage(t *testing.T) {
	dir, want := filled(t)
	db := open(t, dir, smallOptions(false))
	if err := db.Close(); err != nil { // all is in the data file now
		t.Fatal(err)
	}
	ro := smallOptions(false)
	ro.ReadOnly = true
	db = open(t, dir, ro)
	pages := db.tree.State().Pages
	db.Close()
	data := filepath.Join(dir, "data")
	rng := rand.New(rand.NewPCG(1, 8))
	onOpen, onRead := 0, 0
	for id := range pages {
		at := int(id)*pagemeta.PageBytes + rng.IntN(pagemeta.PageBytes)
		flip := func(b []byte) []byte { b[at] ^= 1 << rng.IntN(8); return b }
		b, err := os.ReadFile(data)
		if err != nil {
			t.Fatal(err)
		}
		edit(t, data, flip)
		where := fmt.Sprintf("%s at byte %d:", data, int(id)*pagemeta.PageBytes)
		db, err := Open(dir, ro)
		if err != nil {
			onOpen++
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), where) {
				t.Errorf("page %d: open: %v", id, err)
			}
		} else {
			bad := 0
			for k, v := range want {
				got, err := db.Get([]byte(k))
				switch {
				case err != nil:
					bad++
					if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), where) {
						t.Errorf("page %d: %v", id, err)
					}
				case string(got) != v:
					t.Errorf("page %d: key %q has %.20q, want %.20q", id, k, got, v)
				}
			}
			if bad > 0 {
				onRead++
			}
			if bad == len(want) {
				t.Errorf("page %d: no key can be read", id)
			}
			if _, err := db.Verify(context.Background()); !errors.Is(err, ErrCorrupt) {
				t.Errorf("page %d: verify: %v", id, err)
			}
			db.Close()
		}
		if err := os.WriteFile(data, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if onRead < int(pages)/2 || onOpen == 0 {
		t.Errorf("of %d pages %d are missed by Open, %d by reads", pages, onOpen, onRead)
	}
}

// TestSuperblock puts wrong things into page 0 with a right checksum: each must be
// refused with a word about what it is.
func TestSuperblock(t *testing.T) {
	dir, _ := filled(t)
	data := filepath.Join(dir, "data")
	was, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		do   func(p *pagemeta.Page)
		says string
		is   error
	}{
		{"version", func(p *pagemeta.Page) { le.PutUint32(p[superVersionAt:], formatVersion+1) }, fmt.Sprintf("version %d", formatVersion+1), nil},
		{"magic", func(p *pagemeta.Page) { p[superMagicAt] = 'F' }, "superblock", ErrNotStore},
		{"kind", func(p *pagemeta.Page) { p.SetKind(tree.KindLeaf) }, "superblock", ErrNotStore},
		{"pages", func(p *pagemeta.Page) { le.PutUint32(p[superPagesAt:], 1<<30) }, "pages of data", ErrBudget},
		{"salt", func(p *pagemeta.Page) { p[superUUIDAt] ^= 1 }, "", nil},
	} {
		edit(t, data, func(b []byte) []byte {
			p := (*pagemeta.Page)(b)
			c.do(p)
			p.Seal(0, p.Round())
			return b
		})
		db, err := Open(dir, smallOptions(false))
		if err == nil {
			db.Close()
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is)) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := os.WriteFile(data, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJournalDamage damages the journal at two moments: after a checkpoint, when
// it is of no use any more, and while its pages are being written in place, when
// it alone can tell what they should be. In the first all must be there; in the
// second each read must be right or ErrCorrupt. With the journal as it was all
// must be right in both.
func TestJournalDamage(t *testing.T) {
	dir := t.TempDir()
	journal := filepath.Join(dir, "journal")
	intact, reported := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		m := memdisk.New()
		o := crowdOptions(m, false)
		o.LogBytes = 1 << 30
		db := open(t, dir, o)
		c := newCrowd(2)
		step := func() {
			for i := range 150 {
				w := c[i%2]
				if err := w.apply(db, w.started.Load()+1); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.WaitDurable(context.Background(), db.LSN()); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if err := db.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
		step()
		var left *memdisk.FS
		syncs, wantSyncs := 0, rng.IntN(3) // 0 and 1: during C; 2: after it
		m.SetHook(func(op, path string) error {
			if left == nil && filepath.Base(path) == "data" && op == "sync" {
				if syncs++; syncs == wantSyncs+1 {
					left = m.Crash(1+memdisk.Loss(rng.IntN(int(memdisk.NumLoss-1))), rng)
				}
			}
			return nil
		})
		if err := db.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
		after := left == nil
		if after {
			left = m.Crash(memdisk.Drop, rng)
		}
		m.SetHook(nil)
		db.Close()
		left.Settle()
		good := left.Crash(memdisk.Kill, rng)
		all := c.now(startedBy)
		if err := c.reopenCheck(dir, crowdOptions(good, false), all, all); err != nil {
			t.Fatalf("seed %d, journal intact: %v", seed, err)
		}
		for i, w := range c {
			w.started.Store(all[i])
		}
		b := left.Bytes(journal)
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		left.Settle()
		wrong := checkReads(dir, crowdOptions(left, false), c)
		switch {
		case wrong == nil:
			intact++
		case !errors.Is(wrong, ErrCorrupt):
			t.Errorf("seed %d, journal damaged: %v", seed, wrong)
		case after:
			t.Errorf("seed %d, journal damaged when it was of no use: %v", seed, wrong)
		default:
			reported++
		}
	}
	if intact == 0 || reported == 0 {
		t.Errorf("%d intact, %d reported: the test shows nothing", intact, reported)
	}
	t.Logf("%d intact, %d reported", intact, reported)
}

// checkReads opens a store and gets every key of the crowd. It returns an
// ErrCorrupt if that is what some key gives and all others are right.
func checkReads(dir string, o *Options, c crowd) error {
	db, err := Open(dir, o)
	if err != nil {
		return err
	}
	defer db.Close()
	var corrupt error
	for _, w := range c {
		for k, v := range w.contents(w.started.Load()) {
			got, err := db.Get([]byte(k))
			switch {
			case errors.Is(err, ErrCorrupt):
				corrupt = err
			case err != nil:
				return fmt.Errorf("%q: %w", k, err)
			case string(got) != v:
				return fmt.Errorf("%q is %.20q, want %.20q", k, got, v)
			}
		}
	}
	return corrupt
}
