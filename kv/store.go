package kv

import (
	"context"
	"iter"
	"time"
)

// A Store is a set of keys with values, and other such sets by their names, its
// keyspaces.
type Store interface {
	Keyspace

	// Space returns a keyspace, made if there is none of this name. "" is the one
	// that the Store itself is.
	Space(name string) (Keyspace, error)

	// Close ends the use of the Store. Later calls return ErrClosed.
	Close() error
}

// A Keyspace is a set of keys with values.
type Keyspace interface {
	Reader
	Writer
}

// A Reader reads keys.
type Reader interface {
	// Get returns the value of key, or ErrNotFound.
	Get(key []byte) ([]byte, error)

	// GetRange returns n bytes of the value of key, from offset on: fewer where
	// the value ends before. Errors as for Get; offset and n must not be negative.
	GetRange(key []byte, offset, n int64) ([]byte, error)

	// GetAll reads the values of keys as they are at one moment, and then calls visit
	// with each in turn: with its place in keys and the value, which is valid until
	// visit returns, or with ErrNotFound. It returns the first error of visit, which
	// ends it. All values are in memory at once.
	GetAll(keys [][]byte, visit func(i int, value []byte, err error) error) error

	// Has tells whether key is there.
	Has(key []byte) (bool, error)

	// Expiry returns when key expires, or ErrNotFound.
	Expiry(key []byte) (time.Time, error)

	// Count returns how many keys there are in a range. Of all keys it takes no time, and
	// counts also those that have expired and are not yet reclaimed.
	Count(lower, upper []byte) (uint64, error)

	// Range walks the keys of a range in order. Key and value are valid until the
	// next turn of the loop. An error ends the walk, and comes with an empty Item.
	//
	// It is not one moment of the store: a key that is there all the time is
	// returned once, and none that is not there; of others nothing is said.
	Range(lower, upper []byte) iter.Seq2[Item, error]

	// Backward is Range from the last key to the first.
	Backward(lower, upper []byte) iter.Seq2[Item, error]
}

// A Writer writes keys. Errors of all methods: ErrEmptyKey, ErrTooLarge, ErrFull,
// ErrNoSpace, ErrReadOnly, ErrStopped, ErrClosed.
type Writer interface {
	// Put sets key to value. A time at which it was to expire is gone.
	Put(key, value []byte, d Durability) error

	// PutExpiring is Put of a key that expires at a time.
	PutExpiring(key, value []byte, at time.Time, d Durability) error

	// PutIfAbsent is Put if key is not there, and tells whether it was not.
	PutIfAbsent(key, value []byte, d Durability) (put bool, err error)

	// PutIfPresent is Put if key is there, and tells whether it was.
	PutIfPresent(key, value []byte, d Durability) (put bool, err error)

	// Expire sets when key expires, and tells whether it was there.
	Expire(key []byte, at time.Time, d Durability) (found bool, err error)

	// Delete removes key; it is no error if there is no such key.
	Delete(key []byte, d Durability) error

	// DeleteRange removes the keys of a range, and returns how many it has removed, among
	// them those that have expired and were not yet reclaimed. It goes in steps: an error,
	// that of ctx too, may come when some are gone.
	DeleteRange(ctx context.Context, lower, upper []byte, d Durability) (deleted uint64, err error)

	// Clear removes all keys at once, whatever their number, and returns when that is on
	// disk.
	Clear(ctx context.Context) error

	// Write makes the writes that fn puts into the Batch, all or none. An error of fn
	// is returned, and nothing has changed. Put alone is cheaper for one write.
	Write(ctx context.Context, d Durability, fn func(Batch) error) error

	// Update makes the writes of fn, all or none, at a moment at which all that fn has
	// read is still so: nobody else's write comes between. For that fn may run more
	// than once, so it must not leave traces elsewhere. An error of fn ends it and is
	// returned, and nothing has changed.
	//
	// Keys are those that fn is known to touch: naming them saves runs in vain when
	// many want the same ones. It may touch others too. It must not call Update.
	Update(ctx context.Context, keys [][]byte, d Durability, fn func(Tx) error) error
}

// A Batch collects writes to be made together. Later ones to a key win. It is valid
// until the function that has got it returns, and used by one goroutine at a time.
// Errors are those of Writer; of a write that returns one nothing is kept.
type Batch interface {
	Put(key, value []byte) error
	PutExpiring(key, value []byte, at time.Time) error
	Delete(key []byte) error

	// SetExpiry sets when key expires, if it is there.
	SetExpiry(key []byte, at time.Time) error
}

// A Tx is a Batch that reads, its own writes among it.
type Tx interface {
	Batch
	Get(key []byte) ([]byte, error)
	Has(key []byte) (bool, error)
	Expiry(key []byte) (time.Time, error)
}
