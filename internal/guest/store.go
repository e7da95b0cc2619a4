//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"

	"faultline/store"
)

// options are as small as they may be, so that a life of a few hundred batches has
// several flush rounds, and each needs several segments of the log.
func options(life int) *store.Options {
	return &store.Options{
		MemoryBudget: 32 << 20,
		DirtyBudget:  1 << 20,
		LogBytes:     128 << 10,
		SegmentBytes: 64 << 10,
		TrapOnly:     life%2 == 1,
	}
}

// runStore is a life of the store. Variables besides role:
//
//	seed=N      of the history
//	life=N      how many lives came before this one
//	then=stop   ends in order after the comparison
//	then=lie    acknowledges batches before they are durable: the tests must see it
func runStore() (err error) {
	h := &history{}
	if h.seed, err = strconv.ParseUint(os.Getenv("seed"), 10, 64); err != nil {
		return err
	}
	life, err := strconv.Atoi(os.Getenv("life"))
	if err != nil {
		return err
	}
	debug.SetGCPercent(10) // many collections: goroutines are stopped everywhere
	say("OPENING")
	db, err := store.Open(filepath.Join(disk, "store"), options(life))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	last, err := recovered(db, h)
	if err != nil {
		return fmt.Errorf("recovered: %w", err)
	}
	then := os.Getenv("then")
	if then == "stop" {
		return nil
	}
	l := &liver{db: db, h: h, life: life, hasty: then == "lie", begun: make(chan receipt, window)}
	return l.live(last + 1)
}

// recovered checks the store that was opened: against itself, and against the
// history. It returns the number of the last batch.
func recovered(db *store.DB, h *history) (last uint64, err error) {
	report, err := db.Verify(context.Background())
	if err != nil {
		return 0, err
	}
	if last, err = h.find(db); err != nil {
		return 0, err
	}
	if err := h.compare(db); err != nil {
		return 0, fmt.Errorf("not the first %d batches: %w", last, err)
	}
	say("RECOVERED %d with %d keys, %d records of the log, %d pages of the journal, audited %t",
		last, db.Len(), report.LogRecords, report.Recovered, report.Audited)
	return last, nil
}

// window is how many batches may be begun and not acknowledged.
const window = 32

// auditEvery is how many batches lie between two audits.
const auditEvery = 20

// A liver writes batches and acknowledges them, in two goroutines.
type liver struct {
	db    *store.DB
	h     *history
	life  int
	hasty bool // does not wait before it acknowledges
	begun chan receipt
}

// A receipt is for a batch that is applied and not yet durable.
type receipt struct {
	n   uint64
	lsn store.LSN
}

// live writes batches from first on, until an error, or the end of the machine.
func (l *liver) live(first uint64) error {
	acknowledged := make(chan error, 1)
	go func() { acknowledged <- l.acknowledge() }()
	var b store.Batch
	for n := first; ; n++ {
		r, err := l.write(&b, first, n)
		if err != nil {
			return fmt.Errorf("batch %d: %w", n, err)
		}
		select {
		case l.begun <- r:
		case err := <-acknowledged:
			return fmt.Errorf("make durable: %w", err)
		}
		if n%auditEvery != 0 {
			continue
		}
		if err := l.db.Audit(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
}

// write applies a batch.
func (l *liver) write(b *store.Batch, first, n uint64) (receipt, error) {
	b.Reset()
	for _, c := range l.h.batch(l.life, first, n) {
		var err error
		if c.value == nil {
			err = b.Delete([]byte(c.key))
		} else {
			err = b.Put([]byte(c.key), c.value)
		}
		if err != nil {
			return receipt{}, err
		}
	}
	lsn, err := l.db.Apply(b, store.Deferred)
	return receipt{n, lsn}, err
}

// acknowledge waits for each batch to be durable, and says so.
func (l *liver) acknowledge() error {
	for r := range l.begun {
		if !l.hasty {
			if err := l.db.WaitDurable(context.Background(), r.lsn); err != nil {
				return err
			}
		}
		say("ACK %d", r.n)
	}
	return nil
}
