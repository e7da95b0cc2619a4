package bench

import (
	"testing"

	"faultline/cmd/kvbench/internal/engine"
)

// A locked is an Engine and its store, which holds its locks for ever when it panics.
type locked struct {
	engine.Engine
	engine.DB
	t *testing.T
}

func (l locked) Open(string, engine.Mode) (engine.DB, error) { return l, nil }

func (l locked) Put(_, _ []byte) error { panic("broken") }

func (l locked) Close() error {
	l.t.Error("it is closed, which would wait for ever")
	return nil
}

// TestPanic wants a store that panics not to be closed: the process can end.
func TestPanic(t *testing.T) {
	r := &run{stores: map[string]engine.Engine{"locked": locked{t: t}}}
	defer func() {
		if recover() == nil {
			t.Error("the panic is gone")
		}
	}()
	_ = r.with("locked", "", engine.Mode{}, func(db engine.DB) error { return db.Put(nil, nil) })
}
