package store

import (
	"bytes"
	"errors"
	"slices"
	"sync"
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
	ks     *Keyspace
	o      IterOptions
	course *course // nil: closed
	valid  bool
	err    error
}

// A course is what an Iterator works with. Those that are closed leave theirs to others.
type course struct {
	cursor       *tree.Cursor
	gen          byte   // of the keyspace, when the bounds were set
	bounded      bool   // they were
	lower, upper []byte // keys of the tree: the bounds of the options, in generation gen
	seek         []byte // memory for a key of the tree

	long  bool   // the value is, or was when the cursor came: value and size say what it is
	value []byte // nil if it was not read
	size  int
}

var courses = sync.Pool{New: func() any { return new(course) }}

// NewIterator returns an iterator that is at no key yet. Nil options are no
// bounds. Close leaves its memory to the next one, and should be called.
func (ks *Keyspace) NewIterator(o *IterOptions) (*Iterator, error) {
	if err := ks.db.usable(); err != nil {
		return nil, err
	}
	if _, err := ks.generation(); err != nil {
		return nil, err
	}
	it := &Iterator{ks: ks, course: courses.Get().(*course)}
	it.course.cursor = ks.db.tree.NewCursor()
	if o != nil {
		it.o = IterOptions{slices.Clone(o.Lower), slices.Clone(o.Upper), o.KeysOnly}
	}
	return it, nil
}

// First goes to the first key. Like all moves it tells whether there is one: if
// not, Err tells whether that is the end or an error.
func (it *Iterator) First() bool { return it.SeekGE(it.o.Lower) }

// Last goes to the last key.
func (it *Iterator) Last() bool { return it.ready() && it.seekLT(it.course.upper) }

// SeekGE goes to the first key that is not less than key.
func (it *Iterator) SeekGE(key []byte) bool { return it.ready() && it.seekGE(it.clip(key)) }

// SeekLT goes to the last key that is less than key.
func (it *Iterator) SeekLT(key []byte) bool { return it.ready() && it.seekLT(it.clip(key)) }

func (it *Iterator) seekGE(key []byte) bool {
	return it.check(it.course.cursor.SeekGE(key), (*tree.Cursor).Next)
}

func (it *Iterator) seekLT(key []byte) bool {
	return it.check(it.course.cursor.SeekLT(key), (*tree.Cursor).Prev)
}

// Next goes to the next key. On an iterator that is at none it does nothing.
func (it *Iterator) Next() bool {
	switch {
	case !it.valid:
		return false
	case it.isMoved():
		key := it.Key()
		return it.ready() && it.seekGE(append(it.clip(key), 0))
	}
	if ok := it.course.cursor.Next(); !ok || !it.plain() {
		return it.check(ok, (*tree.Cursor).Next)
	}
	return true
}

// Prev goes to the key before. On an iterator that is at none it does nothing.
func (it *Iterator) Prev() bool {
	switch {
	case !it.valid:
		return false
	case it.isMoved():
		key := it.Key()
		return it.ready() && it.seekLT(it.clip(key))
	}
	if ok := it.course.cursor.Prev(); !ok || !it.plain() {
		return it.check(ok, (*tree.Cursor).Prev)
	}
	return true
}

// plain tells whether there is nothing to check after a move from a key to another.
func (it *Iterator) plain() bool {
	c := it.course
	return c.cursor.Plain() && !c.long && !it.ks.db.closed.Load()
}

// isMoved tells whether the cursor is at a key of an older generation.
func (it *Iterator) isMoved() bool { return it.ks.now.Load() != uint32(it.course.gen) }

// ready sets the bounds for the generation that the keyspace has now. It returns false,
// and sets the error, if it was dropped.
func (it *Iterator) ready() bool {
	c := it.course
	if c == nil {
		return false
	}
	gen, err := it.ks.generation()
	if err != nil {
		it.valid, it.err = false, err
		return false
	}
	if !c.bounded || c.gen != gen {
		c.lower, c.upper = it.ks.appendBounds(c.lower[:0], c.upper[:0], gen, it.o.Lower, it.o.Upper)
		c.cursor.Bound(c.lower, c.upper)
		c.gen, c.bounded = gen, true
	}
	return true
}

// clip returns the tree's key for key, or the bound that it is beyond.
func (it *Iterator) clip(key []byte) []byte {
	c := it.course
	c.seek = append(append(c.seek[:0], c.lower[:tree.OwnerBytes]...), key...)
	switch {
	case bytes.Compare(c.seek, c.lower) < 0:
		c.seek = append(c.seek[:0], c.lower...)
	case bytes.Compare(c.seek, c.upper) > 0:
		c.seek = append(c.seek[:0], c.upper...)
	}
	return c.seek
}

// check ends a move that has come to a key, or not. A key whose long value is gone
// by the time that it is read is passed over, with step.
func (it *Iterator) check(ok bool, step func(*tree.Cursor) bool) bool {
	c := it.course
	it.valid, it.err, c.long = false, nil, false
	for ; ; ok = step(c.cursor) {
		switch {
		case it.ks.db.closed.Load():
			it.err = ErrClosed
			return false
		case !ok:
			if err := c.cursor.Err(); err != nil {
				it.err = it.ks.db.readError(err)
			}
			return false
		case c.cursor.Plain():
			it.valid = true
			return true
		case it.ks.db.expired(c.cursor.Expiry()):
			continue
		}
		if c.long = c.cursor.Long(); c.long {
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

// load reads the long value that the cursor is at.
func (it *Iterator) load() (err error) {
	c := it.course
	if it.o.KeysOnly {
		ref, err := it.ks.db.parseRef(c.cursor.Value())
		c.value, c.size = nil, ref.Bytes
		return err
	}
	c.value, err = it.ks.db.readLong(c.value[:0], c.cursor.Key(), c.cursor.Value(), whole)
	c.size = len(c.value)
	return err
}

// Valid tells whether the iterator is at a key.
func (it *Iterator) Valid() bool { return it.valid }

// Key returns the key, or nil if the iterator is at none. It is valid until the next
// move, or Close.
func (it *Iterator) Key() []byte {
	if !it.valid {
		return nil
	}
	return it.course.cursor.Key()[tree.OwnerBytes:]
}

// Value returns the value, or nil if the iterator is at none. It is valid until the next
// move, or Close.
func (it *Iterator) Value() []byte {
	switch {
	case !it.valid:
		return nil
	case it.course.long:
		return it.course.value
	}
	return it.course.cursor.Value()
}

// ValueBytes returns the length of the value, also of one that is not read.
func (it *Iterator) ValueBytes() int {
	if it.valid && it.course.long {
		return it.course.size
	}
	return len(it.Value())
}

// Expiry returns when the key expires; the zero time is never.
func (it *Iterator) Expiry() time.Time {
	if !it.valid {
		return time.Time{}
	}
	return timeOf(it.course.cursor.Expiry())
}

// Err returns the error that ended a move, or nil.
func (it *Iterator) Err() error { return it.err }

// keptCourse is the largest memory for a long value that is left to another iterator.
const keptCourse = 64 << 10

// Close ends the use of the iterator, and returns Err. Moves do nothing any more.
func (it *Iterator) Close() error {
	it.valid = false
	if c := it.course; c != nil {
		it.course = nil
		c.cursor.Close()
		c.cursor, c.bounded, c.long = nil, false, false
		if cap(c.value) > keptCourse {
			c.value = nil
		}
		courses.Put(c)
	}
	return it.err
}
