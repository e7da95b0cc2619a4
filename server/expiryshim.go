package server

import (
	"errors"
	"time"

	"faultline/store"
)

var errNoExpiry = errors.New("keys do not expire yet")

func expiryOf(v view, key []byte) (time.Time, error) {
	found, err := v.Has(key)
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return time.Time{}, err
}

func setExpiry(tx *store.Tx, key []byte, at time.Time) error { return errNoExpiry }

func putUntil(w writer, key, value []byte, at time.Time) error {
	if !at.IsZero() {
		return errNoExpiry
	}
	return w.Put(key, value)
}

func putLong(ks keyspace, key, value []byte, at time.Time) error {
	if !at.IsZero() {
		return errNoExpiry
	}
	return ks.Put(key, value, store.Deferred)
}
