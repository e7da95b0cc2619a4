package store

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"faultline/store/tree"
)

// A Batch collects writes that are applied together: after a crash all of them
// are there or none, and who reads one key after the other with Get or Has, or several
// with GetAll, sees none of them or all. Iterators may see some before the others.
// Later writes to a key win over earlier ones.
//
// The zero Batch is empty and ready for use. Put and Delete copy their
// arguments. A Batch may be applied more than once; Reset empties it and keeps
// its memory. It is not safe for concurrent use.
//
// It is encoded as it will stand in the log, one write after the other:
//
//	+-----+------------+--------------+-----+-------+
//	| op  | key length | value length | key | value |    op 1: put
//	+-----+------------+--------------+-----+-------+
//	+-----+------------+-----+
//	| op  | key length | key |                           op 2: delete
//	+-----+------------+-----+
//	+-----+------------+--------------+----------+-----+
//	| op  | key length | value length | value id | key |   op 3: put a value that
//	+-----+------------+--------------+----------+-----+   the log has before it
//	+-----+------------+--------------+-----+--------+-------+
//	| op  | key length | value length | key | expiry | value |    op 4: as 1, 5: as 3, of
//	+-----+------------+--------------+-----+--------+-------+    a key that expires
//	+-----+------------+-----+--------+-----+
//	| op  | key length | key | expiry | now |             op 6: set when a key expires,
//	+-----+------------+-----+--------+-----+             unless it has by now
//
// op is a byte, the lengths are unsigned varints, id, expiry and now have 8 bytes. The key is
// the tree's, see Keyspace; its generation, and now, are put in when the batch is applied.
type Batch struct {
	data  []byte
	ks    *Keyspace   // that Put and Delete write to; nil: the default one
	uses  []*Keyspace // all but the default one
	n     int
	puts  int // counted when it is applied
	found int

	tx       *Tx    // if it is one's, what that has read must still be so
	renewals uint64 // spaces.renewals as of claim

	op      tree.Op      // while it is being applied
	many    tree.Writes  // of it, what the tree gets together, while it is being applied
	stripes []uint16     // of its keys, sorted, while it is being applied
	one     write        // the only write of it, if there is one, while it is being applied
	steps   int          // changes of the tree that it makes at most
	renews  int          // writes of it that are opSetExpiry
	inTree  int          // bytes of it that go into leaves
	due     []byte       // memory for a key of the index
	long    int          // long values in it
	staged  []*longValue // these, while it is being applied
}

const (
	opPut     = 1
	opDelete  = 2
	opPutLong = 3 // see longValue

	opPutExpiring     = 4
	opPutLongExpiring = 5
	opSetExpiry       = 6
)

// Put sets key to value, which counts in full for MaxBatchBytes. It returns
// ErrEmptyKey or an error wrapping ErrTooLarge, and then the Batch is as it was.
func (b *Batch) Put(key, value []byte) error { return b.put(key, value, 0) }

// PutExpiring is Put of a key that expires at a time, to the millisecond: from then on it
// is not found. The zero time is never.
func (b *Batch) PutExpiring(key, value []byte, at time.Time) error {
	return b.put(key, value, expiryOf(at))
}

func (b *Batch) put(key, value []byte, expiry uint64) error {
	op, n := byte(opPut), 0
	if expiry != 0 {
		op, n = opPutExpiring, tree.ExpiryBytes
	}
	if err := b.check(len(key), n+len(value)); err != nil {
		return err
	}
	b.data = append(b.data, op)
	b.appendLength(tree.OwnerBytes + len(key))
	b.appendLength(len(value))
	b.appendKey(key)
	if expiry != 0 {
		b.data = tree.AppendExpiry(b.data, expiry)
	}
	b.data = append(b.data, value...)
	b.n++
	return nil
}

// SetExpiry sets when key expires, if it is there and has not expired by the time that
// the Batch is applied; the zero time is never. Errors as for Put.
func (b *Batch) SetExpiry(key []byte, at time.Time) error {
	if err := b.check(len(key), 2*tree.ExpiryBytes); err != nil {
		return err
	}
	b.data = append(b.data, opSetExpiry)
	b.appendLength(tree.OwnerBytes + len(key))
	b.appendKey(key)
	b.data = tree.AppendExpiry(b.data, expiryOf(at))
	b.data = tree.AppendExpiry(b.data, 0)
	b.n++
	return nil
}

// Delete removes key; it is no error if there is no such key. It returns
// ErrEmptyKey or an error wrapping ErrTooLarge, and then the Batch is as it was.
func (b *Batch) Delete(key []byte) error {
	if err := b.check(len(key), 0); err != nil {
		return err
	}
	b.data = append(b.data, opDelete)
	b.appendLength(tree.OwnerBytes + len(key))
	b.appendKey(key)
	b.n++
	return nil
}

// putLong sets key, of the keyspace in slot, to v, which the log has. The keyspace is one
// that b uses.
func (b *Batch) putLong(slot byte, key []byte, v *longValue, expiry uint64) {
	op := byte(opPutLong)
	if expiry != 0 {
		op = opPutLongExpiring
	}
	b.data = append(b.data, op)
	b.appendLength(tree.OwnerBytes + len(key))
	b.appendLength(v.ref.Bytes)
	b.data = le.AppendUint64(b.data, v.ref.ID)
	b.data = append(append(b.data, slot, 0), key...)
	if expiry != 0 {
		b.data = tree.AppendExpiry(b.data, expiry)
	}
	b.n++
}

func (b *Batch) appendLength(n int) { b.data = binary.AppendUvarint(b.data, uint64(n)) }

// appendKey appends the tree's key for key, but for the generation.
func (b *Batch) appendKey(key []byte) {
	slot := byte(mainSlot)
	if b.ks != nil {
		slot = b.ks.slot
	}
	b.data = append(append(b.data, slot, 0), key...)
}

// Use has later writes of the Batch go to ks; nil is the default keyspace, which is
// also used before the first Use, and after Reset. A Batch with a keyspace of another
// store, or one that is dropped before it is applied, fails with ErrNoKeyspace.
func (b *Batch) Use(ks *Keyspace) {
	b.ks = ks
	if ks != nil && !slices.Contains(b.uses, ks) {
		b.uses = append(b.uses, ks)
	}
}

// begin is Reset and Use.
func (b *Batch) begin(ks *Keyspace) {
	b.Reset()
	b.Use(ks)
}

// claim looks whether the keyspaces of b are there. Generations are what they are now as
// long as spaces.renewals is.
func (b *Batch) claim(db *DB) error {
	b.renewals = db.spaces.renewals.Load()
	for _, ks := range b.uses {
		if _, err := ks.generation(); err != nil || ks.db != db {
			return ErrNoKeyspace
		}
	}
	return nil
}

// claimAgain is claim if it is needed, and puts the generations into the keys again. Inside
// the gate, where it is called, they stay what they are.
func (b *Batch) claimAgain(db *DB) error {
	if db.spaces.renewals.Load() == b.renewals {
		return nil
	}
	if err := b.claim(db); err != nil {
		return err
	}
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		w.key[1] = db.tree.Gen(w.key[0])
		rest = more
	}
	return nil
}

// settle completes b for the time at which it is made, and returns errChanged if what
// its Tx has read is not so then. The keys are locked.
func (b *Batch) settle(db *DB) error {
	var now uint64
	if b.renews > 0 || b.tx != nil && b.tx.expires {
		now = db.clock.now()
	}
	if b.tx != nil {
		if err := b.tx.check(now); err != nil {
			return err
		}
	}
	return b.stamp(now)
}

// hint tells the tree where key is, a key of it, if b is a Tx's that has read it.
func (b *Batch) hint(key []byte) {
	if b.tx != nil {
		b.op.At = b.tx.place(key)
	}
}

// stamp puts now into the writes of b that need it. The keys are locked.
func (b *Batch) stamp(now uint64) error {
	if b.renews == 0 {
		return nil
	}
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		if w.op == opSetExpiry {
			le.PutUint64(w.stamp, now)
		}
		rest = more
	}
	return nil
}

// checkEntry tells whether there may be a key and a value of these lengths.
func checkEntry(key int, value int64) error {
	switch {
	case key == 0:
		return ErrEmptyKey
	case key > MaxKeyBytes:
		return fmt.Errorf("key of %d bytes: %w: the limit is %d", key, ErrTooLarge, MaxKeyBytes)
	case value > MaxValueBytes:
		return tooLong(value)
	}
	return nil
}

func tooLong(value int64) error {
	return fmt.Errorf("value of %d bytes: %w: the limit is %d", value, ErrTooLarge, MaxValueBytes)
}

// check tells whether a write of these lengths may be added.
func (b *Batch) check(key, value int) error {
	limited := key
	if b.ks != nil && b.ks.slot == systemSlot {
		limited = min(key, 1) // they may have a key of the tree in them
	}
	if err := checkEntry(limited, int64(value)); err != nil {
		return err
	}
	if len(b.data)+tree.OwnerBytes+key+value+2*binary.MaxVarintLen32+1 > MaxBatchBytes {
		return fmt.Errorf("batch of %d bytes, value of %d: %w: the limit is %d", len(b.data), value, ErrTooLarge, MaxBatchBytes)
	}
	return nil
}

// Reset empties the Batch.
func (b *Batch) Reset() {
	b.data, b.n, b.found, b.op.Found = b.data[:0], 0, 0, false
	clear(b.uses)
	b.ks, b.uses = nil, b.uses[:0]
}

// Len returns the number of writes.
func (b *Batch) Len() int { return b.n }

// Bytes returns the size of the encoded writes.
func (b *Batch) Bytes() int { return len(b.data) }

// WantFound asks the next Apply to count for Found. It costs the reading of leaves
// that are not in memory, which a write does not need otherwise.
func (b *Batch) WantFound() { b.op.Found = true }

// Found returns how many writes of the last Apply met a key that was there, if
// WantFound was called: for a batch of deletes, how many were deleted.
func (b *Batch) Found() int { return b.found }

// A write is one of a batch. Key and value are slices of the batch.
type write struct {
	op         byte
	key, value []byte
	cell       []byte // opPutExpiring: expiry and value
	expiry     uint64 // 0: none
	stamp      []byte // opSetExpiry: now
	id         uint64 // op as of isOpened: of the value
	bytes      int    // op as of isOpened: its length
}

// isOpened tells whether the value is not in the batch.
func (w *write) isOpened() bool { return w.op == opPutLong || w.op == opPutLongExpiring }

// isLong tells whether the value does not go into the leaf. A short one leaves room for
// when the key expires.
func (w *write) isLong() bool {
	return w.isOpened() || len(w.value) > tree.MaxEntryBytes-tree.ExpiryBytes-len(w.key)
}

// behindKey is how many bytes each op has behind the key, but for the value.
var behindKey = [opSetExpiry + 1]int{
	opPutExpiring:     tree.ExpiryBytes,
	opPutLongExpiring: tree.ExpiryBytes,
	opSetExpiry:       2 * tree.ExpiryBytes,
}

// nextWrite parses the first write of data and returns what follows it. data may
// come from the log: whatever it is, the write keeps the limits.
func nextWrite(data []byte) (w write, rest []byte, err error) {
	op := data[0]
	key, n := binary.Uvarint(data[1:])
	at := 1 + n
	if n <= 0 || key <= tree.OwnerBytes || key > tree.MaxKeyBytes || op < opPut || op > opSetExpiry {
		return w, nil, fmt.Errorf("%w: batch: operation %d, key of %d bytes", ErrCorrupt, op, key)
	}
	var value uint64
	if op != opDelete && op != opSetExpiry {
		value, n = binary.Uvarint(data[at:])
		at += n
		if n <= 0 || value > MaxValueBytes {
			return w, nil, fmt.Errorf("%w: batch: key of %d bytes, value of %d", ErrCorrupt, key, value)
		}
	}
	w.op = op
	if w.isOpened() {
		w.bytes, value = int(value), 0
		if len(data)-at < 8 {
			return w, nil, fmt.Errorf("%w: batch: no id of a value at byte %d", ErrCorrupt, at)
		}
		w.id = le.Uint64(data[at:])
		at += 8
	}
	mid := at + int(key)
	end := mid + behindKey[op] + int(value)
	if end > len(data) {
		return w, nil, fmt.Errorf("%w: batch: ends at byte %d of %d", ErrCorrupt, len(data), end)
	}
	w.key, w.value = data[at:mid:mid], data[mid:end:end]
	if op >= opPutExpiring {
		w.expiry = le.Uint64(w.value)
		w.cell, w.value = w.value, w.value[tree.ExpiryBytes:]
		if op == opSetExpiry {
			w.stamp, w.value = w.value, nil
		} else if w.expiry == 0 {
			return w, nil, fmt.Errorf("%w: batch: key that expires, and not when", ErrCorrupt)
		}
	}
	if slot := w.key[0]; slot >= tree.MaxSlots || slot != systemSlot && key > tree.OwnerBytes+MaxKeyBytes {
		return w, nil, fmt.Errorf("%w: batch: slot %d, key of %d bytes", ErrCorrupt, slot, key)
	}
	return w, data[end:], nil
}

// fewStripes are sorted in less time than a bit for each of them all is looked at.
const fewStripes = 16

// sorted puts stripes into their order, each once.
func sorted(list []uint16) []uint16 {
	switch {
	case len(list) < 2:
		return list
	case len(list) < fewStripes:
		slices.Sort(list)
		return slices.Compact(list)
	}
	var set [stripes / 64]uint64
	for _, s := range list {
		set[s/64] |= 1 << (s % 64)
	}
	list = list[:0]
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			list = append(list, uint16(64*i+bits.TrailingZeros64(word)))
		}
	}
	return list
}

// collect is the first look at b, which is new: it puts the generations that keyspaces
// have now into its keys, and goes on as collectStripes.
func (b *Batch) collect(db *DB) error {
	if err := b.claim(db); err != nil {
		return err
	}
	return b.collectStripes(db, true)
}

// collectStripes fills b.stripes for db, and counts what b has. claims says that the
// generations in its keys are still to be put in.
func (b *Batch) collectStripes(db *DB, claims bool) error {
	b.stripes, b.n, b.puts, b.inTree, b.long = b.stripes[:0], 0, 0, 0, 0
	b.steps, b.renews = 0, 0
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		if claims {
			w.key[1] = db.tree.Gen(w.key[0])
		}
		if b.tx == nil {
			b.stripes = append(b.stripes, db.stripe(w.key))
		}
		if b.n++; len(more) == 0 && b.n == 1 {
			b.one = w
		}
		b.steps++
		if w.op != opDelete {
			b.puts++
		}
		b.inTree += len(rest) - len(more)
		if w.expiry != 0 {
			b.steps++
			b.inTree += dueBytes + len(w.key)
		}
		if w.op == opSetExpiry {
			b.renews++
			b.inTree += tree.MaxEntryBytes // an entry of any size, which may need another leaf
		}
		if w.isLong() {
			b.long++
			b.inTree += tree.MaxRefBytes - len(w.value)
		}
		rest = more
	}
	if b.tx != nil {
		b.stripes = b.tx.appendStripes(b.stripes)
	}
	b.stripes = sorted(b.stripes)
	return nil
}
