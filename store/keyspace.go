package store

import (
	"context"
	"sync/atomic"

	"faultline/store/tree"
)

// A Keyspace is a set of keys with a name: the same key in two of them is two keys.
// All of a store are in one tree and one log, so that a Batch can write to several. A
// DB is its default keyspace, whose name is "". Methods are safe for concurrent use.
//
// In the tree a key is
//
//	+------+------------+---- ... ----+
//	| slot | generation |  user's key |
//	+------+------------+---- ... ----+
//
// slot is the number of the keyspace, of which there are 128. Its generation changes
// when it is cleared or dropped: so that takes no longer for many keys than for few.
// Keys of older generations are found by nobody, and are deleted in the background.
type Keyspace struct {
	db   *DB
	name string
	slot byte

	// now is the generation, or keyspaceDropped. It changes with the gate closed.
	now atomic.Uint32
}

const (
	systemSlot = 0 // see spaces
	mainSlot   = 1 // of the default keyspace

	keyspaceDropped = 1 << 8
)

// Name returns the name that the keyspace was made with.
func (ks *Keyspace) Name() string { return ks.name }

// generation returns the generation that keys have now, or ErrNoKeyspace.
func (ks *Keyspace) generation() (byte, error) {
	now := ks.now.Load()
	if now == keyspaceDropped {
		return 0, ErrNoKeyspace
	}
	return byte(now), nil
}

// shortKey is the longest key for which a read makes do with little memory.
const shortKey = 62

// appendKey appends the tree's key for key to dst, which has room for it.
func (ks *Keyspace) appendKey(dst, key []byte) ([]byte, error) {
	gen, err := ks.generation()
	if err != nil {
		return nil, err
	}
	return append(append(dst, ks.slot, gen), key...), nil
}

// appendBounds appends the tree's bounds of a range of keys of gen to low and high; nil is
// no bound.
func (ks *Keyspace) appendBounds(low, high []byte, gen byte, lower, upper []byte) (l, h []byte) {
	low = append(append(low, ks.slot, gen), lower...)
	switch {
	case upper != nil:
		high = append(append(high, ks.slot, gen), upper...)
	case gen == 255:
		high = append(high, ks.slot+1)
	default:
		high = append(high, ks.slot, gen+1)
	}
	return low, high
}

// Get returns the value of key, in memory of its own, or ErrNotFound. Of a long
// value GetRange returns a part.
func (ks *Keyspace) Get(key []byte) ([]byte, error) { return ks.AppendGet([]byte{}, key) }

// AppendGet appends the value of key to dst and returns it; it allocates nothing
// if dst has room. Without such a key it returns dst and ErrNotFound. It takes
// no lock, and sees a write from when it was made, be it durable or not.
func (ks *Keyspace) AppendGet(dst, key []byte) ([]byte, error) {
	return ks.appendSpan(dst, key, whole)
}

// appendSpan is AppendGetRange.
func (ks *Keyspace) appendSpan(dst, key []byte, s portion) ([]byte, error) {
	if len(key) > shortKey {
		return ks.appendSpanLong(dst, key, s)
	}
	var memory [tree.OwnerBytes + shortKey]byte
	k, err := ks.appendKey(memory[:0], key)
	if err != nil {
		return dst, err
	}
	return ks.db.appendSpan(dst, k, s)
}

// appendSpanLong is appendSpan of a key that may be long.
func (ks *Keyspace) appendSpanLong(dst, key []byte, s portion) ([]byte, error) {
	if len(key) > MaxKeyBytes {
		return dst, ErrNotFound
	}
	var memory [tree.MaxKeyBytes]byte
	k, err := ks.appendKey(memory[:0], key)
	if err != nil {
		return dst, err
	}
	return ks.db.appendSpan(dst, k, s)
}

// Has tells whether key is there. It reads nothing of a long value.
func (ks *Keyspace) Has(key []byte) (bool, error) {
	if len(key) > MaxKeyBytes {
		return false, nil
	}
	var memory [tree.MaxKeyBytes]byte
	k, err := ks.appendKey(memory[:0], key)
	if err != nil {
		return false, err
	}
	return ks.db.has(k)
}

// Put sets key to value. Key and value may be used again when it returns. A value
// of more than 250 KiB goes to the disk in pieces, before the write itself, and
// takes a place as in PutReader.
// Errors: ErrEmptyKey, ErrTooLarge, ErrFull, ErrNoSpace, ErrNoKeyspace, ErrReadOnly,
// ErrStopped, ErrClosed.
func (ks *Keyspace) Put(key, value []byte, d Durability) error { return ks.put(key, value, 0, d) }

func (ks *Keyspace) put(key, value []byte, expiry uint64, d Durability) error {
	if len(value) > ks.db.opts.pieceBytes {
		return ks.putLong(context.Background(), key, value, expiry, d)
	}
	b := batches.Get().(*Batch)
	defer batches.Put(b)
	b.begin(ks)
	if err := b.put(key, value, expiry); err != nil {
		return err
	}
	_, err := ks.db.Apply(b, d)
	return err
}

// Delete removes key; it is no error if there is no such key. Errors as for Put.
func (ks *Keyspace) Delete(key []byte, d Durability) error {
	b := batches.Get().(*Batch)
	defer batches.Put(b)
	b.begin(ks)
	if err := b.Delete(key); err != nil {
		return err
	}
	_, err := ks.db.Apply(b, d)
	return err
}

// Len returns the number of keys. It waits until writes that are kept beside leaves
// that are not in memory have come to them: that may take long in a store that is
// much larger than memory and is being written. Metrics does not wait. Writes beside a
// leaf that cannot be read are not counted. Of a keyspace that was dropped it is 0.
func (ks *Keyspace) Len() uint64 {
	_ = ks.db.merge(context.Background())
	return ks.counts().Keys
}

// counts are stale by writes beside leaves.
func (ks *Keyspace) counts() tree.SlotState {
	s := ks.db.tree.Slot(ks.slot)
	if _, err := ks.generation(); err != nil {
		return tree.SlotState{}
	}
	return s
}

// Clear deletes all keys, at once, and returns when that is on disk. Writes under way
// wait for it for a moment. An Iterator goes on in the keyspace as it is then.
// Errors as for Put; with one of ErrStopped, or of ctx, the keys may be gone or not.
func (ks *Keyspace) Clear(ctx context.Context) error {
	ks.db.spaces.changing.Lock()
	lsn, err := ks.db.renew(ctx, ks, false)
	ks.db.spaces.changing.Unlock()
	if err != nil {
		return err
	}
	return ks.db.wait(ctx, lsn, Sync)
}
