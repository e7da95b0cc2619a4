package store

import (
	"context"
	"encoding/binary"
	"math"
	"sync/atomic"
	"time"

	"faultline/store/tree"
)

// The reaper deletes keys that have expired, in batches, by writes like any other: a key
// that gets another value meanwhile stays. It sleeps until the next entry of the index is
// due.
type reaper struct {
	kick  chan struct{} // an entry is due before that which is waited for
	stop  context.CancelFunc
	ended chan struct{}

	next atomic.Uint64 // when the first entry is due that is known, or noDue
	errs atomic.Uint64
	gone []reaped // by the last batch
	mem  []byte   // of gone
}

// A reaped is a key that was deleted.
type reaped struct {
	ks  *Keyspace
	key span // of reaper.mem
}

// A dueEntry is an entry of the index that is due.
type dueEntry struct {
	entry []byte // key of the system's keyspace
	key   []byte // of the tree
}

const (
	noDue = math.MaxUint64

	// reapBatch is how many keys are deleted at once.
	reapBatch = 64
	// reapPause is the longest time between two looks at the clock while there is an
	// entry, and the pause after an error: a clock may be set.
	reapPause = time.Second
)

// start lets the reaper begin, in a store that can be written.
func (r *reaper) start(db *DB) {
	r.next.Store(noDue)
	if db.opts.ReadOnly || db.opts.noHelper { // then a test calls reap
		return
	}
	r.kick, r.ended = make(chan struct{}, 1), make(chan struct{})
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		for ctx.Err() == nil {
			next, err := db.reap(ctx)
			if err != nil && ctx.Err() == nil {
				r.errs.Add(1)
				next = db.clock.now() + uint64(reapPause/time.Millisecond)
			}
			r.sleep(ctx, db, next)
		}
	}()
}

// sleep waits until next, or for an entry that is due before, or for the end.
func (r *reaper) sleep(ctx context.Context, db *DB, next uint64) {
	var wake <-chan time.Time
	if next != noDue {
		left := next - min(next, db.clock.now())
		t := time.NewTimer(min(time.Duration(min(left, math.MaxInt32))*time.Millisecond, reapPause))
		defer t.Stop()
		wake = t.C
	}
	select {
	case <-ctx.Done():
	case <-r.kick:
	case <-wake:
	}
}

// end returns when the reaper does nothing any more.
func (r *reaper) end() {
	if r.stop != nil {
		r.stop()
		<-r.ended
		r.stop = nil
	}
}

// expect wakes the reaper if it sleeps longer than to an entry that is due at expiry.
func (r *reaper) expect(expiry uint64) {
	if expiry < r.next.Load() {
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

// reap deletes what has expired by now, and returns when the next entry is due. What cannot
// be done in a batch it does one by one: a full disk has room in the journal for that, and
// one page that is damaged does not keep other keys. What cannot be done at all stays, and
// the first error is returned.
func (db *DB) reap(ctx context.Context) (next uint64, failed error) {
	r := &db.reaper
	from := []byte{dueKind}
	for {
		r.next.Store(noDue) // before the look: what is entered after it kicks
		list, next, err := db.dueNow(from)
		if err != nil {
			return 0, err
		}
		if len(list) == 0 {
			if failed == nil {
				r.next.Store(next)
			}
			return next, failed
		}
		if failed == nil {
			failed = db.reapSome(ctx, list, true)
		}
		if failed != nil {
			from = append(list[len(list)-1].entry, 0)
			for i := range list {
				_ = db.reapSome(ctx, list[i:i+1], false)
			}
		}
		if ctx.Err() != nil || db.Err() != nil {
			return 0, failed
		}
	}
}

// dueNow returns the first entries not less than from that are due, or when the first one
// will be.
func (db *DB) dueNow(from []byte) (list []dueEntry, next uint64, err error) {
	it, err := db.spaces.system.NewIterator(&IterOptions{Lower: from, Upper: []byte{dueKind + 1}, KeysOnly: true})
	if err != nil {
		return nil, 0, err
	}
	defer it.Close()
	now := db.clock.now()
	for ok := it.First(); ok && len(list) < reapBatch; ok = it.Next() {
		entry := append([]byte(nil), it.Key()...)
		if len(entry) <= dueKeyAt+tree.OwnerBytes {
			return nil, 0, db.readError(tree.ErrDamaged)
		}
		if at := binary.BigEndian.Uint64(entry[1:]); at > now {
			return list, at, nil
		}
		list = append(list, dueEntry{entry, entry[dueKeyAt:]})
	}
	return list, noDue, it.Err()
}

// reapSome deletes the entries of list, and the keys of them that have expired, and tells
// of these. Without room those stay whose keys have not.
func (db *DB) reapSome(ctx context.Context, list []dueEntry, room bool) error {
	_, err := db.spaces.system.Modify(ctx, nil, Deferred, func(tx *Tx) error {
		r := &db.reaper
		r.gone, r.mem = r.gone[:0], r.mem[:0]
		for _, d := range list {
			lives, err := r.look(tx, db, d)
			if err != nil {
				return err
			}
			if lives != 0 && !room {
				continue
			}
			tx.Use(&db.spaces.system)
			if lives != 0 {
				if err := tx.Put(appendDue(nil, lives, d.key), nil); err != nil {
					return err
				}
			}
			if err := tx.Delete(d.entry); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && db.opts.Expired != nil {
		for _, g := range db.reaper.gone {
			db.opts.Expired(g.ks, g.key.of(db.reaper.mem))
		}
	}
	return err
}

// look deletes the key of d if it has expired. If it is to expire later, lives is when, and
// else 0.
func (r *reaper) look(tx *Tx, db *DB, d dueEntry) (lives uint64, err error) {
	ks := db.spaces.of(d.key[0])
	if ks == nil || db.tree.Gen(ks.slot) != d.key[1] {
		return 0, nil // the keyspace was cleared, or dropped
	}
	key := d.key[tree.OwnerBytes:]
	tx.Use(ks)
	expiry, found, err := tx.stored(key)
	switch {
	case err != nil:
		return 0, err
	case !found || expiry == 0:
		return 0, nil
	case !db.expired(expiry):
		return expiry, nil
	}
	from := len(r.mem)
	r.mem = append(r.mem, key...)
	r.gone = append(r.gone, reaped{ks, span{from, len(r.mem)}})
	return 0, tx.Delete(key)
}
