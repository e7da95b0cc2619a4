package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// PutReader sets key to what r has, without taking all of it into memory: some
// hundred KiB at a time. size is how many bytes that are, and no more are read; -1
// says up to the end of r. The key has its old value until all is read.
//
// A value that is being read takes one of 12 places in the store; one more waits
// for a place until ctx ends. A value that fits a few pages takes none. ctx is looked
// at between reads of some hundred KiB: it does not end one.
//
// Errors: those of Put, that of ctx, that of r, and io.ErrUnexpectedEOF if r ends
// before size. Nothing has changed then.
func (ks *Keyspace) PutReader(ctx context.Context, key []byte, r io.Reader, size int64, d Durability) error {
	if err := checkEntry(len(key), size); err != nil {
		return err
	}
	buf := pieceBuffers.Get().(*[]byte)
	defer pieceBuffers.Put(buf)
	if size >= 0 {
		r = io.LimitReader(r, size)
	}
	read := int64(0)
	next := func() (piece []byte, last bool, err error) {
		n, err := io.ReadFull(r, (*buf)[:ks.db.opts.pieceBytes])
		read += int64(n)
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			err, last = nil, true
			if size >= 0 && read < size {
				err = io.ErrUnexpectedEOF
			}
		case read == size:
			last = true
		}
		if err != nil {
			err = fmt.Errorf("read value: %w", err)
		}
		return (*buf)[:n], last, err
	}
	return ks.putPieces(ctx, key, next, size, 0, d)
}

var pieceBuffers = sync.Pool{New: func() any {
	b := make([]byte, pieceBytes)
	return &b
}}

// putLong is Put of a value that is larger than a piece.
func (ks *Keyspace) putLong(ctx context.Context, key, value []byte, expiry uint64, d Durability) error {
	if err := checkEntry(len(key), int64(len(value))); err != nil {
		return err
	}
	rest := value
	next := func() (piece []byte, last bool, err error) {
		n := min(len(rest), ks.db.opts.pieceBytes)
		piece, rest = rest[:n], rest[n:]
		return piece, len(rest) == 0, nil
	}
	return ks.putPieces(ctx, key, next, int64(len(value)), expiry, d)
}

// putPieces sets key to the pieces that next returns; the last may be empty. size
// is their length, or -1. The key expires at expiry, unless that is 0.
func (ks *Keyspace) putPieces(ctx context.Context, key []byte, next func() ([]byte, bool, error), size int64, expiry uint64, d Durability) error {
	db := ks.db
	b := batches.Get().(*Batch)
	defer batches.Put(b)
	b.begin(ks)
	piece, last, err := next()
	if err != nil {
		return err
	}
	if last {
		if err := b.put(key, piece, expiry); err != nil {
			return err
		}
		_, err = db.ApplyContext(ctx, b, d)
		return err
	}
	if err := db.writable(); err != nil {
		return err
	}
	if err := db.open.take(ctx, 1); err != nil {
		return err
	}
	defer db.open.give(1)
	v, err := db.openValue(ctx, size)
	if err != nil {
		return err
	}
	defer db.closeValue(v)
	for {
		if err := db.receive(ctx, v, piece); err != nil {
			return err
		}
		if last {
			break
		}
		if piece, last, err = next(); err != nil {
			return err
		}
	}
	b.putLong(ks.slot, key, v, expiry)
	lsn, err := db.commit(ctx, b)
	if err != nil {
		return err
	}
	return db.wait(ctx, lsn, d)
}

// openValue makes a value that has a place, and takes the room for it if its size is
// known.
func (db *DB) openValue(ctx context.Context, size int64) (*longValue, error) {
	if err := db.reserveLog(ctx, dropBytes, true); err != nil { // for abandon
		return nil, err
	}
	v := newLongValue()
	if err := db.hold(ctx, v, valuePages(int(max(size, 0)))); err != nil {
		db.log.Release(dropBytes)
		return nil, err
	}
	db.open.add(v)
	return v, nil
}

// closeValue ends what openValue has begun, and drops the value if no key has it.
func (db *DB) closeValue(v *longValue) {
	if !v.taken {
		db.abandon(v)
	}
	db.log.Release(dropBytes)
}

// receive appends a piece to v: to its pages, then to the log.
func (db *DB) receive(ctx context.Context, v *longValue, piece []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(piece) == 0 {
		return nil
	}
	if n := v.ref.Bytes + len(piece); n > MaxValueBytes {
		return tooLong(int64(n))
	}
	if err := db.grow(ctx, v, valuePages(v.ref.Bytes+len(piece))); err != nil {
		return err
	}
	if err := db.write(v, piece); err != nil {
		return err
	}
	return db.save(ctx, v, piece)
}
