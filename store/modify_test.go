package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// countOf is the counter in a value: zero without one.
func countOf(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// increment adds one to the counter of key.
func increment(tx *Tx, key []byte) error {
	var buf [8]byte
	value, err := tx.AppendGet(buf[:0], key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return tx.Put(key, binary.BigEndian.AppendUint64(buf[:0], countOf(value)+1))
}

// modify is Modify for tests, which fails them.
func modify(t testing.TB, db *DB, keys []string, fn func(tx *Tx) error) {
	t.Helper()
	var raw [][]byte
	for _, k := range keys {
		raw = append(raw, []byte(k))
	}
	if _, err := db.Modify(t.Context(), raw, Deferred, fn); err != nil {
		t.Fatal(err)
	}
}

// TestModifyReads asks a Tx for keys that it has written in every way, and that it has not,
// and compares what it says with a map; then what the store has.
func TestModifyReads(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	r := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	long := strings.Repeat("long", 3000)
	for range 300 {
		now := maps.Clone(want)
		some := 1 + r.IntN(40)
		modify(t, db, nil, func(tx *Tx) error {
			for range 3 * some {
				key := fmt.Sprint(r.IntN(some))
				switch r.IntN(5) {
				case 0:
					delete(now, key)
					if err := tx.Delete([]byte(key)); err != nil {
						return err
					}
				case 1:
					now[key] = fmt.Sprint(r.Uint64())
					if r.IntN(10) == 0 {
						now[key] = long
					}
					if err := tx.Put([]byte(key), []byte(now[key])); err != nil {
						return err
					}
				default:
					checkRead(t, tx, key, now)
				}
			}
			return nil
		})
		want = now
		wantSame(t, contents(t, db), want)
	}
}

// checkRead asks tx for a key in all ways.
func checkRead(t *testing.T, tx *Tx, key string, want map[string]string) {
	t.Helper()
	value, there := want[key]
	got, err := tx.AppendGet([]byte("before"), []byte(key))
	has, hasErr := tx.Has([]byte(key))
	n, lenErr := tx.ValueBytes([]byte(key))
	middle, partErr := tx.AppendGetRange([]byte{}, []byte(key), 2, 5)
	if !there {
		if !errors.Is(err, ErrNotFound) || !errors.Is(lenErr, ErrNotFound) || !errors.Is(partErr, ErrNotFound) || has || hasErr != nil {
			t.Errorf("%q: %v, %v, %v, %t %v, want ErrNotFound", key, err, lenErr, partErr, has, hasErr)
		}
		return
	}
	if err := errors.Join(err, hasErr, lenErr, partErr); err != nil {
		t.Errorf("%q: %v", key, err)
	}
	part := value[min(2, len(value)):min(7, len(value))]
	if string(got) != "before"+value || !has || n != len(value) || string(middle) != part {
		t.Errorf("%q: %.20q of %d bytes, part %q, %t, want %.20q of %d", key, got, n, middle, has, value, len(value))
	}
}

// TestModifyAgain writes to what a function has read, while it runs: it must be called
// again, also if it ends with an error or without a write, and must not be called again
// if something else was written.
func TestModifyAgain(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	refused := errors.New("refused")
	a, other, long := []byte("a"), []byte("other"), bytes.Repeat([]byte("long"), 3000)
	ends := map[string]func(tx *Tx) error{
		"write": func(tx *Tx) error { return tx.Put(a, []byte("mine")) },
		"read":  func(tx *Tx) error { return nil },
		"error": func(tx *Tx) error { return refused },
	}
	for name, end := range ends {
		for _, read := range []string{"a short", "a long", "nothing"} {
			for _, touched := range []bool{true, false} {
				db.Delete(a, Deferred)
				switch read {
				case "a short":
					db.Put(a, []byte("short"), Deferred)
				case "a long":
					db.Put(a, long, Deferred)
				}
				calls := 0
				_, err := db.Modify(t.Context(), nil, Deferred, func(tx *Tx) error {
					if calls++; calls > 2 {
						return errors.New("called too often")
					}
					_, err := tx.Get(a)
					if err != nil && !errors.Is(err, ErrNotFound) {
						return err
					}
					if calls == 1 && touched {
						db.Put(a, append(long, "er"...), Deferred)
					} else if calls == 1 {
						db.Put(other, long, Deferred)
					}
					return end(tx)
				})
				want := 1
				if touched {
					want = 2
				}
				if calls != want || (err != nil) != (name == "error") || err != nil && err != refused {
					t.Errorf("%s, %s, changed %t: %d calls, %v", name, read, touched, calls, err)
				}
			}
		}
	}
}

// TestModifyErrors has every error that a Modify may end with: nothing may have changed.
func TestModifyErrors(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, smallOptions(false))
	if err := db.Put([]byte("a"), []byte("1"), Sync); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	mine := errors.New("mine")
	put := func(tx *Tx) error { return tx.Put([]byte("a"), []byte("2")) }
	for _, c := range []struct {
		name string
		ctx  context.Context
		fn   func(tx *Tx) error
		want error
	}{
		{"of fn", t.Context(), func(tx *Tx) error { return errors.Join(put(tx), mine) }, mine},
		{"of ctx", over, put, context.Canceled},
		{"no key", t.Context(), func(tx *Tx) error { return errors.Join(put(tx), tx.Delete(nil)) }, ErrEmptyKey},
		{"long key", t.Context(), func(tx *Tx) error {
			return errors.Join(put(tx), tx.Put(make([]byte, MaxKeyBytes+1), nil))
		}, ErrTooLarge},
	} {
		if _, err := db.Modify(c.ctx, nil, Sync, c.fn); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		wantSame(t, contents(t, db), map[string]string{"a": "1"})
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Modify(t.Context(), nil, Sync, put); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	o := smallOptions(false)
	o.ReadOnly = true
	db = open(t, dir, o)
	if _, err := db.Modify(t.Context(), nil, Sync, put); !errors.Is(err, ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	if _, err := db.Modify(t.Context(), nil, Sync, func(tx *Tx) error { checkRead(t, tx, "a", map[string]string{"a": "1"}); return nil }); err != nil {
		t.Errorf("read-only, a read: %v", err)
	}
}

// TestModifyPanics has a function panic: the next Modify of the key must go on.
func TestModifyPanics(t *testing.T) {
	watchdog(t)
	db := open(t, t.TempDir(), smallOptions(false))
	func() {
		defer func() { _ = recover() }()
		modify(t, db, []string{"a"}, func(tx *Tx) error { panic("mine") })
	}()
	modify(t, db, []string{"a"}, func(tx *Tx) error { return increment(tx, []byte("a")) })
	wantSame(t, contents(t, db), map[string]string{"a": "\x00\x00\x00\x00\x00\x00\x00\x01"})
}

// TestModifyReplaces puts values into a Modify that together are more than a batch may
// have, but for those that replace others.
func TestModifyReplaces(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	value := bytes.Repeat([]byte("v"), 100_000)
	want := map[string]string{}
	modify(t, db, nil, func(tx *Tx) error {
		for i := range 2 * MaxBatchBytes / len(value) {
			key := fmt.Sprint(i % 30)
			binary.BigEndian.PutUint64(value, uint64(i))
			want[key] = string(value)
			if err := tx.Put([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	wantSame(t, contents(t, db), want)
}

// TestCounters has goroutines count in few keys and in many, some with the keys named and
// some without, while others put and delete other keys beside them. No count may be lost.
func TestCounters(t *testing.T) {
	watchdog(t)
	for _, keys := range []int{1, 8, 1000} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			bothWays(t, func(t *testing.T, trapOnly bool) {
				db := open(t, t.TempDir(), smallOptions(trapOnly))
				const workers, each = 32, 100
				var wg, noise sync.WaitGroup
				var over atomic.Bool
				for w := range 4 {
					noise.Go(func() { disturb(t, db, uint64(w), &over) })
				}
				for w := range workers {
					wg.Go(func() {
						r := rand.New(rand.NewPCG(uint64(w), 0))
						for range each {
							key := fmt.Appendf(nil, "n%d", r.IntN(keys))
							named := [][]byte{key}[:w%2]
							if _, err := db.Modify(t.Context(), named, Deferred, func(tx *Tx) error { return increment(tx, key) }); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				over.Store(true)
				noise.Wait()
				sum := uint64(0)
				for item, err := range db.Range([]byte("n"), []byte("o")) {
					if err != nil {
						t.Fatal(err)
					}
					sum += countOf(item.Value)
				}
				if sum != workers*each {
					t.Errorf("counted to %d, want %d", sum, workers*each)
				}
			})
		})
	}
}

// disturb puts and deletes keys in the leaves of the counters, which lie before and after
// each of them.
func disturb(t *testing.T, db *DB, seed uint64, over *atomic.Bool) {
	r := rand.New(rand.NewPCG(seed, 1))
	for !over.Load() {
		key := fmt.Appendf(nil, "n%d", r.IntN(1000))
		key[0] += byte(r.IntN(2)*2) - 1
		err := db.Put(key, make([]byte, r.IntN(100)), Deferred)
		if r.IntN(3) == 0 {
			err = db.Delete(key, Deferred)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestCountersPut counts in keys that others put to, blindly: each put adds a token of its
// own and takes the count so far with it. What a Modify has made must follow in the order
// of the puts, so a value is the token of the newest put and how often it was counted since;
// the sum over all tokens that were replaced is not known, but that of a token never falls.
func TestCountersPut(t *testing.T) {
	watchdog(t)
	db := open(t, t.TempDir(), smallOptions(false))
	key := []byte("key")
	var wg sync.WaitGroup
	var puts atomic.Uint64
	seen := make([]map[[2]uint64]bool, 8)
	for w := range seen {
		seen[w] = map[[2]uint64]bool{}
		wg.Go(func() {
			for range 500 {
				var made [2]uint64
				_, err := db.Modify(t.Context(), nil, Deferred, func(tx *Tx) error {
					var buf [16]byte
					value, err := tx.AppendGet(buf[:0], key)
					if errors.Is(err, ErrNotFound) {
						value = make([]byte, 16)
					} else if err != nil {
						return err
					}
					made = [2]uint64{countOf(value), countOf(value[8:]) + 1}
					return tx.Put(key, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, made[0]), made[1]))
				})
				if err != nil {
					t.Error(err)
					return
				}
				seen[w][made] = true
				if w == 0 {
					err := db.Put(key, append(binary.BigEndian.AppendUint64(nil, puts.Add(1)), make([]byte, 8)...), Deferred)
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	all := map[[2]uint64]bool{}
	for _, s := range seen {
		for made := range s {
			if all[made] {
				t.Errorf("token %d was counted to %d twice: one is lost", made[0], made[1])
			}
			all[made] = true
		}
	}
	for made := range all {
		if made[1] > 1 && !all[[2]uint64{made[0], made[1] - 1}] {
			t.Errorf("token %d was counted to %d, but not to the number before", made[0], made[1])
		}
	}
}

// A bank is accounts whose sum is always the same.
type bank struct {
	db       *DB
	accounts [][]byte
}

const bankSum = 1000

func newBank(t *testing.T, db *DB, n int) *bank {
	b := &bank{db: db}
	var first Batch
	for i := range n {
		b.accounts = append(b.accounts, fmt.Appendf(nil, "account %d", i))
		if err := first.Put(b.accounts[i], binary.BigEndian.AppendUint64(nil, bankSum)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Apply(&first, Deferred); err != nil {
		t.Fatal(err)
	}
	return b
}

// transfer moves some of what one account has to another.
func (b *bank) transfer(r *rand.Rand) error {
	from, to := b.accounts[r.IntN(len(b.accounts))], b.accounts[r.IntN(len(b.accounts))]
	keys := slices.DeleteFunc([][]byte{from, to}, func([]byte) bool { return r.IntN(2) == 0 })
	_, err := b.db.Modify(context.Background(), keys, Deferred, func(tx *Tx) error {
		have, err := tx.Get(from)
		if err != nil {
			return err
		}
		some := r.Uint64N(countOf(have) + 1)
		if err := tx.Put(from, binary.BigEndian.AppendUint64(nil, countOf(have)-some)); err != nil {
			return err
		}
		if have, err = tx.Get(to); err != nil {
			return err
		}
		return tx.Put(to, binary.BigEndian.AppendUint64(nil, countOf(have)+some))
	})
	return err
}

// TestBank transfers between accounts, and adds them up: by GetAll, and by a Modify that
// writes nothing.
func TestBank(t *testing.T) {
	watchdog(t)
	bothWays(t, func(t *testing.T, trapOnly bool) {
		b := newBank(t, open(t, t.TempDir(), smallOptions(trapOnly)), 10)
		var over atomic.Bool
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 3))
				for !over.Load() {
					if err := b.transfer(r); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		want := uint64(bankSum * len(b.accounts))
		for range 300 {
			sum := uint64(0)
			err := b.db.GetAll(b.accounts, func(i int, value []byte, err error) error {
				sum += countOf(value)
				return err
			})
			if err != nil || sum != want {
				t.Errorf("GetAll: %d, %v, want %d", sum, err, want)
			}
			_, err = b.db.Modify(t.Context(), b.accounts[:5], Deferred, func(tx *Tx) error {
				sum = 0
				for _, a := range b.accounts {
					value, err := tx.Get(a)
					if err != nil {
						return err
					}
					sum += countOf(value)
				}
				return nil
			})
			if err != nil || sum != want {
				t.Errorf("Modify: %d, %v, want %d", sum, err, want)
			}
		}
		over.Store(true)
		wg.Wait()
	})
}

// TestWide applies batches that give several keys the same number, each greater than the
// one before, and reads the keys one after the other: who has seen a number must not see
// a smaller one after it.
func TestWide(t *testing.T) {
	watchdog(t)
	bothWays(t, func(t *testing.T, trapOnly bool) {
		db := open(t, t.TempDir(), smallOptions(trapOnly))
		const keys = 20
		key := func(i int) []byte { return fmt.Appendf(nil, "%d", i) }
		var b Batch
		write := func(n uint64) {
			b.Reset()
			for i := range keys {
				if err := b.Put(key(i), append(binary.BigEndian.AppendUint64(nil, n), make([]byte, 200)...)); err != nil {
					t.Error(err)
				}
			}
			if _, err := db.Apply(&b, Deferred); err != nil {
				t.Error(err)
			}
		}
		write(0)
		var over atomic.Bool
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 4))
				var seen uint64
				for !over.Load() {
					at := r.IntN(keys)
					value, err := db.Get(key(at))
					if err != nil {
						t.Error(err)
						return
					}
					if n := countOf(value); n < seen {
						t.Errorf("key %d has %d after another had %d", at, n, seen)
						return
					}
					seen = countOf(value)
				}
			})
		}
		for n := range uint64(2000) {
			write(n + 1)
		}
		over.Store(true)
		wg.Wait()
	})
}

// TestGetAll asks for keys of all kinds, some of them twice.
func TestGetAll(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	want := map[string]string{"short": "s", "empty": "", "long": strings.Repeat("l", 10_000), "longer": strings.Repeat("m", 1<<20)}
	for k, v := range want {
		if err := db.Put([]byte(k), []byte(v), Deferred); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"short", "none", "longer", "empty", "long", "short", "", "longer"}
	var keys [][]byte
	for _, n := range names {
		keys = append(keys, []byte(n))
	}
	next := 0
	err := db.GetAll(keys, func(i int, value []byte, err error) error {
		if i != next {
			t.Errorf("key %d after %d others", i, next)
		}
		next++
		value0, there := want[names[i]]
		if string(value) != value0 || there != (err == nil) || !there && !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %d bytes, %v, want %d", names[i], len(value), err, len(value0))
		}
		return nil
	})
	if err != nil || next != len(keys) {
		t.Errorf("%d of %d keys, %v", next, len(keys), err)
	}
	stop := errors.New("stop")
	if err := db.GetAll(keys, func(i int, _ []byte, _ error) error { return stop }); err != stop {
		t.Errorf("%v, want that of visit", err)
	}
}

// TestModifyAllocs counts with a Modify, which must allocate nothing once its memory is
// there.
func TestModifyAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("a pool forgets on purpose with -race")
	}
	db := open(t, t.TempDir(), smallOptions(false))
	key := []byte("counter")
	keys := [][]byte{key}
	fn := func(tx *Tx) error { return increment(tx, key) }
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := db.Modify(context.Background(), keys, Deferred, fn); err != nil {
			t.Error(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations a Modify", n)
	}
}

// TestModifyLong puts long values into Modifies, some streamed and some not, over others
// and away again, and fails some of the calls: the store must have what was made, and no
// page of a value that was not.
func TestModifyLong(t *testing.T) {
	db := open(t, t.TempDir(), longOptions())
	piece := db.opts.pieceBytes
	want := map[string]string{}
	r := rand.New(rand.NewPCG(1, 5))
	for round := range 40 {
		now, calls := maps.Clone(want), 0
		fail := round%4 == 3
		_, err := db.Modify(t.Context(), nil, Async, func(tx *Tx) error {
			calls++
			now = maps.Clone(want)
			for i := range 1 + r.IntN(40) {
				key := fmt.Sprint(r.IntN(10))
				switch r.IntN(4) {
				case 0:
					delete(now, key)
					if err := tx.Delete([]byte(key)); err != nil {
						return err
					}
				case 1:
					checkRead(t, tx, key, now)
				default:
					value := longBytes(uint64(100*round+i), r.IntN(3*piece))
					now[key] = string(value)
					if err := tx.Put([]byte(key), value); err != nil {
						return err
					}
					clear(value)
				}
				checkRead(t, tx, key, now)
			}
			if calls == 1 && round%4 == 1 { // what follows is in vain
				if _, err := tx.Has([]byte("x")); err != nil {
					return err
				}
				want["x"] = fmt.Sprint(round)
				return db.Put([]byte("x"), []byte(want["x"]), Deferred)
			}
			if fail {
				return errReader
			}
			return nil
		})
		if !fail && err == nil {
			want = now
		} else if err != errReader {
			t.Fatal(err)
		}
		if calls == 1 && round%4 == 1 {
			t.Error("called once, though what it has read was changed")
		}
		wantSame(t, contents(t, db), want)
	}
	if _, err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(db.open.all()); n != 0 || len(db.open.slots) != 0 {
		t.Errorf("%d values are open still, and %d places are taken", n, len(db.open.slots))
	}
}

// TestModifyPlaces has more calls of Modify at once than there are places, each with
// several values that take one.
func TestModifyPlaces(t *testing.T) {
	watchdog(t)
	db := open(t, t.TempDir(), longOptions())
	value := make([]byte, db.opts.pieceBytes+1)
	var wg sync.WaitGroup
	for w := range maxOpen {
		wg.Go(func() {
			_, err := db.Modify(t.Context(), nil, Deferred, func(tx *Tx) error {
				for i := range 2 {
					if err := tx.Put(fmt.Appendf(nil, "%d %d", w, i), value); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if err := db.Put(fmt.Append(nil, w), value, Deferred); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := db.Len(); n != 3*maxOpen {
		t.Errorf("%d keys, want %d", n, 3*maxOpen)
	}
}

// TestGetAllTooMuch asks for values that are too long together, short ones and long ones:
// nothing is visited, and nothing read that would not fit.
func TestGetAllTooMuch(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	for _, bytes := range []int{3000, 1 << 20} {
		if err := db.Put([]byte("key"), make([]byte, bytes), Deferred); err != nil {
			t.Fatal(err)
		}
		keys := slices.Repeat([][]byte{[]byte("key")}, MaxGetAllBytes/bytes+1)
		err := db.GetAll(keys, func(int, []byte, error) error {
			t.Fatal("visited")
			return nil
		})
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d values of %d bytes: %v", len(keys), bytes, err)
		}
		visits := 0
		err = db.GetAll(keys[:50], func(_ int, value []byte, err error) error {
			visits++
			if len(value) != bytes {
				t.Fatalf("%d bytes", len(value))
			}
			return err
		})
		if visits != 50 || err != nil {
			t.Errorf("%d visits, %v", visits, err)
		}
	}
}
