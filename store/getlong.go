package store

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"faultline/flusher"
	"faultline/internal/disk"
	"faultline/pagemeta"
	"faultline/store/tree"
)

// GetRange returns n bytes of the value of key, from offset on, in memory of its own:
// fewer where the value ends before. Of a long value only the pages with these bytes
// are read. Errors as for Get; offset and n must not be negative.
func (ks *Keyspace) GetRange(key []byte, offset, n int64) ([]byte, error) {
	return ks.AppendGetRange([]byte{}, key, offset, n)
}

// AppendGetRange is GetRange that appends to dst. A value that is written at the same
// time is read as it was or as it is then, never as a mixture. With an error it
// returns dst.
func (ks *Keyspace) AppendGetRange(dst, key []byte, offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 {
		return dst, fmt.Errorf("range of %d bytes from %d on", n, offset)
	}
	return ks.appendSpan(dst, key, portion{offset: offset, n: n})
}

// AppendGetSpan is AppendGetRange of a range that depends on the length of the value, as
// one that is counted from its end: place is told the length, and returns offset and n. It
// is called once, or again if a writer has overtaken the read, and never with the length of
// another value than the one that is read.
func (ks *Keyspace) AppendGetSpan(dst, key []byte, place func(bytes int64) (offset, n int64)) ([]byte, error) {
	return ks.appendSpan(dst, key, portion{place: place})
}

// A portion is a part of a value: n bytes from offset on, or what place says.
type portion struct {
	offset, n int64
	place     func(bytes int64) (offset, n int64)
}

// whole is all of a value.
var whole = portion{n: math.MaxInt64}

// in returns what the portion is of a value of so many bytes: as far as there are such.
func (s *portion) in(bytes int) (offset, n int64) {
	offset, n = s.offset, s.n
	if s.place != nil {
		offset, n = s.place(int64(bytes))
	}
	offset = min(max(offset, 0), int64(bytes))
	return offset, min(max(n, 0), int64(bytes)-offset)
}

// appendSpan is AppendGetRange of a key of the tree.
func (db *DB) appendSpan(dst, key []byte, s portion) ([]byte, error) {
	if db.closed.Load() {
		return dst, ErrClosed
	}
	value, found, _, err := db.lookup(dst, key)
	if err != nil {
		return dst, err
	}
	if found == tree.Long {
		return db.readLong(dst, key, value[len(dst):], s)
	}
	offset, n := s.in(len(value) - len(dst))
	if offset == 0 {
		return value[:len(dst)+int(n)], nil
	}
	return append(dst, value[len(dst):][offset:offset+n]...), nil
}

// ValueBytes returns the length of the value of key, or ErrNotFound. It reads nothing of
// a long value.
func (ks *Keyspace) ValueBytes(key []byte) (int, error) {
	if len(key) > MaxKeyBytes {
		return 0, ErrNotFound
	}
	var memory [tree.MaxKeyBytes]byte
	k, err := ks.appendKey(memory[:0], key)
	if err != nil {
		return 0, err
	}
	return ks.db.valueBytes(k)
}

// valueBytes is ValueBytes of a key of the tree.
func (db *DB) valueBytes(key []byte) (int, error) {
	var buf [tree.MaxEntryBytes]byte
	value, found, _, err := db.lookup(buf[:0], key)
	if err != nil {
		return 0, err
	}
	if found == tree.Short {
		return len(value), nil
	}
	r, err := db.parseRef(value)
	return r.Bytes, err
}

// readLong is appendSpan for a key that had a long value a moment ago, with ref.
// It reads without a lock. Pages of a value that is there are not written to, so
// whatever is wrong with them is no error if the key has another value by now.
func (db *DB) readLong(dst, key, ref []byte, s portion) ([]byte, error) {
	r, err := db.parseRef(ref)
	for err == nil {
		value, cause := db.readRef(dst, r, s)
		if cause == nil && !db.closed.Load() {
			return value, nil
		}
		var long bool
		if r, long, err = db.refNow(key, r, cause); err == nil && !long {
			return db.appendSpan(dst, key, s)
		}
	}
	return dst, err
}

// refNow returns what leads to the value of key now, if that is a long one. If it is what
// led there before, then cause, why it cannot be read.
func (db *DB) refNow(key []byte, before tree.Ref, cause error) (now tree.Ref, long bool, err error) {
	var memory [tree.MaxEntryBytes]byte
	ref, found, _, err := db.find(memory[:0], key)
	switch {
	case db.closed.Load():
		return now, false, ErrClosed
	case err != nil:
		return now, false, db.readError(err)
	case found != tree.Long:
		return now, false, nil
	case string(ref) == string(before.Append(nil)):
		return now, true, cause
	}
	now, err = db.parseRef(ref)
	return now, true, err
}

// parseRef is tree.ParseRef with the limits of the store.
func (db *DB) parseRef(b []byte) (tree.Ref, error) {
	r, err := tree.ParseRef(b)
	if err == nil && (r.Bytes > MaxValueBytes || valuePages(r.Bytes) != tree.Pages(r.Extents)) {
		err = fmt.Errorf("a value of %d bytes in %d pages", r.Bytes, tree.Pages(r.Extents))
	}
	if err != nil {
		return r, &disk.CorruptError{File: filepath.Join(db.dir, "data"), Err: err}
	}
	return r, nil
}

// readRef appends s of the value that r leads to.
func (db *DB) readRef(dst []byte, r tree.Ref, s portion) ([]byte, error) {
	offset, n := s.in(r.Bytes)
	out := slices.Grow(dst, int(n))[:len(dst)+int(n)]
	rest := out[len(dst):]
	index, skip := int(offset)/flusher.ValuePageBytes, int(offset)%flusher.ValuePageBytes
	first := 0 // the place of the extent in the value
	for _, e := range r.Extents {
		if from := index - first; from < int(e.Pages) && len(rest) > 0 {
			part := rest[:min(len(rest), (int(e.Pages)-from)*flusher.ValuePageBytes-skip)]
			if err := db.flusher.ReadValue(part, e.Page+pagemeta.PageID(from), r.ID, index, skip); err != nil {
				return dst, err
			}
			rest, skip = rest[len(part):], 0
			index = first + int(e.Pages)
		}
		first += int(e.Pages)
	}
	return out, nil
}

// checkValue reads the pages of the value that r leads to from the disk, for Verify.
func (db *DB) checkValue(r tree.Ref) error {
	if _, err := db.parseRef(r.Append(nil)); err != nil {
		return err
	}
	index := 0
	for _, e := range r.Extents {
		if err := db.flusher.CheckValue(e.Page, int(e.Pages), r.ID, index); err != nil {
			return err
		}
		index += int(e.Pages)
	}
	return nil
}
