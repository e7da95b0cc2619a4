package store

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"faultline/store/tree"
)

// A Tx is what the function of a Modify reads and writes with. It reads its own
// writes. It is valid until that function returns, and is used by one goroutine at a
// time. Writes have the limits of a Batch, and their errors.
//
// It remembers what the store had for each key that it was asked for: the bytes of the
// cell in the tree, which for a long value are the place of it. The commit compares them
// under the locks of the keys, and so says whether all reads are of one moment, that of
// the commit.
type Tx struct {
	db      *DB
	home    *Keyspace // that it begins in
	ks      *Keyspace // that it is in
	batch   Batch     // the writes in their order
	keys    []txKey
	last    int      // of keys: touched last
	index   []int32  // where in keys they are, plus one, by hash; once they are many
	mem     []byte   // the keys, and what was read
	dead    int      // writes in the batch that newer ones have replaced
	longs   int      // keys that have a long one
	expires bool     // some key that was read does
	again   []byte   // what is read to be compared
	claims  []uint16 // see Modify
	asked   []byte   // memory for the key that is asked for
	full    []byte   // memory of current
}

// A txKey is a key that a Tx was asked for.
type txKey struct {
	hash  uint64
	key   span // of mem: the key in the tree, with 0 for the generation
	cell  span // of mem: what the store had, if looked
	found tree.Found
	read  bool // the store was asked
	gen   byte // that it was asked for
	at    tree.Place
	write span   // of the batch: the newest write; empty if there is none
	long  []byte // the newest write puts this, which is not in the batch

	expiry     uint64 // of what the store had
	expired    bool   // what the store had
	longExpiry uint64 // of long
}

// A span is a part of memory that may move.
type span struct{ from, to int }

func (s span) of(b []byte) []byte { return b[s.from:s.to:s.to] }

// fewKeys is how many a Tx has without an index: as many as are compared in less time
// than it takes to keep one.
const fewKeys = 8

func (tx *Tx) reset() {
	if len(tx.keys) > fewKeys {
		clear(tx.index)
	}
	if tx.longs > 0 {
		clear(tx.keys) // of the values
	}
	tx.batch.Reset()
	tx.keys, tx.mem, tx.dead, tx.longs, tx.expires = tx.keys[:0], tx.mem[:0], 0, 0, false
	tx.Use(tx.home)
}

// Use has what follows go to ks, a keyspace of the same store; nil is the default one. A
// Tx begins in that of Modify.
func (tx *Tx) Use(ks *Keyspace) {
	if ks == nil {
		ks = &tx.db.spaces.main
	}
	tx.ks = ks
	tx.batch.Use(ks)
}

// touch returns the place of a user's key among the keys of tx.
func (tx *Tx) touch(key []byte) *txKey {
	tx.asked = append(append(tx.asked[:0], tx.ks.slot, 0), key...)
	return tx.touchKey(tx.asked)
}

// current returns the key of the tree that is now what key, one of tx, stands for.
func (tx *Tx) current(key []byte) []byte {
	tx.full = append(tx.full[:0], key...)
	tx.full[1] = tx.db.tree.Gen(key[0])
	return tx.full
}

// touchKey is touch of a key of the tree, with 0 for the generation.
func (tx *Tx) touchKey(key []byte) *txKey {
	if tx.last < len(tx.keys) && bytes.Equal(tx.keys[tx.last].key.of(tx.mem), key) {
		return &tx.keys[tx.last] // most often: it is read, then written
	}
	hash := tx.db.hash(key[tree.OwnerBytes:])
	at := len(tx.keys)
	if at <= fewKeys {
		for i := range tx.keys {
			if k := &tx.keys[i]; k.hash == hash && bytes.Equal(k.key.of(tx.mem), key) {
				tx.last = i
				return k
			}
		}
	} else if i, ok := tx.lookup(hash, key); ok {
		tx.last = i
		return &tx.keys[i]
	}
	from := len(tx.mem)
	tx.mem = append(tx.mem, key...)
	tx.keys = append(tx.keys, txKey{hash: hash, key: span{from, len(tx.mem)}})
	if at >= fewKeys {
		tx.enter(at)
	}
	tx.last = at
	return &tx.keys[at]
}

// lookup finds key in the index.
func (tx *Tx) lookup(hash uint64, key []byte) (at int, ok bool) {
	for i := hash; ; i++ {
		at := int(tx.index[i%uint64(len(tx.index))]) - 1
		if at < 0 {
			return 0, false
		}
		if k := &tx.keys[at]; k.hash == hash && bytes.Equal(k.key.of(tx.mem), key) {
			return at, true
		}
	}
}

// enter puts the newest of the keys into the index, or all if it has none of them yet,
// or is half full.
func (tx *Tx) enter(newest int) {
	from := newest
	if newest == fewKeys {
		from = 0
	}
	if 2*len(tx.keys) > len(tx.index) {
		tx.index, from = make([]int32, 8*len(tx.keys)), 0
	}
	for at := from; at <= newest; at++ {
		i := tx.keys[at].hash
		for tx.index[i%uint64(len(tx.index))] != 0 {
			i++
		}
		tx.index[i%uint64(len(tx.index))] = int32(at + 1)
	}
}

// look returns what key has: found says whether it is the value, which may be longer
// than those of the tree if tx has put it, or where it is. It is valid until the next
// call.
func (tx *Tx) look(key []byte) (cell []byte, found tree.Found, expiry uint64, err error) {
	if tx.db.closed.Load() {
		return nil, tree.Nothing, 0, ErrClosed
	}
	if _, err := tx.ks.generation(); err != nil || tx.ks.db != tx.db {
		return nil, tree.Nothing, 0, ErrNoKeyspace
	}
	if len(key) > MaxKeyBytes {
		return nil, tree.Nothing, 0, nil
	}
	k := tx.touch(key)
	switch {
	case k.long != nil:
		cell, found, expiry = k.long, tree.Short, k.longExpiry
	case k.write != (span{}):
		w, _, err := nextWrite(k.write.of(tx.batch.data))
		if err != nil || w.op == opDelete {
			return nil, tree.Nothing, 0, err
		}
		cell, found, expiry = w.value, tree.Short, w.expiry
		if w.op == opSetExpiry {
			cell, found = k.cell.of(tx.mem), k.found
		}
	default:
		if err := tx.read(k); err != nil {
			return nil, tree.Nothing, 0, err
		}
		cell, found, expiry = k.cell.of(tx.mem), k.found, k.expiry
	}
	if tx.db.expired(expiry) {
		return nil, tree.Nothing, 0, nil
	}
	return cell, found, expiry, nil
}

// read asks the store for k, the key that was touched last, unless it was asked before.
func (tx *Tx) read(k *txKey) (err error) {
	if k.read {
		return nil
	}
	from := len(tx.mem)
	key := tx.current(tx.asked)
	k.gen = key[1]
	tx.mem, k.found, k.expiry, k.at, err = tx.db.tree.GetAt(tx.mem, key)
	if tx.db.closed.Load() {
		return ErrClosed
	}
	if err != nil {
		return tx.db.readError(err)
	}
	k.cell, k.read, k.expired = span{from, len(tx.mem)}, true, tx.db.expired(k.expiry)
	tx.expires = tx.expires || k.expiry != 0
	return nil
}

// Get returns the value of key, in memory of its own, or ErrNotFound.
func (tx *Tx) Get(key []byte) ([]byte, error) { return tx.AppendGet([]byte{}, key) }

// AppendGet appends the value of key to dst and returns it. Without such a key it
// returns dst and ErrNotFound.
func (tx *Tx) AppendGet(dst, key []byte) ([]byte, error) {
	return tx.appendSpan(dst, key, whole)
}

// AppendGetRange appends n bytes of the value of key to dst, from offset on: fewer
// where the value ends before. Offset and n must not be negative.
func (tx *Tx) AppendGetRange(dst, key []byte, offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 {
		return dst, fmt.Errorf("range of %d bytes from %d on", n, offset)
	}
	return tx.appendSpan(dst, key, portion{offset: offset, n: n})
}

// AppendGetSpan is AppendGetRange of a range that depends on the length of the value, as
// Keyspace.AppendGetSpan.
func (tx *Tx) AppendGetSpan(dst, key []byte, place func(bytes int64) (offset, n int64)) ([]byte, error) {
	return tx.appendSpan(dst, key, portion{place: place})
}

func (tx *Tx) appendSpan(dst, key []byte, s portion) ([]byte, error) {
	cell, found, _, err := tx.look(key)
	switch {
	case err != nil:
		return dst, err
	case found == tree.Nothing:
		return dst, ErrNotFound
	case found == tree.Short:
		offset, n := s.in(len(cell))
		return append(dst, cell[offset:offset+n]...), nil
	}
	r, err := tx.db.parseRef(cell)
	if err != nil {
		return dst, err
	}
	// If the value has been replaced, this may be an error of pages that have another
	// one by now. Modify will find that out, and call the function again.
	return tx.db.readRef(dst, r, s)
}

// Has tells whether key is there.
func (tx *Tx) Has(key []byte) (bool, error) {
	_, found, _, err := tx.look(key)
	return found != tree.Nothing, err
}

// ValueBytes returns the length of the value of key, or ErrNotFound. It reads nothing of
// a long value.
func (tx *Tx) ValueBytes(key []byte) (int, error) {
	cell, found, _, err := tx.look(key)
	switch {
	case err != nil:
		return 0, err
	case found == tree.Nothing:
		return 0, ErrNotFound
	case found == tree.Short:
		return len(cell), nil
	}
	r, err := tx.db.parseRef(cell)
	return r.Bytes, err
}

// Put sets key to value, and keeps neither. Values of more than 250 KiB are in memory
// until the commit, which takes a place for each as PutReader does; 12 of them do not
// count for MaxBatchBytes. Errors: ErrEmptyKey, ErrTooLarge.
func (tx *Tx) Put(key, value []byte) error {
	return tx.put(key, value, 0)
}

// PutExpiring is Put of a key that expires at a time, to the millisecond. The zero time
// is never.
func (tx *Tx) PutExpiring(key, value []byte, at time.Time) error {
	return tx.put(key, value, expiryOf(at))
}

func (tx *Tx) put(key, value []byte, expiry uint64) error {
	if len(value) > tx.db.opts.pieceBytes && tx.longs < maxOpen {
		return tx.putLong(key, value, expiry)
	}
	return tx.write(key, func(b *Batch) error { return b.put(key, value, expiry) })
}

// SetExpiry sets when key expires, if it is there; the zero time is never. Errors as for
// Put.
func (tx *Tx) SetExpiry(key []byte, at time.Time) error {
	if err := checkEntry(len(key), 0); err != nil {
		return err
	}
	cell, found, _, err := tx.look(key)
	if err != nil || found == tree.Nothing {
		return err
	}
	k := tx.touch(key)
	if k.long != nil {
		k.longExpiry = expiryOf(at)
		return nil
	}
	if k.write != (span{}) {
		w, _, err := nextWrite(k.write.of(tx.batch.data))
		if err != nil {
			return err
		}
		if w.op != opSetExpiry {
			return tx.put(key, bytes.Clone(cell), expiryOf(at)) // tx.put may move the batch
		}
	}
	return tx.write(key, func(b *Batch) error { return b.SetExpiry(key, at) })
}

// Expiry returns when key expires, the zero time if never, or ErrNotFound.
func (tx *Tx) Expiry(key []byte) (time.Time, error) {
	_, found, expiry, err := tx.look(key)
	if err == nil && found == tree.Nothing {
		err = ErrNotFound
	}
	return timeOf(expiry), err
}

// Delete removes key; it is no error if there is no such key. Errors as for Put.
func (tx *Tx) Delete(key []byte) error {
	return tx.write(key, func(b *Batch) error { return b.Delete(key) })
}

// write adds a write to the batch.
func (tx *Tx) write(key []byte, add func(b *Batch) error) error {
	from := len(tx.batch.data)
	err := add(&tx.batch)
	if errors.Is(err, ErrTooLarge) && tx.dead > 0 {
		tx.compact()
		from = len(tx.batch.data)
		err = add(&tx.batch)
	}
	if err != nil {
		return err
	}
	k := tx.touch(key)
	tx.replace(k)
	k.write = span{from, len(tx.batch.data)}
	return nil
}

// replace takes note that k gets another write than it had, if any.
func (tx *Tx) replace(k *txKey) {
	if k.write != (span{}) {
		tx.dead++
		k.write = span{}
	}
	if k.long != nil {
		tx.longs--
		k.long = nil
	}
}

// compact takes the writes out of the batch that newer ones have replaced.
func (tx *Tx) compact() {
	data, to := tx.batch.data, 0
	for from := 0; from < len(data); {
		w, rest, err := nextWrite(data[from:])
		if err != nil {
			panic(fmt.Sprintf("store: batch of a Tx at byte %d of %d: %v", from, len(data), err))
		}
		size := len(data) - from - len(rest)
		if k := tx.touchKey(w.key); k.write == (span{from, from + size}) {
			copy(data[to:], data[from:from+size])
			k.write = span{to, to + size}
			to += size
		}
		from += size
	}
	tx.batch.data = data[:to]
	tx.batch.n -= tx.dead
	tx.dead = 0
}

// stored tells whether the store has key, be it expired or not, and when it expires. One
// that tx has deleted it has not.
func (tx *Tx) stored(key []byte) (expiry uint64, found bool, err error) {
	if _, _, _, err := tx.look(key); err != nil {
		return 0, false, err
	}
	k := tx.touch(key)
	return k.expiry, k.found != tree.Nothing && k.write == (span{}), nil
}
