package store

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"faultline/store/tree"
)

// IterOptions bound an Iterator: keys from Lower on, less than Upper. Nil is no
// bound. NewIterator copies them.
type IterOptions struct {
	Lower, Upper []byte

	// KeysOnly leaves long values on the disk: Value is nil for them, ValueBytes
	// tells their length.
	KeysOnly bool
}

// An Iterator walks keys in order, forward and backward. It is live: it copies a
// leaf of the tree at a time and sees writes that are made after that only in
// the leaves that it comes to later. What it returns is right key by key; it is
// not one moment of the store. A key that is there all the time is returned
// once, and none that is not there.
//
// It holds no lock and keeps nothing from being written. It is used by one
// goroutine at a time. It has one long value in memory, the one that it is at: a
// move reads it, unless the options say KeysOnly.
type Iterator struct {
	ks    *Keyspace
	c     *tree.Cursor
	o     IterOptions
	valid bool
	err   error

	lower, upper []byte // keys of the tree: the bounds of o, in a generation of ks
	seek         []byte // memory for a key of the tree

	long  bool   // the value is, or was when the cursor came: value and size say what it is
	value []byte // nil if it was not read
	size  int
}

// NewIterator returns an iterator that is at no key yet. Nil options are no
// bounds.
func (ks *Keyspace) NewIterator(o *IterOptions) (*Iterator, error) {
	if err := ks.db.usable(); err != nil {
		return nil, err
	}
	if _, err := ks.generation(); err != nil {
		return nil, err
	}
	it := &Iterator{ks: ks, c: ks.db.tree.NewCursor()}
	if o != nil {
		it.o = IterOptions{slices.Clone(o.Lower), slices.Clone(o.Upper), o.KeysOnly}
	}
	return it, nil
}

// First goes to the first key. Like all moves it tells whether there is one: if
// not, Err tells whether that is the end or an error.
func (it *Iterator) First() bool { return it.SeekGE(it.o.Lower) }

// Last goes to the last key.
func (it *Iterator) Last() bool {
	return it.bound() && it.check(it.c.SeekLT(it.upper), (*tree.Cursor).Prev)
}

// SeekGE goes to the first key that is not less than key.
func (it *Iterator) SeekGE(key []byte) bool {
	return it.bound() && it.check(it.c.SeekGE(it.clip(key)), (*tree.Cursor).Next)
}

// SeekLT goes to the last key that is less than key.
func (it *Iterator) SeekLT(key []byte) bool {
	return it.bound() && it.check(it.c.SeekLT(it.clip(key)), (*tree.Cursor).Prev)
}

// Next goes to the next key. On an iterator that is at none it does nothing.
func (it *Iterator) Next() bool {
	switch {
	case !it.valid || !it.bound():
		return false
	case it.isMoved():
		return it.check(it.c.SeekGE(append(it.clip(it.Key()), 0)), (*tree.Cursor).Next)
	}
	return it.check(it.c.Next(), (*tree.Cursor).Next)
}

// Prev goes to the key before. On an iterator that is at none it does nothing.
func (it *Iterator) Prev() bool {
	switch {
	case !it.valid || !it.bound():
		return false
	case it.isMoved():
		return it.check(it.c.SeekLT(it.clip(it.Key())), (*tree.Cursor).Prev)
	}
	return it.check(it.c.Prev(), (*tree.Cursor).Prev)
}

// bound sets the bounds for the generation that the keyspace has now. It returns false,
// and sets the error, if it was dropped.
func (it *Iterator) bound() bool {
	gen, err := it.ks.generation()
	if err != nil {
		it.valid, it.err = false, err
		return false
	}
	if it.lower != nil && it.lower[1] == gen {
		return true
	}
	it.lower, it.upper = it.ks.appendBounds(it.lower[:0], it.upper[:0], gen, it.o.Lower, it.o.Upper)
	return true
}

// isMoved tells whether the cursor is at a key of an older generation.
func (it *Iterator) isMoved() bool { return it.c.Key()[1] != it.lower[1] }

// clip returns the tree's key for key, or the bound that it is beyond.
func (it *Iterator) clip(key []byte) []byte {
	it.seek = append(append(it.seek[:0], it.lower[:tree.OwnerBytes]...), key...)
	switch {
	case bytes.Compare(it.seek, it.lower) < 0:
		it.seek = append(it.seek[:0], it.lower...)
	case bytes.Compare(it.seek, it.upper) > 0:
		it.seek = append(it.seek[:0], it.upper...)
	}
	return it.seek
}

// check ends a move that has come to a key, or not. A key whose long value is gone
// by the time that it is read is passed over, with step.
func (it *Iterator) check(ok bool, step func(*tree.Cursor) bool) bool {
	it.valid, it.err, it.long = false, nil, false
	for ; ; ok = step(it.c) {
		switch {
		case it.ks.db.closed.Load():
			it.err = ErrClosed
			return false
		case !ok:
			if err := it.c.Err(); err != nil {
				it.err = it.ks.db.readError(err)
			}
			return false
		case !it.within(it.c.Key()):
			return false
		}
		if it.ks.db.expired(it.c.Expiry()) {
			continue
		}
		if it.long = it.c.Long(); it.long {
			if err := it.load(); errors.Is(err, ErrNotFound) {
				continue
			} else if err != nil {
				it.err = err
				return false
			}
		}
		it.valid = true
		return true
	}
}

// within tells whether key, one of the tree, is inside the bounds.
func (it *Iterator) within(key []byte) bool {
	return bytes.Compare(key, it.upper) < 0 && bytes.Compare(key, it.lower) >= 0
}

// load reads the long value that the cursor is at.
func (it *Iterator) load() (err error) {
	if it.o.KeysOnly {
		ref, err := it.ks.db.parseRef(it.c.Value())
		it.value, it.size = nil, ref.Bytes
		return err
	}
	it.value, err = it.ks.db.readLong(it.value[:0], it.c.Key(), it.c.Value(), 0, wholeValue)
	it.size = len(it.value)
	return err
}

// Valid tells whether the iterator is at a key.
func (it *Iterator) Valid() bool { return it.valid }

// Key returns the key. It is valid until the next move.
func (it *Iterator) Key() []byte {
	if key := it.c.Key(); len(key) >= tree.OwnerBytes {
		return key[tree.OwnerBytes:]
	}
	return nil
}

// Value returns the value. It is valid until the next move.
func (it *Iterator) Value() []byte {
	if it.long {
		return it.value
	}
	return it.c.Value()
}

// ValueBytes returns the length of the value, also of one that is not read.
func (it *Iterator) ValueBytes() int {
	if it.long {
		return it.size
	}
	return len(it.c.Value())
}

// Expiry returns when the key expires; the zero time is never.
func (it *Iterator) Expiry() time.Time { return timeOf(it.c.Expiry()) }

// Err returns the error that ended a move, or nil.
func (it *Iterator) Err() error { return it.err }

// Close ends the use of the iterator, and returns Err.
func (it *Iterator) Close() error {
	it.valid = false
	return it.err
}
