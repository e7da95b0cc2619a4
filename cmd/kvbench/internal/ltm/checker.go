package ltm

import (
	"context"
	"errors"
	"fmt"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/keys"
)

// A checker compares a store with its history: every key is there once, in
// order, with the value of the last write to it.
//
// The last step may have been cut short by a kill. Then its counts say what was
// acknowledged; each client may have come one write further, or, where the engine
// allows that, less far. How far it came is what the store shows: no other client
// writes its keys, so its last write that has survived is there to be found, and
// all before it must be there too.
type checker struct {
	space   keys.Space
	content content
	history history
	killed  bool // the last step was

	writers [][]writer // as history
	base    [][]uint64 // the ordinal of a client's first write; 0 is the load
	found   []uint32   // for each key, the ordinal of the write that is there
}

// A Check is what a checker came to.
type Check struct {
	Keys   uint64 `json:"keys"`
	Writes uint64 `json:"writes"` // since the load, that the history has
	Acked  uint64 `json:"acked"`  // of a killed step
	Lost   uint64 `json:"lost"`   // of those
}

// missing is the ordinal of a key that is not there.
const missing = 1<<32 - 1

// checkerBytes is what a checker takes for each key.
const checkerBytes = 8

var errTooLong = errors.New("more writes than a check can tell apart")

func newChecker(space keys.Space, c content, h history, killed bool) (*checker, error) {
	k := &checker{space: space, content: c, history: h, killed: killed}
	next := uint64(1)
	for _, step := range h {
		var writers []writer
		var base []uint64
		for t, done := range step.Done {
			writers = append(writers, newWriter(space.N, step.Seed, t, len(step.Done)))
			base = append(base, next)
			next += done + 1 // one may be under way
		}
		k.writers, k.base = append(k.writers, writers), append(k.base, base)
	}
	if next >= missing {
		return nil, errTooLong
	}
	return k, nil
}

// check scans the store. The error is the first finding.
func (k *checker) check(ctx context.Context, db engine.DB, survives bool, progress func(uint64)) (Check, error) {
	k.found = make([]uint32, k.space.N)
	for i := range k.found {
		k.found[i] = missing
	}
	if err := k.scan(ctx, db, progress); err != nil {
		return Check{}, err
	}
	c := Check{Keys: k.space.N}
	if k.killed {
		last := &k.history[len(k.history)-1]
		c.Acked = last.sum()
		for t, reached := range k.reached() {
			if reached < last.Done[t] {
				c.Lost += last.Done[t] - reached
			}
			last.Done[t] = reached
		}
	}
	c.Writes = k.history.sum()
	if err := k.compare(); err != nil {
		return c, err
	}
	if c.Lost > 0 && survives {
		return c, fmt.Errorf("lost %d of %d acknowledged writes", c.Lost, c.Acked)
	}
	return c, nil
}

// scan reads all entries and notes which write each shows.
func (k *checker) scan(ctx context.Context, db engine.DB, progress func(uint64)) error {
	it, err := db.NewIterator()
	if err != nil {
		return err
	}
	n, next := uint64(0), uint64(0) // next is the least key that may come
	for ok := it.First(); ok; ok = it.Next() {
		i, isKey := k.space.Number(it.Key())
		if !isKey || i < next {
			return errors.Join(fmt.Errorf("key %q after %d entries: no key, or out of order", it.Key(), n), it.Close())
		}
		w, whole := k.content.parse(it.Value(), i)
		ordinal, known := k.ordinal(w, i)
		if !whole || !known {
			return errors.Join(fmt.Errorf("key %q has a value of %d bytes that was never written to it", it.Key(), len(it.Value())), it.Close())
		}
		k.found[i] = ordinal
		next = i + 1
		if n++; n%publishEvery == 0 {
			progress(n)
			if ctx.Err() != nil {
				return errors.Join(ctx.Err(), it.Close())
			}
		}
	}
	progress(n)
	return it.Close()
}

// ordinal returns the place of a write among all, if the history has it and it
// was one to key i.
func (k *checker) ordinal(w writeID, i uint64) (ordinal uint32, known bool) {
	if w == 0 {
		return 0, true
	}
	step, client, count := w.split()
	if step < 1 || step > len(k.history) || client >= len(k.writers[step-1]) {
		return 0, false
	}
	limit := k.history[step-1].Done[client]
	if k.killed && step == len(k.history) {
		limit++ // it may have been under way
	}
	if count >= limit || k.writers[step-1][client].key(count) != i {
		return 0, false
	}
	return uint32(k.base[step-1][client] + count), true
}

// reached returns how many writes each client of the last step has made, by what
// was found.
func (k *checker) reached() []uint64 {
	base := k.base[len(k.base)-1]
	reached := make([]uint64, len(base))
	for i, ordinal := range k.found {
		if ordinal == missing || uint64(ordinal) < base[0] {
			continue
		}
		t := i % len(base)
		reached[t] = max(reached[t], uint64(ordinal)-base[t]+1)
	}
	return reached
}

// compare writes the history to a table of its own and looks for the first key
// that shows another write.
func (k *checker) compare() error {
	want := make([]uint32, len(k.found))
	for step := range k.history {
		for t, done := range k.history[step].Done {
			w := k.writers[step][t]
			for count := range done {
				want[w.key(count)] = uint32(k.base[step][t] + count)
			}
		}
	}
	wrong, first := 0, ""
	for i, found := range k.found {
		if found == want[i] {
			continue
		}
		if wrong++; wrong == 1 {
			first = fmt.Sprintf("key %d shows %s, want %s", i, ordinalText(found), ordinalText(want[i]))
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d keys are wrong: %s", wrong, k.space.N, first)
	}
	return nil
}

func ordinalText(ordinal uint32) string {
	switch ordinal {
	case missing:
		return "nothing"
	case 0:
		return "the load"
	}
	return fmt.Sprintf("write %d", ordinal)
}
