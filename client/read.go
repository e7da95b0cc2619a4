package client

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// Get returns the value of key, in memory of its own, or kv.ErrNotFound.
func (k *Keyspace) Get(key []byte) ([]byte, error) {
	get := k.link.B().Get().Key(string(key))
	if ttl := k.link.shared.opts.cacheTTL; ttl > 0 {
		value, err := k.link.DoCache(k.ctx, get.Cache(), ttl).AsBytes()
		return bytes.Clone(value), k.link.err(err) // the cache keeps it
	}
	value, err := k.link.Do(k.ctx, get.Build()).AsBytes()
	return value, k.link.err(err)
}

// GetRange returns n bytes of the value of key, from offset on: fewer where the value
// ends before. Errors as for Get; offset and n must not be negative.
func (k *Keyspace) GetRange(key []byte, offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 {
		return nil, fmt.Errorf("range of %d bytes from %d on", n, offset)
	}
	if n > 0 {
		value, err := k.link.Do(k.ctx, k.getRange(key, offset, n)).AsBytes()
		if err != nil || len(value) > 0 {
			return value, k.link.err(err)
		}
	}
	return k.emptyRange(key, offset, n)
}

// emptyRange is GetRange of no bytes, or of what seems to be none: GETRANGE does not
// tell whether there is such a key.
func (k *Keyspace) emptyRange(key []byte, offset, n int64) ([]byte, error) {
	b := k.link.B()
	replies := k.link.DoMulti(k.ctx, b.Multi().Build(),
		b.Exists().Key(string(key)).Build(), k.getRange(key, offset, max(n, 1)), b.Exec().Build())
	both, err := replies[3].ToArray()
	if err != nil {
		return nil, k.link.err(err)
	}
	if there, err := both[0].AsBool(); err != nil || !there {
		return nil, cmp.Or(k.link.err(err), kv.ErrNotFound)
	}
	value, err := both[1].AsBytes()
	return value[:min(n, int64(len(value)))], k.link.err(err)
}

func (k *Keyspace) getRange(key []byte, offset, n int64) rueidis.Completed {
	last := offset + min(n-1, math.MaxInt64-offset)
	return k.link.B().Getrange().Key(string(key)).Start(offset).End(last).Build()
}

// GetAll reads the values of keys as they are at one moment, and then calls visit with
// each in turn: with its place in keys and the value, which is valid until visit returns,
// or with kv.ErrNotFound. It returns the first error of visit, which ends it. All values
// are in memory at once.
func (k *Keyspace) GetAll(keys [][]byte, visit func(i int, value []byte, err error) error) error {
	if len(keys) == 0 {
		return nil
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = string(key)
	}
	values, err := k.link.Do(k.ctx, k.link.B().Mget().Key(names...).Build()).ToArray()
	if err != nil {
		return k.link.err(err)
	}
	for i, m := range values {
		value, err := m.AsBytes()
		if err := visit(i, value, k.link.err(err)); err != nil {
			return err
		}
	}
	return nil
}

// Has tells whether key is there.
func (k *Keyspace) Has(key []byte) (bool, error) {
	n, err := k.link.Do(k.ctx, k.link.B().Exists().Key(string(key)).Build()).AsInt64()
	return n > 0, k.link.err(err)
}

// Expiry returns when key expires, or kv.ErrNotFound; the zero time is never.
func (k *Keyspace) Expiry(key []byte) (time.Time, error) {
	ms, err := k.link.Do(k.ctx, k.link.B().Pexpiretime().Key(string(key)).Build()).AsInt64()
	if err != nil {
		return time.Time{}, k.link.err(err)
	}
	return expiry(ms)
}

// expiry is the time of a reply to PEXPIRETIME.
func expiry(ms int64) (time.Time, error) {
	switch {
	case ms == -2:
		return time.Time{}, kv.ErrNotFound
	case ms < 0:
		return time.Time{}, nil
	}
	return time.UnixMilli(ms), nil
}

// Count returns how many keys there are from lower on and below upper; nil is no
// bound.
func (k *Keyspace) Count(lower, upper []byte) (uint64, error) {
	b := k.link.B()
	count := b.Dbsize().Build()
	if lower != nil || upper != nil {
		count = b.Arbitrary("KV.COUNT").Args(atLeast(lower), below(upper)).ReadOnly()
	}
	n, err := k.link.Do(k.ctx, count).AsInt64()
	return uint64(n), k.link.err(err)
}

// Len returns the number of keys.
func (k *Keyspace) Len() (uint64, error) { return k.Count(nil, nil) }
