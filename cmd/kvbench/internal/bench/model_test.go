package bench

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"faultline/cmd/kvbench/internal/engine"
)

// A model is a DB in a map, which writes down what is done to it.
type model struct {
	mu     sync.Mutex
	store  map[string]string
	sorted []string // its keys, or nil
	did    []deed
}

// A deed is a call: what, of which key.
type deed struct {
	what string // put, delete, get, miss, commit, first, last, seek, next, prev
	key  string
}

func (m *model) note(what string, key []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.did = append(m.did, deed{what, string(key)})
}

func (m *model) Put(key, value []byte) error {
	m.note("put", key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.store[string(key)]; !ok {
		m.sorted = nil
	}
	m.store[string(key)] = string(value)
	return nil
}

func (m *model) Delete(key []byte) error {
	m.note("delete", key)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.store, string(key))
	m.sorted = nil
	return nil
}

func (m *model) has(key []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.store[string(key)]
	return ok
}

func (m *model) NewBatch() engine.Batch       { return &modelBatch{model: m} }
func (m *model) NewReader() engine.Reader     { return modelReader{m} }
func (m *model) Settle(context.Context) error { return nil }
func (m *model) Close() error                 { return nil }

func (m *model) NewIterator() (engine.Iterator, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sorted == nil {
		m.sorted = slices.Sorted(maps.Keys(m.store))
	}
	return &modelIterator{model: m, keys: m.sorted}, nil
}

type modelBatch struct {
	*model
	puts [][2]string
}

func (b *modelBatch) Put(key, value []byte) error {
	b.puts = append(b.puts, [2]string{string(key), string(value)})
	return nil
}

func (b *modelBatch) Commit() error {
	b.note("commit", nil)
	for _, p := range b.puts {
		if err := b.model.Put([]byte(p[0]), []byte(p[1])); err != nil {
			return err
		}
	}
	b.puts = nil
	return nil
}

type modelReader struct{ *model }

func (r modelReader) Get(key []byte) (bool, error) {
	found := r.has(key)
	what := "get"
	if !found {
		what = "miss"
	}
	r.note(what, key)
	return found, nil
}

type modelIterator struct {
	*model
	keys []string
	at   int
}

func (it *modelIterator) valid(what string) bool {
	ok := it.at >= 0 && it.at < len(it.keys)
	if ok {
		it.note(what, it.Key())
	}
	return ok
}

func (it *modelIterator) First() bool { it.at = 0; return it.valid("first") }
func (it *modelIterator) Last() bool  { it.at = len(it.keys) - 1; return it.valid("last") }
func (it *modelIterator) Next() bool  { it.at++; return it.valid("next") }
func (it *modelIterator) Prev() bool  { it.at--; return it.valid("prev") }

func (it *modelIterator) SeekGE(key []byte) bool {
	it.at, _ = slices.BinarySearch(it.keys, string(key))
	return it.valid("seek")
}

func (it *modelIterator) Key() []byte  { return []byte(it.keys[it.at]) }
func (it *modelIterator) Close() error { return nil }

func (it *modelIterator) Value() []byte {
	it.mu.Lock()
	defer it.mu.Unlock()
	return []byte(it.store[it.keys[it.at]])
}

// onModel runs a workload on a model that was loaded for it, and verifies it. It returns
// what was done, and the clients.
func onModel(t *testing.T, c Config, w Workload) (*model, []*client) {
	t.Helper()
	r := &run{Config: c, values: newValueBuffer(c.ValueBytes, c.Seed)}
	m := &model{store: map[string]string{}}
	k := kindOf(w)
	if !k.fresh {
		if err := r.fill(t.Context(), m, "model", k); err != nil {
			t.Fatal(err)
		}
	}
	m.did = nil
	j := job{Workload: w, engine: "model", rep: 1, place: 1, reps: 1}
	clients := r.newClients(m, j)
	if _, err := runClients(t.Context(), clients, c.Duration, k); err != nil {
		t.Fatal(err)
	}
	p := r.sumUp(clients, j)
	if err := r.verify(t.Context(), m, j, clients, &p); err != nil {
		t.Errorf("%s: %v", w, err)
	}
	return m, clients
}
