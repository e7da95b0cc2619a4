package store

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"faultline/store/tree"
)

// A key can expire: from that moment on no read finds it, and some time later it is
// deleted, by the reaper. When it expires stands beside its value, in milliseconds since
// 1970. The reaper finds it by an index, keys of the system's keyspace:
//
//	+-----+----------------------+---- ... ----+
//	| 't' | expiry, big-endian   | tree's key  | -> nothing
//	+-----+----------------------+---- ... ----+
//
// For each key that expires the index has an entry that is not later. The write of the
// key makes it, under the key's lock, unless the key was to expire before: then there is
// one. So a key whose life is prolonged again and again has few entries. What has become
// of the key is looked at when an entry is due: it is deleted if it has expired, its entry
// is replaced by one that is right if it has not, and else the entry is the trace of a key
// that is gone.
//
// A replay makes an entry for each write: what it finds in the pages may be newer than
// the write, and the entry it had then may be gone.
const (
	dueKind  = 't'
	dueKeyAt = 1 + 8
	// dueBytes is how much longer an entry is than the key of the tree in it.
	dueBytes = tree.OwnerBytes + dueKeyAt
)

// expiryOf is at as it stands in the tree; the zero time is 0, never.
func expiryOf(at time.Time) uint64 {
	if at.IsZero() {
		return 0
	}
	return uint64(max(at.UnixMilli(), 1))
}

// timeOf is the reverse of expiryOf.
func timeOf(expiry uint64) time.Time {
	if expiry == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(expiry))
}

// A clock does not go back.
type clock struct {
	wall func() time.Time
	last atomic.Uint64
}

// now is the time, as expiryOf has it.
func (c *clock) now() uint64 {
	now := expiryOf(c.wall())
	for {
		last := c.last.Load()
		if now <= last {
			return last
		}
		if c.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

// Now returns the time by which keys expire, to the millisecond: that of Options.Clock,
// but it does not go back. Who lets a key live for a while reckons from it: from another
// clock, which was set back, the while may be over before it begins.
func (db *DB) Now() time.Time { return timeOf(db.clock.now()) }

// expired tells whether a key that expires at expiry, if that is not 0, has.
func (db *DB) expired(expiry uint64) bool { return expiry != 0 && expiry <= db.clock.now() }

// get is tree.GetExpiring of a key that has not expired.
func (db *DB) get(dst, key []byte) (value []byte, found tree.Found, expiry uint64, err error) {
	value, found, expiry, err = db.tree.GetExpiring(dst, key)
	if db.expired(expiry) {
		return dst, tree.Nothing, 0, nil
	}
	return value, found, expiry, err
}

// PutExpiring is Put of a key that expires at a time, to the millisecond: from then on it
// is not found. The zero time is never. Errors as for Put.
func (ks *Keyspace) PutExpiring(key, value []byte, at time.Time, d Durability) error {
	return ks.put(key, value, expiryOf(at), d)
}

// Expiry returns when key expires, the zero time if never, or ErrNotFound.
func (ks *Keyspace) Expiry(key []byte) (time.Time, error) {
	if len(key) > MaxKeyBytes {
		return time.Time{}, ErrNotFound
	}
	var memory [tree.MaxKeyBytes]byte
	k, err := ks.appendKey(memory[:0], key)
	if err != nil {
		return time.Time{}, err
	}
	expiry, err := ks.db.expiry(k)
	return timeOf(expiry), err
}

// expiry is Keyspace.Expiry of a key of the tree.
func (db *DB) expiry(key []byte) (uint64, error) {
	if db.closed.Load() {
		return 0, ErrClosed
	}
	var buf [tree.MaxEntryBytes]byte
	_, _, expiry, err := db.lookup(buf[:0], key)
	return expiry, err
}

// Expire sets when key expires, and tells whether it was there; the zero time is never.
// Errors as for Put.
func (ks *Keyspace) Expire(key []byte, at time.Time, d Durability) (found bool, err error) {
	if err := checkEntry(len(key), 0); err != nil {
		return false, err
	}
	_, err = ks.Modify(context.Background(), [][]byte{key}, d, func(tx *Tx) error {
		var err error
		if found, err = tx.Has(key); err != nil || !found {
			return err
		}
		return tx.SetExpiry(key, at)
	})
	return found && err == nil, err
}

// Expiring returns the number of keys that expire. It waits as Len does.
func (ks *Keyspace) Expiring() uint64 {
	_ = ks.db.merge(context.Background())
	return ks.counts().Expiring
}

// appendDue appends an entry of the index, as a key of the system's keyspace, to dst.
func appendDue(dst []byte, expiry uint64, key []byte) []byte {
	dst = append(dst, dueKind)
	dst = binary.BigEndian.AppendUint64(dst, expiry)
	return append(dst, key...)
}

// dueKey returns the entry for key, as a key of the tree. It is valid until the next call.
func (b *Batch) dueKey(key []byte, expiry uint64) []byte {
	b.due = appendDue(append(b.due[:0], systemSlot, 0), expiry, key)
	return b.due
}

// appendDueAgain appends the write that makes the entry for w, which itself is not replayed.
func appendDueAgain(dst []byte, w *write) []byte {
	dst = append(dst, opPut)
	dst = binary.AppendUvarint(dst, uint64(dueBytes+len(w.key)))
	dst = append(dst, 0, systemSlot, 0)
	return appendDue(dst, w.expiry, w.key)
}

// enterDue makes the entry for key, which was set to expire at expiry, if one is needed:
// was is when it was to expire before, or 0. The key is locked.
func (db *DB) enterDue(b *Batch, key []byte, expiry, was uint64) error {
	if was != 0 && was <= expiry && !db.recovering() {
		return nil
	}
	if _, err := db.tree.Put(&b.op, b.dueKey(key, expiry), nil); err != nil {
		return db.readError(err)
	}
	db.reaper.expect(expiry)
	return nil
}
