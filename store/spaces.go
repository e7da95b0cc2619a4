package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"faultline/store/tree"
	"faultline/store/wal"
)

// spaces are the keyspaces of a store. Their names are keys of one of their own, the
// system's, which is in slot 0:
//
//	'n' name -> slot, generation that it was born with
//
// A keyspace is made by a put of its name, and dropped in two steps:
//
//	1  a record of the log gives its slot another generation, to be born with: from
//	   now on it is dropped, for its name does not lead to what its slot is now
//	2  its name is deleted; only then another may have the slot
//
// After a crash in between, Open makes the second step.
type spaces struct {
	system, main Keyspace

	changing sync.Mutex          // held while one is made, cleared or dropped
	born     [tree.MaxSlots]byte // of each slot; changed with the gate closed
	renewals atomic.Uint64       // changed with the gate closed
	mu       struct {            // never held while another lock is taken
		sync.Mutex
		names map[string]*Keyspace
		taken [tree.MaxSlots]*Keyspace // nil: free
	}
}

// MaxKeyspaces is how many keyspaces a store can have, the default one among them.
const MaxKeyspaces = tree.MaxSlots - 1

// MaxNameBytes is the longest name of a keyspace.
const MaxNameBytes = 255

const nameKind = 'n'

func nameKey(name string) []byte { return append([]byte{nameKind}, name...) }

func (s *spaces) init(db *DB) {
	s.system.db, s.main.db = db, db
	s.main.slot = mainSlot
	s.mu.names = map[string]*Keyspace{"": &s.main}
	s.mu.taken[systemSlot], s.mu.taken[mainSlot] = &s.system, &s.main
}

func (s *spaces) find(name string) *Keyspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.names[name]
}

// of returns the keyspace that slot has, or nil.
func (s *spaces) of(slot byte) *Keyspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.taken[slot%tree.MaxSlots]
}

// free returns a slot that nobody has.
func (s *spaces) free() (slot byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.mu.taken[:], nil)
	return byte(i), i >= 0
}

func (s *spaces) add(ks *Keyspace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.names[ks.name] = ks
	s.mu.taken[ks.slot] = ks
}

// forget is the reverse of the first half of add, release of the second.
func (s *spaces) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.names, name)
}

func (s *spaces) release(slot byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.taken[slot] = nil
}

// all returns the keyspaces of users, in the order of their names.
func (s *spaces) all() []*Keyspace {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Keyspace
	for _, name := range slices.Sorted(maps.Keys(s.mu.names)) {
		list = append(list, s.mu.names[name])
	}
	return list
}

// Keyspaces returns the names of all keyspaces, in order. The first is "", the default
// one.
func (db *DB) Keyspaces() (names []string) {
	for _, ks := range db.spaces.all() {
		names = append(names, ks.name)
	}
	return names
}

// Keyspace returns the keyspace with that name, and makes it if there is none: that is
// durable when a later Sync write is. A name has 255 bytes at most; "" is the default
// keyspace. Errors as for Put, and ErrTooManyKeyspaces. In a store that was opened
// ReadOnly, the error for one that is not there wraps ErrNoKeyspace.
func (db *DB) Keyspace(name string) (*Keyspace, error) {
	s := &db.spaces
	if err := db.usable(); err != nil {
		return nil, err
	}
	if ks := s.find(name); ks != nil {
		return ks, nil
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if ks := s.find(name); ks != nil {
		return ks, nil
	}
	slot, ok := s.free()
	switch {
	case db.opts.ReadOnly:
		return nil, fmt.Errorf("keyspace %q: %w: %w", name, ErrNoKeyspace, ErrReadOnly)
	case len(name) > MaxNameBytes:
		return nil, fmt.Errorf("keyspace with a name of %d bytes: %w: the limit is %d", len(name), ErrTooLarge, MaxNameBytes)
	case !ok:
		return nil, fmt.Errorf("keyspace %q: %w: the limit is %d", name, ErrTooManyKeyspaces, MaxKeyspaces)
	}
	ks := &Keyspace{db: db, name: name, slot: slot}
	gen := db.tree.Slot(slot).Gen
	ks.now.Store(uint32(gen))
	if err := s.system.Put(nameKey(name), []byte{slot, gen}, Async); err != nil {
		return nil, fmt.Errorf("keyspace %q: %w", name, err)
	}
	s.add(ks)
	return ks, nil
}

// DropKeyspace deletes the keyspace with that name and all its keys, at once, and
// returns when that is on disk. Whatever is done with it then fails with
// ErrNoKeyspace; a keyspace with the same name is another one. The default keyspace
// cannot be dropped. Errors as for Put, and ErrNoKeyspace; with one of ErrStopped, or
// of ctx, it may be dropped or not.
func (db *DB) DropKeyspace(name string) error {
	s := &db.spaces
	s.changing.Lock()
	defer s.changing.Unlock()
	ks := s.find(name)
	if ks == nil || ks == &s.main {
		return fmt.Errorf("drop keyspace %q: %w", name, ErrNoKeyspace)
	}
	ctx := context.Background()
	lsn, err := db.unmake(ctx, ks)
	if err != nil {
		return fmt.Errorf("drop keyspace %q: %w", name, err)
	}
	s.forget(name)
	s.bury(ks)
	return db.wait(ctx, lsn, Sync)
}

// unmake makes the first step of a drop. The caller has spaces.changing.
func (db *DB) unmake(ctx context.Context, ks *Keyspace) (LSN, error) {
	if db.tree.Gen(ks.slot)+1 == db.spaces.born[ks.slot] { // its name would lead to that one too
		if _, err := db.renew(ctx, ks, false); err != nil {
			return 0, err
		}
	}
	return db.renew(ctx, ks, true)
}

// A renewal is a record of the log that is no batch:
//
//	+------+------+------------+------+
//	| 0x12 | slot | generation | born |    from now on
//	+------+------+------------+------+
const (
	opRenew      = 0x12
	renewalBytes = 4
)

type renewal struct{ slot, gen, born byte }

func (r renewal) record() []byte { return []byte{opRenew, r.slot, r.gen, r.born} }

func isRenewal(payload []byte) bool { return len(payload) > 0 && payload[0] == opRenew }

func parseRenewal(payload []byte) (r renewal, err error) {
	if len(payload) != renewalBytes || payload[1] >= tree.MaxSlots || payload[1] == systemSlot {
		return r, fmt.Errorf("%w: renewal % x", ErrCorrupt, payload)
	}
	return renewal{payload[1], payload[2], payload[3]}, nil
}

// renew gives ks another generation, and drops it if drop says so. The caller has
// spaces.changing.
func (db *DB) renew(ctx context.Context, ks *Keyspace, drop bool) (lsn LSN, err error) {
	if err := db.writable(); err != nil {
		return 0, err
	}
	if err := db.turn(ctx, ks.slot, db.tree.Gen(ks.slot)); err != nil {
		return 0, err
	}
	if err := db.reserveLog(ctx, renewalBytes, true); err != nil {
		return 0, err
	}
	defer db.log.Release(renewalBytes)
	err = db.flusher.Exclusive(func() error {
		if err := db.usable(); err != nil {
			return err
		}
		if err := db.flusher.Err(); err != nil {
			return err
		}
		gen, err := ks.generation()
		if err != nil {
			return err
		}
		r := renewal{ks.slot, gen + 1, db.spaces.born[ks.slot]}
		now := uint32(r.gen)
		if drop {
			r.born, now = r.gen, keyspaceDropped
		}
		if lsn, err = db.append(r.record()); err != nil {
			return err
		}
		db.applyRenewal(r)
		ks.now.Store(now)
		return nil
	})
	if err == nil {
		db.sweeper.wake()
	}
	return lsn, err
}

// applyRenewal makes r in the tree. The gate is closed.
func (db *DB) applyRenewal(r renewal) {
	db.tree.Renew(r.slot, r.gen)
	db.spaces.born[r.slot] = r.born
	db.spaces.renewals.Add(1)
}

// replayRenewal makes a renewal of the log, unless the pages have it.
func (db *DB) replayRenewal(payload []byte, end wal.LSN) error {
	r, err := parseRenewal(payload)
	if err != nil {
		return err
	}
	return db.flusher.Exclusive(func() error {
		if uint64(end) > db.known {
			db.applyRenewal(r)
		}
		db.replayed.Store(uint64(end))
		return nil
	})
}

// load finds the keyspaces, in a tree that has the whole log.
func (s *spaces) load(db *DB) error {
	s.main.now.Store(uint32(db.tree.Slot(mainSlot).Gen))
	var dropped []*Keyspace
	for item, err := range s.system.Range([]byte{nameKind}, []byte{nameKind + 1}) {
		if err != nil {
			return err
		}
		if len(item.Value) != 2 || item.Value[0] <= mainSlot || item.Value[0] >= tree.MaxSlots {
			return db.readError(fmt.Errorf("%w: keyspace %q in % x", tree.ErrDamaged, item.Key[1:], item.Value))
		}
		ks := &Keyspace{db: db, name: string(item.Key[1:]), slot: item.Value[0]}
		if s.mu.taken[ks.slot] != nil {
			return db.readError(fmt.Errorf("%w: keyspaces %q and %q in slot %d", tree.ErrDamaged, s.mu.taken[ks.slot].name, ks.name, ks.slot))
		}
		s.add(ks)
		if ks.now.Store(uint32(db.tree.Slot(ks.slot).Gen)); item.Value[1] != s.born[ks.slot] {
			ks.now.Store(keyspaceDropped)
			s.forget(ks.name)
			dropped = append(dropped, ks)
		}
	}
	for _, ks := range dropped {
		s.bury(ks)
	}
	return nil
}

// bury makes the second step of a drop. If it cannot, the next Open does.
func (s *spaces) bury(ks *Keyspace) {
	if s.system.Delete(nameKey(ks.name), Deferred) == nil {
		s.release(ks.slot)
	}
}
