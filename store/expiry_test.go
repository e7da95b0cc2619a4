package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/internal/memdisk"
	"faultline/store/tree"
)

// A handClock shows what it is set to.
type handClock struct{ ms atomic.Int64 }

func (c *handClock) time() time.Time { return time.UnixMilli(c.ms.Load()) }

func (c *handClock) at(ms int64) time.Time { return time.UnixMilli(ms) }

func newHandClock(ms int64) *handClock {
	c := new(handClock)
	c.ms.Store(ms)
	return c
}

// checkIndex tells whether each key that expires has an entry in the index that is not
// later, and returns how many keys the default keyspace has, expired ones among them.
func checkIndex(db *DB) (keys uint64, err error) {
	entries := map[string]uint64{}
	it, err := db.spaces.system.NewIterator(&IterOptions{Lower: []byte{dueKind}, Upper: []byte{dueKind + 1}})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		entry := string(it.Key())
		if _, ok := entries[entry[dueKeyAt:]]; !ok { // the first is the earliest
			entries[entry[dueKeyAt:]] = beUint64(entry[1:])
		}
	}
	if err := it.Close(); err != nil {
		return 0, err
	}
	c := db.tree.NewCursor()
	for ok := c.SeekGE([]byte{mainSlot}); ok; ok = c.Next() {
		slot, gen := c.Key()[0], c.Key()[1]
		if gen != db.tree.Gen(slot) {
			continue
		}
		if slot == mainSlot {
			keys++
		}
		if e := c.Expiry(); e != 0 {
			if at, ok := entries[string(c.Key())]; !ok || at > e {
				return keys, fmt.Errorf("%q expires at %d, its entry in the index is at %d, %t", c.Key(), e, at, ok)
			}
		}
	}
	return keys, c.Err()
}

func beUint64(s string) (v uint64) {
	for i := range 8 {
		v = v<<8 | uint64(s[i])
	}
	return v
}

// TestExpiry puts keys that expire, long and short, lets the time come, and asks for
// them in every way: before, after, when they were reaped, and when the store was opened
// again.
func TestExpiry(t *testing.T) {
	clock := newHandClock(1000)
	var gone []string
	o := &Options{Clock: clock.time, noHelper: true, Expired: func(ks *Keyspace, key []byte) {
		gone = append(gone, ks.Name()+":"+string(key))
	}}
	dir := t.TempDir()
	db := open(t, dir, o)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	long, longer := strings.Repeat("l", 10_000), strings.Repeat("m", 300_000)
	main := &db.spaces.main
	must(db.Put([]byte("a"), []byte("never"), Async))
	must(db.PutExpiring([]byte("b"), []byte("short"), clock.at(2000), Async))
	must(db.PutExpiring([]byte("c"), []byte(long), clock.at(2000), Async))
	must(db.PutExpiring([]byte("d"), []byte(longer), clock.at(2000), Async))
	must(db.PutExpiring([]byte("e"), []byte("kept"), clock.at(2000), Async))
	must(db.Put([]byte("e"), []byte("kept"), Async))
	must(db.PutExpiring([]byte("f"), []byte("persists"), clock.at(2000), Async))
	must(db.Put([]byte("g"), []byte(long), Async))
	for _, c := range []struct {
		key  string
		at   time.Time
		want bool
	}{{"f", time.Time{}, true}, {"g", clock.at(2000), true}, {"x", clock.at(2000), false}} {
		if found, err := db.Expire([]byte(c.key), c.at, Async); err != nil || found != c.want {
			t.Fatalf("expire %s: %t, %v", c.key, found, err)
		}
	}
	wantEntries(t, main, "a=never", "b=short", "c="+long, "d="+longer, "e=kept", "f=persists", "g="+long)
	for key, want := range map[string]int64{"a": 0, "b": 2000, "c": 2000, "d": 2000, "e": 0, "f": 0, "g": 2000} {
		at, err := db.Expiry([]byte(key))
		if want == 0 && !at.IsZero() || want != 0 && at.UnixMilli() != want || err != nil {
			t.Errorf("%s expires at %v, %v", key, at, err)
		}
	}
	if n := db.Expiring(); n != 4 {
		t.Errorf("%d keys expire, want 4", n)
	}
	clock.ms.Store(2000)
	look := func() {
		t.Helper()
		for _, key := range []string{"b", "c", "d", "g"} {
			if _, err := db.Get([]byte(key)); !errors.Is(err, ErrNotFound) {
				t.Errorf("get %s: %v", key, err)
			}
			if has, err := db.Has([]byte(key)); has || err != nil {
				t.Errorf("has %s: %t, %v", key, has, err)
			}
			if _, err := db.Expiry([]byte(key)); !errors.Is(err, ErrNotFound) {
				t.Errorf("expiry of %s: %v", key, err)
			}
			if found, err := db.Expire([]byte(key), time.Time{}, Async); found || err != nil {
				t.Errorf("expire %s: %t, %v", key, found, err)
			}
			_, err := db.Modify(t.Context(), nil, Async, func(tx *Tx) error {
				if has, err := tx.Has([]byte(key)); has || err != nil {
					t.Errorf("has %s: %t, %v", key, has, err)
				}
				return tx.SetExpiry([]byte(key), time.Time{})
			})
			must(err)
			must(db.GetAll([][]byte{[]byte(key)}, func(_ int, _ []byte, err error) error {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("get all %s: %v", key, err)
				}
				return nil
			}))
			var b Batch
			must(b.SetExpiry([]byte(key), time.Time{}))
			b.WantFound()
			if _, err := db.Apply(&b, Async); err != nil || b.Found() != 0 {
				t.Errorf("set expiry of %s: %d found, %v", key, b.Found(), err)
			}
		}
		var list []string
		for item, err := range db.All() {
			must(err)
			list = append(list, string(item.Key))
		}
		if !slices.Equal(list, []string{"a", "e", "f"}) {
			t.Errorf("keys %q", list)
		}
	}
	look()
	var b Batch
	must(b.Delete([]byte("b")))
	b.WantFound()
	if _, err := db.Apply(&b, Async); err != nil || b.Found() != 0 {
		t.Errorf("delete of an expired key: %d found, %v", b.Found(), err)
	}
	must(db.Close())
	db = open(t, dir, o)
	look()
	if _, err := checkIndex(db); err != nil {
		t.Error(err)
	}
	if next, err := db.reap(t.Context()); err != nil || next != noDue {
		t.Errorf("next at %d, %v", next, err)
	}
	look()
	if slices.Sort(gone); !slices.Equal(gone, []string{":c", ":d", ":g"}) {
		t.Errorf("reaped %q", gone)
	}
	if n, e := db.Len(), db.Expiring(); n != 3 || e != 0 || db.tree.Slot(systemSlot).Keys != 0 {
		t.Errorf("%d keys, %d expire, %d entries", n, e, db.tree.Slot(systemSlot).Keys)
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestProlonged prolongs the life of a key again and again: the index has one entry for
// it, which moves on when it is due.
func TestProlonged(t *testing.T) {
	clock := newHandClock(0)
	db := open(t, t.TempDir(), &Options{Clock: clock.time, noHelper: true})
	key := []byte("session")
	for ms := int64(0); ms < 10_000; ms += 10 {
		clock.ms.Store(ms)
		if err := db.PutExpiring(key, []byte("v"), clock.at(ms+1000), Deferred); err != nil {
			t.Fatal(err)
		}
		if ms%50 == 0 {
			if _, err := db.reap(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := db.tree.Slot(systemSlot).Keys; n != 1 {
			t.Fatalf("%d entries at %d", n, ms)
		}
		if has, err := db.Has(key); !has || err != nil {
			t.Fatalf("at %d: %t, %v", ms, has, err)
		}
	}
	clock.ms.Store(10_990)
	if next, err := db.reap(t.Context()); err != nil || next != noDue || db.Len() != 0 {
		t.Errorf("next at %d, %v, %d keys", next, err, db.Len())
	}
}

// TestReaper has keys reaped in the background, by the machine's clock, those that come
// while it sleeps among them.
func TestReaper(t *testing.T) {
	gone := make(chan string, 10)
	db := open(t, t.TempDir(), &Options{Expired: func(ks *Keyspace, key []byte) { gone <- ks.Name() + ":" + string(key) }})
	ks := keyspace(t, db, "ks")
	now := time.Now()
	for _, err := range []error{
		ks.PutExpiring([]byte("later"), nil, now.Add(time.Hour), Async),
		ks.PutExpiring([]byte("soon"), nil, now.Add(20*time.Millisecond), Async),
		db.PutExpiring([]byte("at once"), nil, now.Add(-time.Second), Async),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := []string{<-gone, <-gone}
	if slices.Sort(got); !slices.Equal(got, []string{":at once", "ks:soon"}) {
		t.Errorf("%q", got)
	}
	if n := ks.Len(); n != 1 {
		t.Errorf("%d keys are left", n)
	}
}

// TestReapedOnce lets two entries of one key be due together: it is told of once.
func TestReapedOnce(t *testing.T) {
	clock, told := newHandClock(0), 0
	db := open(t, t.TempDir(), &Options{Clock: clock.time, noHelper: true, Expired: func(*Keyspace, []byte) { told++ }})
	for _, ms := range []int64{100, 50} {
		if err := db.PutExpiring([]byte("key"), nil, clock.at(ms), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	clock.ms.Store(200)
	if next, err := db.reap(t.Context()); err != nil || next != noDue || told != 1 {
		t.Errorf("told %d times, next at %d, %v", told, next, err)
	}
}

// TestReapFull fills a store with keys that expire, behind more keys than one batch takes
// whose entries are due while they live on: those need room for other entries, and must
// not keep the rest from being deleted, which makes that room.
func TestReapFull(t *testing.T) {
	clock := newHandClock(0)
	db := open(t, t.TempDir(), &Options{Clock: clock.time, noHelper: true, MemoryBudget: MinMemoryBudget, pages: 1000, CheckpointEvery: -1})
	const prolonged = reapBatch + 10
	for i := range prolonged {
		key := fmt.Appendf(nil, "a%d", i)
		if err := db.PutExpiring(key, nil, clock.at(100), Deferred); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Expire(key, clock.at(1000), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for i := 0; err == nil; i++ {
		err = db.PutExpiring(fmt.Appendf(nil, "b%d", i), make([]byte, 3000), clock.at(101), Deferred)
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	clock.ms.Store(200)
	if _, err := db.reap(t.Context()); !errors.Is(err, ErrFull) {
		t.Errorf("a full store has room for %d entries: %v", prolonged, err)
	}
	if n := db.Len(); n != prolonged {
		t.Errorf("%d keys, want %d", n, prolonged)
	}
	if next, err := db.reap(t.Context()); err != nil || next != 1000 {
		t.Errorf("with room again: next at %d, %v", next, err)
	}
	if _, err := checkIndex(db); err != nil {
		t.Error(err)
	}
}

// TestReapNoSpace fills a disk with keys that expire, everywhere in the tree: on a disk that
// has no block left they must be deleted, which makes room.
func TestReapNoSpace(t *testing.T) {
	clock := newHandClock(0)
	disk := memdisk.New()
	o := &Options{Clock: clock.time, noHelper: true, MemoryBudget: 64 << 20, DirtyBudget: 1 << 20,
		SegmentBytes: 128 << 10, LogBytes: 64 << 10, CheckpointEvery: -1, fs: disk}
	db := open(t, "/d", o)
	disk.SetQuota(disk.Used() + 8<<20)
	rng := rand.New(rand.NewPCG(campaign.Seed(t), 31))
	var err error
	for err == nil {
		err = db.PutExpiring(fmt.Appendf(nil, "%08d", rng.IntN(1e8)), make([]byte, 900), clock.at(1000+rng.Int64N(1000)), Deferred)
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	disk.SetQuota(disk.Used())
	before := db.Len()
	clock.ms.Store(2000)
	if _, err := db.reap(t.Context()); err != nil && !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	if n := db.Len(); n != 0 {
		t.Errorf("%d of %d keys are left", n, before)
	}
	if err := db.Put([]byte("key"), make([]byte, 900), Sync); err != nil {
		t.Errorf("put after %d keys have gone: %v", before, err)
	}
}

// TestReapDamaged has expired keys in a page that cannot be read: all others must go.
func TestReapDamaged(t *testing.T) {
	clock := newHandClock(0)
	disk := memdisk.New()
	o := &Options{Clock: clock.time, noHelper: true, MemoryBudget: MinMemoryBudget, CheckpointEvery: -1, fs: disk}
	db := open(t, "/d", o)
	const keys = 2000
	for i := range keys {
		if err := db.PutExpiring(fmt.Appendf(nil, "key%04d", i), make([]byte, 300), clock.at(1000), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data := disk.Bytes("/d/data")
	at := bytes.Index(data, []byte("key01"))
	data[at] ^= 1
	db = open(t, "/d", o)
	clock.ms.Store(1000)
	if _, err := db.reap(t.Context()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged page: %v", err)
	}
	if n := db.Len(); n == 0 || n > 50 {
		t.Errorf("%d of %d keys are left", n, keys)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.noHelper = false
	db = open(t, "/d", o)
	watchdog(t)
	for db.Metrics().ReapErrors == 0 { // the reaper itself
		runtime.Gosched()
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, o.noHelper = disk.Bytes("/d/data"), true
	db = open(t, "/d", o)
	data[at] ^= 1
	if next, err := db.reap(t.Context()); err != nil || next != noDue || db.Len() != 0 {
		t.Errorf("next at %d, %v, %d keys", next, err, db.Len())
	}
}

// TestExpiryReplayed replays a write that has let a key expire in the past, over pages
// that have it already, but not its entry in the index: that was kept beside a leaf.
func TestExpiryReplayed(t *testing.T) {
	clock := newHandClock(5)
	db := open(t, t.TempDir(), &Options{Clock: clock.time, noHelper: true})
	key, past := []byte("key"), clock.at(3)
	if err := db.Put(key, nil, Deferred); err != nil {
		t.Fatal(err)
	}
	if found, err := db.Expire(key, past, Deferred); !found || err != nil {
		t.Fatal(found, err)
	}
	var again Batch
	if err := again.SetExpiry(key, past); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(again.collect(db), again.stamp(5)); err != nil {
		t.Fatal(err)
	}
	entry := appendDue(nil, 3, append([]byte{mainSlot, 0}, key...))
	if err := db.spaces.system.Delete(entry, Deferred); err != nil {
		t.Fatal(err)
	}
	if _, err := checkIndex(db); err == nil {
		t.Fatal("the entry is there")
	}
	db.replayed.Store(0)
	err := db.replayRecord(new(Batch), again.data, db.LSN())
	db.replayed.Store(replayDone)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkIndex(db); err != nil {
		t.Error(err)
	}
}

// TestGetAllExpires lets time go on between the looks at two keys that expire together.
func TestGetAllExpires(t *testing.T) {
	clock := newHandClock(0)
	tick := func() time.Time { return clock.at(clock.ms.Add(1)) }
	db := open(t, t.TempDir(), &Options{Clock: tick, noHelper: true})
	keys := [][]byte{[]byte("a"), []byte("b")}
	for _, key := range keys {
		if err := db.PutExpiring(key, nil, clock.at(100), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	for clock.ms.Store(94); clock.ms.Load() < 105; {
		found := 0
		if err := db.GetAll(keys, func(_ int, _ []byte, err error) error {
			if err == nil {
				found++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if found == 1 {
			t.Errorf("at %d one key is there and the other is not", clock.ms.Load())
		}
	}
}

// expiryWant is what a key should have.
type expiryWant struct {
	value  string
	expiry int64 // 0: never
}

// expiryModel is what keyspaces should have, by their name.
type expiryModel map[string]map[string]expiryWant

// live is what can be found at now.
func (m expiryModel) live(name string, now int64) map[string]expiryWant {
	live := maps.Clone(m[name])
	maps.DeleteFunc(live, func(_ string, w expiryWant) bool { return w.expiry != 0 && w.expiry <= now })
	return live
}

// compare compares db with m, at now.
func (m expiryModel) compare(t *testing.T, db *DB, now int64) {
	t.Helper()
	for name := range m {
		ks := keyspace(t, db, name)
		got := map[string]expiryWant{}
		it, err := ks.NewIterator(nil)
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			w := expiryWant{value: string(it.Value())}
			if at := it.Expiry(); !at.IsZero() {
				w.expiry = at.UnixMilli()
			}
			got[string(it.Key())] = w
		}
		if want := m.live(name, now); it.Close() != nil || !maps.Equal(got, want) {
			for key, w := range want {
				if got[key] != w {
					t.Errorf("%q: %.20q of %d bytes, expires at %d, want %.20q of %d bytes, at %d", key, got[key].value, len(got[key].value), got[key].expiry, w.value, len(w.value), w.expiry)
				}
			}
			t.Fatalf("keyspace %q at %d: %d keys, want %d; %v", name, now, len(got), len(want), it.Err())
		}
	}
	if _, err := checkIndex(db); err != nil {
		t.Fatal(err)
	}
}

// TestExpiryModel writes keys that expire to several keyspaces, clears and drops them,
// makes checkpoints, reaps, lets time pass, and kills the store, all at random, in memory
// that is too small; and compares it with a model. After each recovery all is as it was,
// counts included, and when all has expired and was reaped nothing is left.
func TestExpiryModel(t *testing.T) {
	watchdog(t)
	for _, trapOnly := range []bool{false, true} {
		seed := campaign.Seed(t)
		rng := rand.New(rand.NewPCG(seed, 5))
		clock := newHandClock(1)
		disk := memdisk.New()
		disk.Maps = true
		w := manner{mapped: true, alone: true, tight: true, trapOnly: trapOnly}
		reopen := func() *DB {
			o := w.options(disk)
			o.Clock = clock.time
			db, err := Open(filmDir, o)
			if err != nil {
				t.Fatal(err)
			}
			db.opts.LogBytes = 1 << 40
			return db
		}
		db := reopen()
		names := []string{"", "one", "two"}
		m := expiryModel{}
		for _, name := range names {
			m[name] = map[string]expiryWant{}
			keyspace(t, db, name)
		}
		for n := range campaign.Scale(t, 3000) {
			name := names[rng.IntN(len(names))]
			ks, want := keyspace(t, db, name), m[name]
			key := fmt.Sprintf("key%03d", rng.IntN(80))
			now := clock.ms.Load()
			live, found := m.live(name, now)[key]
			expiry := int64(0)
			if rng.IntN(3) > 0 {
				expiry = max(now+int64(rng.IntN(400))-20, 1)
			}
			at := time.Time{}
			if expiry != 0 {
				at = clock.at(expiry)
			}
			size := []int{8, 300, 1500, 5000}[rng.IntN(4)]
			value := fmt.Sprintf("%0*d", size, n)
			var err error
			switch p := rng.IntN(100); {
			case p < 45:
				err = ks.PutExpiring([]byte(key), []byte(value), at, Async)
				want[key] = expiryWant{value, expiry}
			case p < 55:
				err = ks.Delete([]byte(key), Async)
				delete(want, key)
			case p < 65:
				var had bool
				if had, err = ks.Expire([]byte(key), at, Async); had != found {
					t.Fatalf("expire %q: %t, want %t", key, had, found)
				}
				if found {
					want[key] = expiryWant{live.value, expiry}
				}
			case p < 75:
				var b Batch
				b.Use(ks)
				err = errors.Join(b.SetExpiry([]byte(key), at), b.Put([]byte("other"), []byte(value)))
				if found {
					want[key] = expiryWant{live.value, expiry}
				}
				want["other"] = expiryWant{value, 0}
				_, applied := db.Apply(&b, Async)
				err = errors.Join(err, applied)
			case p < 80:
				_, err = ks.Modify(context.Background(), nil, Async, func(tx *Tx) error {
					got, err := tx.Get([]byte(key))
					if found != (err == nil) || found && string(got) != live.value {
						t.Fatalf("%q: %.20q, %v, want %.20v, %t", key, got, err, live, found)
					}
					return errors.Join(tx.Put([]byte(key), []byte(value)), tx.SetExpiry([]byte(key), at))
				})
				want[key] = expiryWant{value, expiry}
				if expiry != 0 && expiry <= now {
					delete(want, key)
				}
			case p < 88:
				clock.ms.Add(int64(rng.IntN(60)))
			case p < 92:
				_, err = db.reap(context.Background())
			case p < 93:
				err = db.Checkpoint(context.Background())
			case p < 95: // with changes beside leaves: the log is kept from before them
				err = db.flusher.Checkpoint(context.Background())
			case p < 96:
				err = ks.Clear(context.Background())
				clear(want)
			case p < 97 && name != "":
				err = db.DropKeyspace(name)
				clear(want)
			default:
				disk = disk.Crash(memdisk.Kill, nil)
				kill(db)
				db = reopen()
				m.compare(t, db, now)
				if _, err := db.Verify(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if err != nil {
				t.Fatalf("step %d: %v", n, err)
			}
			if n%50 == 0 {
				m.compare(t, db, clock.ms.Load())
			}
		}
		m.compare(t, db, clock.ms.Load())
		clock.ms.Add(1000)
		if next, err := db.reap(context.Background()); err != nil || next != noDue {
			t.Errorf("next at %d, %v", next, err)
		}
		m.compare(t, db, clock.ms.Load())
		for _, name := range names {
			ks := keyspace(t, db, name)
			if n := ks.Len(); n != uint64(len(m.live(name, clock.ms.Load()))) || ks.Expiring() != 0 {
				t.Errorf("keyspace %q: %d keys, %d expire", name, n, ks.Expiring())
			}
		}
		if n := db.tree.Slot(systemSlot).Keys; n != uint64(len(db.Keyspaces())-1) {
			t.Errorf("%d keys of the system, %d keyspaces", n, len(db.Keyspaces()))
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLongestExpires has the longest key expire, with the longest value of a leaf.
func TestLongestExpires(t *testing.T) {
	clock := newHandClock(1)
	db := open(t, t.TempDir(), &Options{Clock: clock.time, noHelper: true})
	key := bytes.Repeat([]byte{0xff}, MaxKeyBytes)
	for _, n := range []int{MaxEntryBytes - MaxKeyBytes, MaxEntryBytes - MaxKeyBytes + 1} {
		if err := db.Put(key, make([]byte, n), Async); err != nil {
			t.Fatal(err)
		}
		if _, found, err := db.tree.Get(nil, mainKey(key)); err != nil || (found == tree.Long) != (n > MaxEntryBytes-MaxKeyBytes) {
			t.Errorf("value of %d bytes: %d, %v", n, found, err)
		}
		for _, at := range []time.Time{clock.at(5), {}, clock.at(7)} {
			if found, err := db.Expire(key, at, Async); err != nil || !found {
				t.Fatal(found, err)
			}
			if got, err := db.Expiry(key); err != nil || !got.Equal(at) {
				t.Fatal(got, err)
			}
		}
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	clock.ms.Store(7)
	if _, err := db.reap(t.Context()); err != nil || db.Len() != 0 {
		t.Error(err, db.Len())
	}
}
