package store

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"faultline/kv"
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
	db    *DB
	c     *tree.Cursor
	o     IterOptions
	valid bool
	err   error

	long  bool   // the value is, or was when the cursor came: value and size say what it is
	value []byte // nil if it was not read
	size  int
}

// NewIterator returns an iterator that is at no key yet. Nil options are no
// bounds.
func (db *DB) NewIterator(o *IterOptions) (*Iterator, error) {
	if err := db.usable(); err != nil {
		return nil, err
	}
	it := &Iterator{db: db, c: db.tree.NewCursor()}
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
	if it.o.Upper == nil {
		return it.check(it.c.Last(), (*tree.Cursor).Prev)
	}
	return it.check(it.c.SeekLT(it.o.Upper), (*tree.Cursor).Prev)
}

// SeekGE goes to the first key that is not less than key.
func (it *Iterator) SeekGE(key []byte) bool {
	if bytes.Compare(key, it.o.Lower) < 0 {
		key = it.o.Lower
	}
	return it.check(it.c.SeekGE(key), (*tree.Cursor).Next)
}

// SeekLT goes to the last key that is less than key.
func (it *Iterator) SeekLT(key []byte) bool {
	if it.o.Upper != nil && bytes.Compare(key, it.o.Upper) > 0 {
		key = it.o.Upper
	}
	return it.check(it.c.SeekLT(key), (*tree.Cursor).Prev)
}

// Next goes to the next key. On an iterator that is at none it does nothing.
func (it *Iterator) Next() bool { return it.valid && it.check(it.c.Next(), (*tree.Cursor).Next) }

// Prev goes to the key before. On an iterator that is at none it does nothing.
func (it *Iterator) Prev() bool { return it.valid && it.check(it.c.Prev(), (*tree.Cursor).Prev) }

// check ends a move that has come to a key, or not. A key whose long value is gone
// by the time that it is read is passed over, with step.
func (it *Iterator) check(ok bool, step func(*tree.Cursor) bool) bool {
	it.valid, it.err, it.long = false, nil, false
	for ; ; ok = step(it.c) {
		switch {
		case it.db.closed.Load():
			it.err = ErrClosed
			return false
		case !ok:
			if err := it.c.Err(); err != nil {
				it.err = it.db.readError(err)
			}
			return false
		case !it.within(it.c.Key()):
			return false
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

// within tells whether key is inside the bounds.
func (it *Iterator) within(key []byte) bool {
	return (it.o.Upper == nil || bytes.Compare(key, it.o.Upper) < 0) && bytes.Compare(key, it.o.Lower) >= 0
}

// load reads the long value that the cursor is at.
func (it *Iterator) load() (err error) {
	if it.o.KeysOnly {
		ref, err := it.db.parseRef(it.c.Value())
		it.value, it.size = nil, ref.Bytes
		return err
	}
	it.value, err = it.db.readLong(it.value[:0], it.c.Key(), it.c.Value(), 0, wholeValue)
	it.size = len(it.value)
	return err
}

// Valid tells whether the iterator is at a key.
func (it *Iterator) Valid() bool { return it.valid }

// Key returns the key. It is valid until the next move.
func (it *Iterator) Key() []byte { return it.c.Key() }

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

// Err returns the error that ended a move, or nil.
func (it *Iterator) Err() error { return it.err }

// Close ends the use of the iterator, and returns Err.
func (it *Iterator) Close() error {
	it.valid = false
	return it.err
}

// An Item is a key with its value.
type Item = kv.Item

// All walks all keys in order, as an Iterator does. Key and value are valid until
// the next turn of the loop. An error ends the walk, and comes with an empty
// Item.
func (db *DB) All() iter.Seq2[Item, error] { return db.Range(nil, nil) }

// Range walks the keys from lower on that are less than upper, in order; nil is
// no bound. See All.
func (db *DB) Range(lower, upper []byte) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		it, err := db.NewIterator(&IterOptions{Lower: lower, Upper: upper})
		if err != nil {
			yield(Item{}, err)
			return
		}
		for ok := it.First(); ok; ok = it.Next() {
			if !yield(Item{Key: it.Key(), Value: it.Value()}, nil) {
				return
			}
		}
		if err := it.Close(); err != nil {
			yield(Item{}, err)
		}
	}
}
