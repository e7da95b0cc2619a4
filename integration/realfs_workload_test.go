//go:build linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"

	"faultline/internal/blockrec"
	"faultline/store"
)

// A realfsRun is writes to a store that follow from a seed, so that what the
// store must hold after the first n of its batches is known. Batches are counted
// from 1.
type realfsRun struct {
	seed    uint64
	batches int
}

const (
	realfsKeys       = 250
	realfsValueBytes = 1200
)

// options make rounds, segments and their trims come often.
func (realfsRun) options() *store.Options {
	return &store.Options{
		MemoryBudget:    store.MinMemoryBudget,
		DirtyBudget:     1 << 20,
		LogBytes:        48 << 10,
		SegmentBytes:    16 << 10,
		CheckpointEvery: -1,
	}
}

// batch is one write, a few, or as many as change a dozen pages.
func (r realfsRun) batch(n int) command {
	rng := rand.New(rand.NewPCG(r.seed, uint64(n)))
	writes := 1
	switch rng.IntN(12) {
	case 0, 1, 2, 3:
		writes = 2 + rng.IntN(4)
	case 4:
		writes = 20 + rng.IntN(30)
	}
	var c command
	for i := range writes {
		k := rng.IntN(realfsKeys)
		w := write{key: fmt.Sprintf("key%03d", k) + strings.Repeat("k", k%7*k%300)}
		if w.del = rng.IntN(4) == 0; !w.del {
			w.value = fmt.Sprintf("%d.%d.", n, i) + strings.Repeat("v", rng.IntN(realfsValueBytes))
		}
		c = append(c, w)
	}
	return c
}

// durability is what batch n waits for. Three of four wait for the disk.
func (realfsRun) durability(n int) store.Durability {
	switch n % 8 {
	case 3:
		return store.Async
	case 5:
		return store.Deferred
	}
	return store.Sync
}

// write makes all batches of a new store in dir, and says in marks how far it is.
// Checkpoints come now and then, besides the rounds of the flusher; in the middle
// the store is closed and opened again. hook is called with the open store.
func (r realfsRun) write(dir, marks string, hook func() error) (err error) {
	m, err := os.OpenFile(marks, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer m.Close()
	for half := range 2 {
		first, last := 1+half*r.batches/2, (half+1)*r.batches/2
		if err := r.writeHalf(dir, m, hook, first, last); err != nil {
			return fmt.Errorf("batches %d to %d: %w", first, last, err)
		}
	}
	return nil
}

func (r realfsRun) writeHalf(dir string, marks *os.File, hook func() error, first, last int) (err error) {
	db, err := store.Open(dir, r.options())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := hook(); err != nil {
		return err
	}
	for n := first; n <= last; n++ {
		if _, err := fmt.Fprintf(marks, "begun %d", n); err != nil {
			return err
		}
		if err := r.apply(db, n, r.durability(n)); err != nil {
			return err
		}
		checkpoint := n%40 == 0
		if checkpoint {
			if err := db.Checkpoint(context.Background()); err != nil {
				return err
			}
		}
		if checkpoint || r.durability(n) == store.Sync {
			if _, err := fmt.Fprintf(marks, "durable %d", n); err != nil {
				return err
			}
		}
	}
	if _, err := fmt.Fprintf(marks, "rounds %d", db.Metrics().Flush.Rounds); err != nil {
		return err
	}
	return nil
}

// apply makes batch n.
func (r realfsRun) apply(db *store.DB, n int, d store.Durability) error {
	c := r.batch(n)
	if w := c[0]; len(c) == 1 && w.del {
		return db.Delete([]byte(w.key), d)
	} else if len(c) == 1 {
		return db.Put([]byte(w.key), []byte(w.value), d)
	}
	var b store.Batch
	for _, w := range c {
		var err error
		if w.del {
			err = b.Delete([]byte(w.key))
		} else {
			err = b.Put([]byte(w.key), []byte(w.value))
		}
		if err != nil {
			return err
		}
	}
	_, err := db.Apply(&b, d)
	return err
}

// A realfsBound is what may be found after a power cut: exactly the first n
// batches, for some n from Durable to Begun.
type realfsBound struct{ Durable, Begun int }

// realfsBounds returns the bound at each length of a log, and the flush rounds
// that the run has counted.
func realfsBounds(log []blockrec.Op) (bounds []realfsBound, rounds int, err error) {
	bounds = make([]realfsBound, len(log)+1)
	for i, op := range log {
		b := bounds[i]
		if op.Kind == blockrec.Mark {
			what, n := "", 0
			if _, err := fmt.Sscan(op.Text, &what, &n); err != nil {
				return nil, 0, fmt.Errorf("mark %q: %w", op.Text, err)
			}
			switch what {
			case "begun":
				b.Begun = n
			case "durable":
				b.Durable = n
			case "rounds":
				rounds += n
			}
		}
		bounds[i+1] = b
	}
	return bounds, rounds, nil
}

// A realfsModel is what the store must hold after the first n batches of a run.
type realfsModel struct {
	run  realfsRun
	n    int
	want map[string]string
}

func (m *realfsModel) forward(n int) {
	for m.n < n {
		m.n++
		m.run.batch(m.n).apply(m.want)
	}
}

// match returns the number of batches in bound after which the store holds what
// was found. The durable bounds of calls must not fall.
func (m *realfsModel) match(found map[string]string, bound realfsBound) (int, error) {
	m.forward(bound.Durable)
	for at := (realfsModel{m.run, m.n, maps.Clone(m.want)}); ; at.forward(at.n + 1) {
		if maps.Equal(at.want, found) {
			return at.n, nil
		}
		if at.n >= bound.Begun {
			return 0, fmt.Errorf("%d keys, not those after %d to %d batches%s", len(found), bound.Durable, bound.Begun, m.explain(found))
		}
	}
}

// explain tells of which batch outside the bound found would be right.
func (m *realfsModel) explain(found map[string]string) string {
	for at := (realfsModel{m.run, 0, map[string]string{}}); at.n <= m.run.batches; at.forward(at.n + 1) {
		if maps.Equal(at.want, found) {
			return fmt.Sprintf(", but those after %d", at.n)
		}
	}
	return ", nor after any other number"
}

// check opens the store that a power cut has left in dir and compares it.
// If it is to be thorough, it lets the store verify itself, makes three batches
// more, and opens it once more.
func (m *realfsModel) check(dir string, bound realfsBound, thorough bool) error {
	n, err := m.checkOpen(dir, bound, func(db *store.DB, n int) error {
		if !thorough {
			return nil
		}
		if _, err := db.Verify(context.Background()); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		for i := range 3 {
			if err := m.run.apply(db, n+1+i, store.Async); err != nil {
				return fmt.Errorf("go on: %w", err)
			}
		}
		return nil
	})
	if err != nil || !thorough {
		return err
	}
	on := realfsModel{m.run, m.n, maps.Clone(m.want)}
	if _, err = on.checkOpen(dir, realfsBound{n + 3, n + 3}, nil); err != nil {
		return fmt.Errorf("%d batches, and 3 more: %w", n, err)
	}
	return nil
}

// checkOpen opens the store, compares, and calls then with the number of batches
// that are there.
func (m *realfsModel) checkOpen(dir string, bound realfsBound, then func(db *store.DB, n int) error) (n int, err error) {
	db, err := store.Open(dir, m.run.options())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	found := map[string]string{}
	for item, err := range db.All() {
		if err != nil {
			return 0, err
		}
		found[string(item.Key)] = string(item.Value)
	}
	if n, err = m.match(found, bound); err != nil || then == nil {
		return n, err
	}
	return n, then(db, n)
}
