package store

import (
	"encoding/binary"
	"fmt"
	"slices"

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
//
// op is a byte, the lengths are unsigned varints, the id has 8 bytes.
type Batch struct {
	data  []byte
	n     int
	puts  int // counted when it is applied
	found int

	tx      *Tx          // if it is one's, what that has read must still be so
	op      tree.Op      // while it is being applied
	stripes []uint16     // of its keys, sorted, while it is being applied
	inTree  int          // bytes of it that go into leaves
	long    int          // long values in it
	staged  []*longValue // these, while it is being applied
}

const (
	opPut     = 1
	opDelete  = 2
	opPutLong = 3 // see longValue
)

// Put sets key to value, which counts in full for MaxBatchBytes. It returns
// ErrEmptyKey or an error wrapping ErrTooLarge, and then the Batch is as it was.
func (b *Batch) Put(key, value []byte) error {
	if err := b.check(len(key), len(value)); err != nil {
		return err
	}
	b.data = append(b.data, opPut)
	b.data = binary.AppendUvarint(b.data, uint64(len(key)))
	b.data = binary.AppendUvarint(b.data, uint64(len(value)))
	b.data = append(b.data, key...)
	b.data = append(b.data, value...)
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
	b.data = binary.AppendUvarint(b.data, uint64(len(key)))
	b.data = append(b.data, key...)
	b.n++
	return nil
}

// putLong sets key to v, which the log has.
func (b *Batch) putLong(key []byte, v *longValue) {
	b.data = append(b.data, opPutLong)
	b.data = binary.AppendUvarint(b.data, uint64(len(key)))
	b.data = binary.AppendUvarint(b.data, uint64(v.ref.Bytes))
	b.data = le.AppendUint64(b.data, v.ref.ID)
	b.data = append(b.data, key...)
	b.n++
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
	if err := checkEntry(key, int64(value)); err != nil {
		return err
	}
	if len(b.data)+key+value+2*binary.MaxVarintLen32+1 > MaxBatchBytes {
		return fmt.Errorf("batch of %d bytes, value of %d: %w: the limit is %d", len(b.data), value, ErrTooLarge, MaxBatchBytes)
	}
	return nil
}

// Reset empties the Batch.
func (b *Batch) Reset() { b.data, b.n, b.found, b.op.Found = b.data[:0], 0, 0, false }

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
	id         uint64 // opPutLong: of the value
	bytes      int    // opPutLong: its length
}

// isLong tells whether the value does not go into the leaf.
func (w *write) isLong() bool {
	return w.op == opPutLong || w.op == opPut && len(w.value) > MaxEntryBytes-len(w.key)
}

// nextWrite parses the first write of data and returns what follows it. data may
// come from the log: whatever it is, the write keeps the limits.
func nextWrite(data []byte) (w write, rest []byte, err error) {
	op := data[0]
	key, n := binary.Uvarint(data[1:])
	at := 1 + n
	if n <= 0 || key == 0 || key > MaxKeyBytes || op < opPut || op > opPutLong {
		return w, nil, fmt.Errorf("%w: batch: operation %d, key of %d bytes", ErrCorrupt, op, key)
	}
	var value uint64
	if op != opDelete {
		value, n = binary.Uvarint(data[at:])
		at += n
		if n <= 0 || value > MaxValueBytes {
			return w, nil, fmt.Errorf("%w: batch: key of %d bytes, value of %d", ErrCorrupt, key, value)
		}
	}
	w.op = op
	if op == opPutLong {
		w.bytes, value = int(value), 0
		if len(data)-at < 8 {
			return w, nil, fmt.Errorf("%w: batch: no id of a value at byte %d", ErrCorrupt, at)
		}
		w.id = le.Uint64(data[at:])
		at += 8
	}
	end := at + int(key+value)
	if end > len(data) {
		return w, nil, fmt.Errorf("%w: batch: ends at byte %d of %d", ErrCorrupt, len(data), end)
	}
	mid := at + int(key)
	w.key, w.value = data[at:mid:mid], data[mid:end:end]
	return w, data[end:], nil
}

// sorted puts stripes into their order, each once.
func sorted(stripes []uint16) []uint16 {
	if len(stripes) < 2 {
		return stripes
	}
	slices.Sort(stripes)
	return slices.Compact(stripes)
}

// collectStripes fills b.stripes for db, and counts what b has.
func (b *Batch) collectStripes(db *DB) error {
	b.stripes, b.n, b.puts, b.inTree, b.long = b.stripes[:0], 0, 0, 0, 0
	for rest := b.data; len(rest) > 0; {
		w, more, err := nextWrite(rest)
		if err != nil {
			return err
		}
		b.stripes = append(b.stripes, db.stripe(w.key))
		b.n++
		if w.op != opDelete {
			b.puts++
		}
		b.inTree += len(rest) - len(more)
		if w.isLong() {
			b.long++
			b.inTree += tree.MaxRefBytes - len(w.value)
		}
		rest = more
	}
	if b.tx != nil {
		b.stripes = b.tx.appendStripes(b.stripes[:0])
	}
	b.stripes = sorted(b.stripes)
	return nil
}
