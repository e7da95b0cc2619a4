package kvtest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"faultline/kv"
)

// A model is a keyspace and the map that it is compared with.
type model struct {
	db   kv.Keyspace
	want map[string]entry
	far  time.Time // when keys expire, long after the test

	// ghosts tells that keys have expired, which Count and DeleteRange may still count.
	ghosts bool
}

// An entry is what a key has.
type entry struct {
	value []byte
	at    time.Time
}

func newModel(t *rapid.T, db kv.Keyspace) *model {
	if _, err := db.DeleteRange(context.Background(), nil, nil, async); err != nil {
		t.Fatal(err)
	}
	return &model{db: db, want: map[string]entry{}, far: time.Now().Add(time.Hour).Truncate(time.Millisecond)}
}

// names are keys that are hard to keep apart, in order or on the wire.
var names = []string{"a", "aa", "b", "(b", "[b", "-", "+", "\x00", "\xff", "\xff\xff", "a\x00", "\r\n", "long" + string(make([]byte, 500))}

func drawKey(t *rapid.T) []byte { return []byte(rapid.SampledFrom(names).Draw(t, "key")) }

func drawBound(t *rapid.T, what string) []byte {
	if rapid.IntRange(0, 3).Draw(t, what+" is none") == 0 {
		return nil
	}
	return []byte(rapid.SampledFrom(append(names, "", "aaa", "z")).Draw(t, what))
}

func drawValue(t *rapid.T) []byte {
	n := rapid.SampledFrom([]int{0, 1, 10, 10, 10, 300, 5000, 300_000}).Draw(t, "length")
	return bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, n)
}

// drawTime returns a time that has passed, or one that will not pass in the test, or
// never.
func (m *model) drawTime(t *rapid.T) time.Time {
	switch n := rapid.IntRange(0, 5).Draw(t, "time"); n {
	case 0:
		return time.Time{}
	case 1:
		return m.far.Add(-48 * time.Hour)
	default:
		return m.far.Add(time.Duration(n) * time.Second)
	}
}

// set is what a write of value that expires at a time makes of a key.
func (m *model) set(key, value []byte, at time.Time) {
	if m.past(at) {
		delete(m.want, string(key))
		m.ghosts = true
		return
	}
	m.want[string(key)] = entry{value, at}
}

func (m *model) past(at time.Time) bool { return !at.IsZero() && at.Before(m.far.Add(-24*time.Hour)) }

func (m *model) setExpiry(key []byte, at time.Time) {
	if e, found := m.want[string(key)]; found {
		m.set(key, e.value, at)
	}
}

func (m *model) put(t *rapid.T) {
	key, value := drawKey(t), drawValue(t)
	must(t, m.db.Put(key, value, async))
	m.set(key, value, time.Time{})
}

func (m *model) putExpiring(t *rapid.T) {
	key, value, at := drawKey(t), drawValue(t), m.drawTime(t)
	must(t, m.db.PutExpiring(key, value, at, async))
	m.set(key, value, at)
}

func (m *model) putIfAbsent(t *rapid.T) {
	key, value := drawKey(t), drawValue(t)
	_, found := m.want[string(key)]
	put, err := m.db.PutIfAbsent(key, value, async)
	if must(t, err); put == found {
		t.Fatalf("put %.40q if absent: %t", key, put)
	}
	if put {
		m.set(key, value, time.Time{})
	}
}

func (m *model) putIfPresent(t *rapid.T) {
	key, value := drawKey(t), drawValue(t)
	_, found := m.want[string(key)]
	put, err := m.db.PutIfPresent(key, value, async)
	if must(t, err); put != found {
		t.Fatalf("put %.40q if present: %t", key, put)
	}
	if put {
		m.set(key, value, time.Time{})
	}
}

func (m *model) expire(t *rapid.T) {
	key, at := drawKey(t), m.drawTime(t)
	_, want := m.want[string(key)]
	found, err := m.db.Expire(key, at, async)
	if must(t, err); found != want {
		t.Fatalf("expire %.40q: found %t, want %t", key, found, want)
	}
	m.setExpiry(key, at)
}

func (m *model) delete(t *rapid.T) {
	key := drawKey(t)
	must(t, m.db.Delete(key, async))
	delete(m.want, string(key))
}

func (m *model) deleteRange(t *rapid.T) {
	lower, upper := drawBound(t, "lower"), drawBound(t, "upper")
	keys := m.keys(lower, upper)
	deleted, err := m.db.DeleteRange(context.Background(), lower, upper, async)
	must(t, err)
	m.compareCount(t, "deleted", deleted, len(keys))
	if lower == nil && upper == nil {
		m.ghosts = false
	}
	for _, key := range keys {
		delete(m.want, key)
	}
}

// write makes a batch, of which fn may be told that it is one of a transaction.
func (m *model) write(t *rapid.T) {
	must(t, m.db.Write(context.Background(), async, func(b kv.Batch) error {
		for range rapid.IntRange(0, 6).Draw(t, "writes") {
			m.writeOne(t, b)
		}
		return nil
	}))
}

// writeOne adds a write to b, and makes it in the model.
func (m *model) writeOne(t *rapid.T, b kv.Batch) {
	key, value, at := drawKey(t), drawValue(t), m.drawTime(t)
	switch rapid.IntRange(0, 3).Draw(t, "kind of write") {
	case 0:
		must(t, b.Put(key, value))
		m.set(key, value, time.Time{})
	case 1:
		must(t, b.PutExpiring(key, value, at))
		m.set(key, value, at)
	case 2:
		must(t, b.Delete(key))
		delete(m.want, string(key))
	case 3:
		must(t, b.SetExpiry(key, at))
		m.setExpiry(key, at)
	}
}

// update makes a transaction. It may run more than once, though nobody else writes: the
// store deletes keys that have expired.
func (m *model) update(t *rapid.T) {
	before := m.want
	must(t, m.db.Update(context.Background(), m.drawKeys(t), async, func(tx kv.Tx) error {
		m.want = maps.Clone(before)
		m.transact(t, tx)
		return nil
	}))
}

// updateFails makes one that leaves nothing behind.
func (m *model) updateFails(t *rapid.T) {
	before, failure := m.want, errors.New("no")
	if err := m.db.Update(context.Background(), m.drawKeys(t), async, func(tx kv.Tx) error {
		m.want = maps.Clone(before)
		m.transact(t, tx)
		return failure
	}); !errors.Is(err, failure) {
		t.Fatalf("error of the function: %v", err)
	}
	m.want = before
}

// transact reads and writes by turns, and sees its own writes.
func (m *model) transact(t *rapid.T, tx kv.Tx) {
	for range rapid.IntRange(0, 6).Draw(t, "steps") {
		if rapid.Bool().Draw(t, "writes") {
			m.writeOne(t, tx)
		}
		m.compare(t, drawKey(t), tx)
	}
}

func (m *model) drawKeys(t *rapid.T) [][]byte {
	var keys [][]byte
	for range rapid.IntRange(0, 3).Draw(t, "keys") {
		keys = append(keys, drawKey(t))
	}
	return keys
}

func (m *model) get(t *rapid.T) { m.compare(t, drawKey(t), m.db) }

// compare looks at key in all ways in which a keyspace and a transaction can.
func (m *model) compare(t *rapid.T, key []byte, in interface {
	Get(key []byte) ([]byte, error)
	Has(key []byte) (bool, error)
	Expiry(key []byte) (time.Time, error)
}) {
	e, want := m.want[string(key)]
	found, err := in.Has(key)
	if must(t, err); found != want {
		t.Fatalf("has %.40q: %t, want %t", key, found, want)
	}
	value, err := in.Get(key)
	at, atErr := in.Expiry(key)
	if !want {
		if !errors.Is(err, kv.ErrNotFound) || !errors.Is(atErr, kv.ErrNotFound) {
			t.Fatalf("%.40q, which is not there: %v and %v", key, err, atErr)
		}
		return
	}
	if must(t, err); !bytes.Equal(value, e.value) {
		t.Fatalf("get %.40q: %d bytes %.20q, want %d bytes %.20q", key, len(value), value, len(e.value), e.value)
	}
	if must(t, atErr); !at.Equal(e.at) {
		t.Fatalf("expiry of %.40q: %v, want %v", key, at, e.at)
	}
}

func (m *model) getAll(t *rapid.T) {
	keys, seen := m.drawKeys(t), 0
	must(t, m.db.GetAll(keys, func(i int, value []byte, err error) error {
		e, found := m.want[string(keys[i])]
		if seen++; i != seen-1 || !found && !errors.Is(err, kv.ErrNotFound) || found && (err != nil || !bytes.Equal(value, e.value)) {
			t.Fatalf("get all, %d: %.40q has %d bytes, %v; want %d", i, keys[i], len(value), err, len(e.value))
		}
		return nil
	}))
	if seen != len(keys) {
		t.Fatalf("get all: %d of %d keys", seen, len(keys))
	}
}

func (m *model) getRange(t *rapid.T) {
	key := drawKey(t)
	offset, n := rapid.Int64Range(0, 6000).Draw(t, "offset"), rapid.Int64Range(0, 6000).Draw(t, "n")
	e, found := m.want[string(key)]
	value, err := m.db.GetRange(key, offset, n)
	if !found {
		if !errors.Is(err, kv.ErrNotFound) {
			t.Fatalf("range of %.40q, which is not there: %v", key, err)
		}
		return
	}
	must(t, err)
	from := min(offset, int64(len(e.value)))
	if want := e.value[from:min(from+n, int64(len(e.value)))]; !bytes.Equal(value, want) {
		t.Fatalf("%d bytes of %.40q from %d on: %d bytes, want %d", n, key, offset, len(value), len(want))
	}
}

func (m *model) count(t *rapid.T) {
	lower, upper := drawBound(t, "lower"), drawBound(t, "upper")
	n, err := m.db.Count(lower, upper)
	if must(t, err); n != uint64(len(m.keys(lower, upper))) && (lower != nil || upper != nil) {
		t.Fatalf("count from %.40q to %.40q: %d, want %d", lower, upper, n, len(m.keys(lower, upper)))
	}
}

func (m *model) walk(t *rapid.T) {
	lower, upper := drawBound(t, "lower"), drawBound(t, "upper")
	keys := m.keys(lower, upper)
	walk := m.db.Range
	if rapid.Bool().Draw(t, "backward") {
		walk = m.db.Backward
		slices.Reverse(keys)
	}
	i := 0
	for item, err := range walk(lower, upper) {
		must(t, err)
		if i == len(keys) || string(item.Key) != keys[i] || !bytes.Equal(item.Value, m.want[keys[i]].value) {
			t.Fatalf("item %d from %.40q to %.40q: %.40q, %d bytes; want %.40q", i, lower, upper, item.Key, len(item.Value), keys)
		}
		i++
	}
	if i != len(keys) {
		t.Fatalf("%d items from %.40q to %.40q, want %.40q", i, lower, upper, keys)
	}
}

// check compares the number of keys.
func (m *model) check(t *rapid.T) {
	n, err := m.db.Count(nil, nil)
	must(t, err)
	m.compareCount(t, "counted", n, len(m.want))
}

func (m *model) compareCount(t *rapid.T, what string, n uint64, want int) {
	if n < uint64(want) || n > uint64(want) && !m.ghosts {
		t.Fatalf("%s %d keys, want %d", what, n, want)
	}
}

// keys returns those of a range, in order.
func (m *model) keys(lower, upper []byte) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(m.want)) {
		if key >= string(lower) && (upper == nil || key < string(upper)) {
			keys = append(keys, key)
		}
	}
	return keys
}
