// Package kvtest tests that a kv.Store does what package kv says: the same tests for
// a store in the process and for the client of a server. It is for tests.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"faultline/internal/campaign"
	"faultline/kv"
)

// Run runs all tests on db, which has no keys, and closes it.
func Run(t *testing.T, db kv.Store) {
	t.Run("Model", func(t *testing.T) { Model(t, db) })
	for _, test := range []struct {
		name string
		run  func(*testing.T, kv.Store)
	}{
		{"Errors", testErrors}, {"LongValues", testLongValues}, {"Walks", testWalks}, {"Counters", testCounters},
		{"Batches", testBatches}, {"Context", testContext}, {"Spaces", testSpaces}, {"Closed", testClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, db)
			if t.Failed() {
				return
			}
			if _, err := db.DeleteRange(t.Context(), nil, nil, kv.Async); err != nil && !errors.Is(err, kv.ErrClosed) {
				t.Fatal(err)
			}
		})
	}
}

// Model compares db with a map, over random operations.
func Model(t *testing.T, db kv.Keyspace) {
	for name, value := range map[string]string{
		"rapid.seed":       strconv.FormatUint(campaign.Seed(t), 10),
		"rapid.checks":     strconv.Itoa(campaign.Scale(t, 40)),
		"rapid.steps":      "60",
		"rapid.nofailfile": "true",
	} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, db)
		t.Repeat(map[string]func(*rapid.T){
			"":             m.check,
			"put":          m.put,
			"putExpiring":  m.putExpiring,
			"putIfAbsent":  m.putIfAbsent,
			"putIfPresent": m.putIfPresent,
			"expire":       m.expire,
			"delete":       m.delete,
			"deleteRange":  m.deleteRange,
			"write":        m.write,
			"update":       m.update,
			"updateFails":  m.updateFails,
			"get":          m.get,
			"getAll":       m.getAll,
			"getRange":     m.getRange,
			"count":        m.count,
			"range":        m.walk,
		})
	})
}

// Options of tests that are about something else than durability.
const async = kv.Async

func must(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testErrors asks for what there is not, and for what may not be.
func testErrors(t *testing.T, db kv.Store) {
	_, err := db.Get([]byte("none"))
	is(t, "Get", err, kv.ErrNotFound)
	_, err = db.GetRange([]byte("none"), 0, 1)
	is(t, "GetRange", err, kv.ErrNotFound)
	_, err = db.GetRange([]byte("none"), 3, 0)
	is(t, "GetRange of nothing", err, kv.ErrNotFound)
	_, err = db.Expiry([]byte("none"))
	is(t, "Expiry", err, kv.ErrNotFound)
	is(t, "Put", db.Put(nil, []byte("v"), async), kv.ErrEmptyKey)
	_, err = db.PutIfAbsent(nil, []byte("v"), async)
	is(t, "PutIfAbsent", err, kv.ErrEmptyKey)
	is(t, "Delete", db.Delete(nil, async), kv.ErrEmptyKey)
	_, err = db.Expire(nil, time.Time{}, async)
	is(t, "Expire", err, kv.ErrEmptyKey)
	is(t, "long key", db.Put(make([]byte, 100<<10), nil, async), kv.ErrTooLarge)
	is(t, "long key in a batch", db.Write(t.Context(), async, func(b kv.Batch) error {
		return errors.Join(b.Put([]byte("beside"), nil), b.Put(make([]byte, 100<<10), nil))
	}), kv.ErrTooLarge)
	is(t, "empty key in a batch", db.Write(t.Context(), async, func(b kv.Batch) error {
		return errors.Join(b.Put([]byte("beside"), nil), b.Delete(nil))
	}), kv.ErrEmptyKey)
	if found, err := db.Has([]byte("beside")); found || err != nil {
		t.Errorf("a key of a batch that failed: %t, %v", found, err)
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, -1}} {
		if _, err := db.GetRange([]byte("none"), bad[0], bad[1]); err == nil || errors.Is(err, kv.ErrNotFound) {
			t.Errorf("range %d: %v", bad, err)
		}
	}
}

func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// testLongValues puts values of very different sizes side by side.
func testLongValues(t *testing.T, db kv.Store) {
	sizes := []int{0, 1, 100, 4000, 70_000, 1 << 20, 3 << 20, 10}
	var want []kv.Item
	for i := range 64 {
		item := kv.Item{Key: fmt.Appendf(nil, "key%03d", i), Value: bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)])}
		must(t, db.Put(item.Key, item.Value, async))
		want = append(want, item)
	}
	compareWalk(t, db, want)
	for i := 5; i < 64; i += 16 {
		part, err := db.GetRange(want[i].Key, 1<<19, 1000)
		if must(t, err); !bytes.Equal(part, want[i].Value[1<<19:][:1000]) {
			t.Errorf("%s: part of the value is wrong", want[i].Key)
		}
	}
}

// testWalks walks many keys, ends early, and nests walks.
func testWalks(t *testing.T, db kv.Store) {
	var want []kv.Item
	for i := range 3000 {
		want = append(want, kv.Item{Key: fmt.Appendf(nil, "%05d", i), Value: strconv.AppendInt(nil, int64(i), 10)})
	}
	for part := range slices.Chunk(want, 500) {
		must(t, db.Write(t.Context(), async, func(b kv.Batch) error {
			for _, item := range part {
				if err := b.Put(item.Key, item.Value); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	compareWalk(t, db, want)
	n := 0
	for item, err := range db.Backward([]byte("00100"), []byte("02000")) {
		must(t, err)
		if !bytes.Equal(item.Key, want[1999-n].Key) {
			t.Fatalf("backward %d: %.40q", n, item.Key)
		}
		if n++; n == 50 {
			break
		}
	}
	n = 0
	for outer, err := range db.Range(nil, []byte("00040")) {
		must(t, err)
		key := bytes.Clone(outer.Key)
		for _, err := range db.Range(key, []byte("00040")) {
			must(t, err)
			n++
		}
	}
	if n != 40*41/2 {
		t.Errorf("nested walks: %d items", n)
	}
}

// compareWalk walks all of db in both directions.
func compareWalk(t *testing.T, db kv.Keyspace, want []kv.Item) {
	t.Helper()
	got := 0
	for item, err := range db.Range(nil, nil) {
		must(t, err)
		if got == len(want) || !bytes.Equal(item.Key, want[got].Key) || !bytes.Equal(item.Value, want[got].Value) {
			t.Fatalf("item %d: %.40q, %d bytes", got, item.Key, len(item.Value))
		}
		got++
	}
	if got != len(want) {
		t.Fatalf("%d items, want %d", got, len(want))
	}
	for item, err := range db.Backward(nil, nil) {
		must(t, err)
		if got--; got < 0 || !bytes.Equal(item.Key, want[got].Key) || !bytes.Equal(item.Value, want[got].Value) {
			t.Fatalf("backward, item %d: %.40q, %d bytes", got, item.Key, len(item.Value))
		}
	}
	if got != 0 {
		t.Fatalf("backward ended %d items before the first", got)
	}
}

// testCounters moves amounts between accounts from many goroutines: each move is made
// once, and the sum stays.
func testCounters(t *testing.T, db kv.Store) {
	const accounts, movers, moves = 3, 8, 25
	account := func(i int) []byte { return fmt.Appendf(nil, "account%d", i%accounts) }
	add := func(tx kv.Tx, key []byte, amount int) error {
		value, err := tx.Get(key)
		if errors.Is(err, kv.ErrNotFound) {
			value, err = []byte("0"), nil
		}
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(value))
		if err != nil {
			return err
		}
		return tx.Put(key, strconv.AppendInt(nil, int64(n+amount), 10))
	}
	var wg sync.WaitGroup
	for g := range movers {
		wg.Go(func() {
			for i := range moves {
				from, to, keys := account(g), account(g+1+i%2), [][]byte(nil)
				if i%3 > 0 { // named or not
					keys = [][]byte{from, to}[:i%3]
				}
				if err := db.Update(t.Context(), keys, async, func(tx kv.Tx) error {
					return errors.Join(add(tx, from, -1), add(tx, to, 1), add(tx, []byte("moves"), 1))
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for item, err := range db.Range([]byte("account"), []byte("b")) {
		must(t, err)
		n, err := strconv.Atoi(string(item.Value))
		must(t, err)
		sum += n
	}
	count, err := db.Get([]byte("moves"))
	must(t, err)
	if sum != 0 || string(count) != strconv.Itoa(movers*moves) {
		t.Errorf("sum %d after %s moves, want 0 after %d", sum, count, movers*moves)
	}
}

// testBatches writes pairs in batches while readers look at them: in an Update they
// are never unequal.
func testBatches(t *testing.T, db kv.Store) {
	a, b := []byte("a"), []byte("b")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			value := strconv.AppendInt(nil, int64(i), 10)
			if err := db.Write(context.Background(), async, func(w kv.Batch) error {
				return errors.Join(w.Put(a, value), w.Put(b, value))
			}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for seen := false; !seen; {
		select {
		case <-done:
			seen = true
		default:
		}
		var one, two []byte
		must(t, db.Update(t.Context(), nil, async, func(tx kv.Tx) error {
			one, _ = tx.Get(a)
			two, _ = tx.Get(b)
			return nil
		}))
		if !bytes.Equal(one, two) {
			t.Fatalf("half of a batch: %.40q and %.40q", one, two)
		}
	}
	<-done
}

// testContext ends calls with a context.
func testContext(t *testing.T, db kv.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	put := func(b kv.Batch) error { return b.Put([]byte("key"), nil) }
	is(t, "Update", db.Update(ctx, nil, async, func(tx kv.Tx) error { return put(tx) }), context.Canceled)
	_, err := db.DeleteRange(ctx, nil, nil, async)
	is(t, "DeleteRange", err, context.Canceled)
}

// testSpaces has the same keys in several keyspaces.
func testSpaces(t *testing.T, db kv.Store) {
	names := []string{"", "1", "2"}
	for _, name := range names {
		space, err := db.Space(name)
		must(t, err)
		must(t, space.Put([]byte("key"), []byte("of "+name), async))
	}
	one, err := db.Space("1")
	must(t, err)
	must(t, one.Delete([]byte("key"), async))
	for _, name := range names {
		space, err := db.Space(name)
		must(t, err)
		value, err := space.Get([]byte("key"))
		if name == "1" {
			is(t, "deleted", err, kv.ErrNotFound)
			continue
		}
		if must(t, err); string(value) != "of "+name {
			t.Errorf("in %.40q: %.40q", name, value)
		}
	}
	t.Run("Model", func(t *testing.T) { Model(t, one) })
	must(t, one.Put([]byte("key"), []byte("again"), async))
	must(t, one.Clear(t.Context()))
	if n, err := one.Count(nil, nil); n != 0 || err != nil {
		t.Errorf("%d keys after Clear, %v", n, err)
	}
	if value, err := db.Get([]byte("key")); err != nil || string(value) != "of " {
		t.Errorf("the default keyspace has %.40q, %v", value, err)
	}
}

// testClosed calls everything after Close.
func testClosed(t *testing.T, db kv.Store) {
	key := []byte("key")
	must(t, db.Put(key, nil, kv.Sync))
	space, err := db.Space("2")
	must(t, err)
	must(t, db.Close())
	must(t, db.Close())
	for _, k := range []kv.Keyspace{db, space} {
		_, err := k.Get(key)
		is(t, "Get", err, kv.ErrClosed)
		_, err = k.Has(key)
		is(t, "Has", err, kv.ErrClosed)
		_, err = k.Count(nil, nil)
		is(t, "Count", err, kv.ErrClosed)
		is(t, "Put", k.Put(key, nil, async), kv.ErrClosed)
		_, err = k.PutIfAbsent(key, nil, async)
		is(t, "PutIfAbsent", err, kv.ErrClosed)
		is(t, "Delete", k.Delete(key, async), kv.ErrClosed)
		_, err = k.DeleteRange(t.Context(), nil, nil, async)
		is(t, "DeleteRange", err, kv.ErrClosed)
		is(t, "Clear", k.Clear(t.Context()), kv.ErrClosed)
		is(t, "Write", k.Write(t.Context(), async, func(b kv.Batch) error { return b.Put(key, nil) }), kv.ErrClosed)
		is(t, "Update", k.Update(t.Context(), nil, async, func(tx kv.Tx) error { _, err := tx.Get(key); return err }), kv.ErrClosed)
		for _, err := range k.Range(nil, nil) {
			is(t, "Range", err, kv.ErrClosed)
		}
	}
	_, err = db.Space("3")
	is(t, "Space", err, kv.ErrClosed)
}
