package ltm

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
)

// A fakeStore is sorted entries. It does not sort them: a checker must not
// believe a store.
type fakeStore struct {
	engine.DB
	entries [][2][]byte
}

func (s *fakeStore) NewIterator() (engine.Iterator, error) { return &fakeIterator{store: s}, nil }

type fakeIterator struct {
	engine.Iterator
	store *fakeStore
	at    int
}

func (it *fakeIterator) First() bool   { it.at = 0; return len(it.store.entries) > 0 }
func (it *fakeIterator) Next() bool    { it.at++; return it.at < len(it.store.entries) }
func (it *fakeIterator) Key() []byte   { return it.store.entries[it.at][0] }
func (it *fakeIterator) Value() []byte { return it.store.entries[it.at][1] }
func (it *fakeIterator) Close() error  { return nil }

const fakeKeys = 1024

// A fakeRun is a store with two steps behind it: one of two clients that ended
// well, and one of three.
type fakeRun struct {
	space   keys.Space
	content content
	history history
	last    map[uint64]writeID // what each key shows
}

func newFakeRun() *fakeRun {
	f := &fakeRun{
		space: keys.Space{N: fakeKeys, Bytes: 16}, content: newContent(100, false, 1),
		history: history{{Seed: 5, Done: []uint64{400, 300}}, {Seed: 6, Done: []uint64{100, 0, 50}}},
	}
	f.last = f.after(f.history)
	return f
}

// after returns what each key shows after a history, by a plain map.
func (f *fakeRun) after(h history) map[uint64]writeID {
	last := map[uint64]writeID{}
	for i := range uint64(fakeKeys) {
		last[i] = 0
	}
	for step := range h {
		for t, done := range h[step].Done {
			w := newWriter(fakeKeys, h[step].Seed, t, len(h[step].Done))
			for count := range done {
				last[w.key(count)] = newWriteID(step+1, t, count)
			}
		}
	}
	return last
}

func (f *fakeRun) store() *fakeStore {
	s := &fakeStore{}
	for _, i := range slices.Sorted(maps.Keys(f.last)) {
		key, value := make([]byte, 16), make([]byte, 100)
		f.space.Put(key, i)
		f.content.put(value, i, f.last[i])
		s.entries = append(s.entries, [2][]byte{key, value})
	}
	return s
}

func (f *fakeRun) check(t *testing.T, s *fakeStore, killed, survives bool) (Check, error) {
	t.Helper()
	h := history{}
	for _, step := range f.history {
		h = append(h, writes{step.Seed, slices.Clone(step.Done)})
	}
	k, err := newChecker(f.space, f.content, h, killed)
	if err != nil {
		t.Fatal(err)
	}
	return k.check(t.Context(), s, survives, func(uint64) {})
}

// TestWriter checks that clients have keys of their own, and all keys have one.
func TestWriter(t *testing.T) {
	const n, clients = 1000, 7
	owner := map[uint64]int{}
	for c := range clients {
		w := newWriter(n, 1, c, clients)
		for count := range uint64(20 * n / clients) {
			key := w.key(count)
			if was, ok := owner[key]; key >= n || ok && was != c {
				t.Fatalf("client %d writes key %d, which is client %d's", c, key, was)
			}
			owner[key] = c
		}
	}
	if len(owner) != n {
		t.Errorf("%d of %d keys are written", len(owner), n)
	}
}

// TestCheckWhole checks a store that is as it should be, ended well or killed.
func TestCheckWhole(t *testing.T) {
	f := newFakeRun()
	for _, killed := range []bool{false, true} {
		got, err := f.check(t, f.store(), killed, true)
		want := Check{Keys: fakeKeys, Writes: 850}
		if killed {
			want.Acked = 150
		}
		if err != nil || got != want {
			t.Errorf("killed %t: %+v, %v, want %+v", killed, got, err, want)
		}
	}
}

// TestCheckFinds spoils a store in each way that a checker is for.
func TestCheckFinds(t *testing.T) {
	// A key that the first step wrote several times, and its last write.
	f := newFakeRun()
	w := newWriter(fakeKeys, 5, 1, 2)
	key := w.key(299)
	f.history = f.history[:1]
	f.last = f.after(f.history)
	at := int(key)
	value := func(i uint64, w writeID) []byte {
		v := make([]byte, 100)
		f.content.put(v, i, w)
		return v
	}
	for _, test := range []struct {
		name  string
		spoil func(s *fakeStore)
		want  string
	}{
		{"missing key", func(s *fakeStore) { s.entries = slices.Delete(s.entries, at, at+1) }, "shows nothing, want write 701"},
		{"older value", func(s *fakeStore) { s.entries[at][1] = value(key, 0) }, "shows the load, want write 701"},
		{"empty store", func(s *fakeStore) { s.entries = nil }, "1024 of 1024 keys are wrong"},
		{"value of another key", func(s *fakeStore) { s.entries[at][1] = s.entries[at+1][1] }, "never written to it"},
		{"flipped bit", func(s *fakeStore) { s.entries[at][1][50] ^= 4 }, "never written to it"},
		{"write of another key", func(s *fakeStore) { s.entries[at+1][1] = value(key+1, newWriteID(1, 1, 299)) }, "never written to it"},
		{"write to come", func(s *fakeStore) { s.entries[w.key(300)][1] = value(w.key(300), newWriteID(1, 1, 300)) }, "never written to it"},
		{"step to come", func(s *fakeStore) { s.entries[at][1] = value(key, newWriteID(2, 1, 0)) }, "never written to it"},
		{"unknown client", func(s *fakeStore) { s.entries[at][1] = value(key, newWriteID(1, 2, 0)) }, "never written to it"},
		{"key twice", func(s *fakeStore) { s.entries = slices.Insert(s.entries, at, s.entries[at]) }, "out of order"},
		{"keys swapped", func(s *fakeStore) { s.entries[at], s.entries[at+1] = s.entries[at+1], s.entries[at] }, "out of order"},
		{"key of another run", func(s *fakeStore) { s.entries[at][0] = bytes.Repeat([]byte("x"), 16) }, "no key"},
	} {
		s := f.store()
		test.spoil(s)
		if _, err := f.check(t, s, false, true); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %s", test.name, err, test.want)
		}
	}
	if _, err := f.check(t, f.store(), false, true); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestCheckKilled checks what a kill may leave: one write more of each client
// than was acknowledged, or less where the engine allows that, and no hole.
func TestCheckKilled(t *testing.T) {
	reach := func(a, b, c uint64) func(*fakeRun) {
		return func(f *fakeRun) {
			f.last = f.after(history{f.history[0], {Seed: 6, Done: []uint64{a, b, c}}})
		}
	}
	for _, test := range []struct {
		name     string
		leave    func(*fakeRun)
		survives bool
		lost     uint64
		want     string // of the error
	}{
		{"one more each", reach(101, 1, 51), true, 0, ""},
		{"two more", reach(102, 0, 50), true, 0, "never written"},
		{"lost some", reach(90, 0, 45), false, 15, ""},
		{"lost all", reach(0, 0, 0), false, 150, ""},
		{"lost what survives", reach(99, 0, 50), true, 1, "lost 1 of 150"},
		{"hole", func(f *fakeRun) {
			reach(100, 0, 50)(f)
			w := newWriter(fakeKeys, 6, 0, 3)
			f.last[w.key(20)] = f.after(f.history[:1])[w.key(20)]
		}, false, 0, "keys are wrong"},
	} {
		f := newFakeRun()
		test.leave(f)
		got, err := f.check(t, f.store(), true, test.survives)
		if test.want == "" && (err != nil || got.Lost != test.lost) {
			t.Errorf("%s: lost %d, %v, want %d", test.name, got.Lost, err, test.lost)
		}
		if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %s", test.name, err, test.want)
		}
	}
}

// TestCheckTooLong refuses a history with more writes than ordinals.
func TestCheckTooLong(t *testing.T) {
	f := newFakeRun()
	_, err := newChecker(f.space, f.content, history{{Seed: 1, Done: []uint64{1 << 31, 1 << 31}}}, false)
	if err == nil {
		t.Error("no error")
	}
}
