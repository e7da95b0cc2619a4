package faults

import (
	"errors"
	"testing"
)

// TestMachine checks by the table's own counts that each step measures what its
// title says, and leaves no page dirty.
func TestMachine(t *testing.T) {
	m, err := newMachine()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer m.table.Close()

	steps := []struct {
		name            string
		measure         func() ([]float64, error)
		traps, prepared uint64
		samples         int
	}{
		{"boundary", func() ([]float64, error) { return m.timeDirty(m.touch) }, 0, 1, batches},
		{"prepare dirty", func() ([]float64, error) { return m.timeDirty(m.table.Prepare) }, 0, 1, batches},
		{"prepare clean", func() ([]float64, error) { return m.timeClean(m.table.Prepare) }, 0, singles, singles},
		{"trap", func() ([]float64, error) { return m.timeClean(m.touch) }, singles, 0, singles},
		{"freeze", func() ([]float64, error) { return m.timeFreeze(100, scatter, 3) }, 0, 300, 3},
	}
	for _, s := range steps {
		before := m.table.Metrics()
		samples, err := s.measure()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		after := m.table.Metrics()
		if traps := after.MkwriteTraps - before.MkwriteTraps; traps != s.traps {
			t.Errorf("%s: %d traps, want %d", s.name, traps, s.traps)
		}
		if prepared := after.MkwritePrepared - before.MkwritePrepared; prepared != s.prepared {
			t.Errorf("%s: %d prepared, want %d", s.name, prepared, s.prepared)
		}
		if len(samples) != s.samples || after.DirtyPages != 0 {
			t.Errorf("%s: %d samples and %d pages left dirty, want %d and 0", s.name, len(samples), after.DirtyPages, s.samples)
		}
	}
}
