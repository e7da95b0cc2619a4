package bench

import (
	"context"
	"errors"
	"fmt"

	"faultline/cmd/kvbench/internal/engine"
	"faultline/cmd/kvbench/internal/result"
)

// verify checks what the clients saw and left: figures of a store that lost
// something are worth nothing.
func (r *run) verify(ctx context.Context, db engine.DB, j job, clients []*client, p *result.Phase) error {
	k := kindOf(j.Workload)
	if all := opsOf(j.Workload, &r.Config); r.Duration == 0 && p.Ops != all {
		return fmt.Errorf("did %d operations, want %d", p.Ops, all)
	}
	sought := 0
	for _, c := range foreground(clients, j) {
		sought += c.sought
	}
	if p.Found != sought {
		return fmt.Errorf("found %d of %d keys that are there", p.Found, sought)
	}
	want := r.N
	if k.writes {
		want = expected(k, r.N, p.Ops, clients)
		var err error
		if p.Stored, err = count(ctx, db); err != nil {
			return err
		}
		if p.Stored != want {
			return fmt.Errorf("store has %d entries, want %d", p.Stored, want)
		}
	}
	p.DataBytes = int64(want) * int64(r.KeyBytes+r.ValueBytes)
	return nil
}

// expected is how many entries a store has after a workload that writes.
func expected(k *kind, n, ops int, clients []*client) int {
	switch {
	case k.fresh:
		return ops
	case k.insertPercent > 0:
		return int(clients[0].inserts.known())
	case k.deletes:
		return n - deleted(n, clients)
	}
	return n
}

// deleted is how many different keys clients have drawn.
func deleted(n int, clients []*client) (count int) {
	seen := make([]bool, n)
	for _, c := range clients {
		for i := range c.done {
			if key := c.draw.Nth(uint64(i)); !seen[key] {
				seen[key] = true
				count++
			}
		}
	}
	return count
}

// count reads a store from first to last, every value too, or asks one that has no
// order.
func count(ctx context.Context, db engine.DB) (n int, err error) {
	if counter, ok := db.(engine.Lener); ok {
		return counter.Len()
	}
	it, err := db.NewIterator()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for ok := it.First(); ok; ok = it.Next() {
		sum += engine.Touch(it.Value())
		if n++; n%publishEvery == 0 && ctx.Err() != nil {
			return n, errors.Join(ctx.Err(), it.Close())
		}
	}
	return n, it.Close()
}
