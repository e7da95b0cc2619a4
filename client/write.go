package client

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// longBytes is the size of a value above which it has a connection for itself, so
// that nobody waits behind it.
const longBytes = 1 << 20

// Put sets key to value. Key and value may be used again when it returns. Errors:
// those of kv.Writer, of the connection, and of the context.
func (k *Keyspace) Put(key, value []byte, d kv.Durability) error {
	_, err := k.set(k.ctx, d, key, value)
	return err
}

// PutExpiring is Put of a key that expires at a time, by the clock of the server, to
// the millisecond; the zero time is never.
func (k *Keyspace) PutExpiring(key, value []byte, at time.Time, d kv.Durability) error {
	if at.IsZero() {
		return k.Put(key, value, d)
	}
	_, err := k.set(k.ctx, d, key, value, "PXAT", unixMilli(at))
	return err
}

// PutIfAbsent is Put if key is not there, and tells whether it was not.
func (k *Keyspace) PutIfAbsent(key, value []byte, d kv.Durability) (put bool, err error) {
	return k.set(k.ctx, d, key, value, "NX")
}

// PutIfPresent is Put if key is there, and tells whether it was.
func (k *Keyspace) PutIfPresent(key, value []byte, d kv.Durability) (put bool, err error) {
	return k.set(k.ctx, d, key, value, "XX")
}

// Expire sets when key expires, and tells whether it was there; the zero time is
// never.
func (k *Keyspace) Expire(key []byte, at time.Time, d kv.Durability) (found bool, err error) {
	switch {
	case len(key) == 0:
		return false, kv.ErrEmptyKey
	case at.IsZero():
		return k.persist(key, d)
	}
	m, err := k.write(k.ctx, d, func(b rueidis.Builder) rueidis.Completed {
		return b.Arbitrary("PEXPIREAT").Keys(string(key)).Args(unixMilli(at)).Build()
	})
	if err != nil {
		return false, err
	}
	return m.AsBool()
}

// persist makes key stay for ever, and tells whether it was there. PERSIST alone
// says no more than whether it was to expire.
func (k *Keyspace) persist(key []byte, d kv.Durability) (found bool, err error) {
	replies, err := k.transact(k.ctx, d, false, func(b rueidis.Builder) []rueidis.Completed {
		return []rueidis.Completed{b.Exists().Key(string(key)).Build(), b.Persist().Key(string(key)).Build()}
	})
	if err != nil {
		return false, err
	}
	return replies[0].AsBool()
}

// Delete removes key; it is no error if there is no such key. Errors as for Put.
func (k *Keyspace) Delete(key []byte, d kv.Durability) error {
	if len(key) == 0 {
		return kv.ErrEmptyKey
	}
	_, err := k.write(k.ctx, d, func(b rueidis.Builder) rueidis.Completed {
		return b.Del().Key(string(key)).Build()
	})
	return err
}

// DeleteRange removes the keys from lower on and below upper, nil is no bound, and
// returns how many it has removed. The server does it in steps: after an error, that
// of ctx too, some may be gone.
func (k *Keyspace) DeleteRange(ctx context.Context, lower, upper []byte, d kv.Durability) (deleted uint64, err error) {
	m, err := k.write(ctx, d, func(b rueidis.Builder) rueidis.Completed {
		return b.Arbitrary("KV.DELRANGE").Args(atLeast(lower), below(upper)).Blocking()
	})
	if err != nil {
		return 0, err
	}
	return m.AsUint64()
}

// set sends SET with options, and tells whether it did anything.
func (k *Keyspace) set(ctx context.Context, d kv.Durability, key, value []byte, options ...string) (bool, error) {
	if len(key) == 0 {
		return false, kv.ErrEmptyKey
	}
	m, err := k.write(ctx, d, func(b rueidis.Builder) rueidis.Completed {
		return buildSet(b, key, value, options...)
	})
	return err == nil && !m.IsNil(), err
}

// buildSet copies key and value: a command may be sent after its caller has given up.
func buildSet(b rueidis.Builder, key, value []byte, options ...string) rueidis.Completed {
	set := b.Arbitrary("SET").Keys(string(key)).Args(string(value)).Args(options...)
	if len(value) > longBytes {
		return set.Blocking()
	}
	return set.Build()
}

// write sends the command of a write and waits as d says. A reply of nil is no error.
func (k *Keyspace) write(ctx context.Context, d kv.Durability, build func(rueidis.Builder) rueidis.Completed) (rueidis.RedisMessage, error) {
	ask, err := k.link.mustAsk(ctx, d)
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	if !ask {
		return k.link.do(ctx, build)
	}
	replies := k.link.doAll(ctx, func(b rueidis.Builder) []rueidis.Completed {
		return []rueidis.Completed{build(b), waitDurable(b)}
	})
	if err := firstError(replies[:1]); err != nil {
		return rueidis.RedisMessage{}, k.link.err(err)
	}
	m, _ := replies[0].ToMessage() // an error is that it is nil
	return m, k.link.durable(replies[1])
}

// unixMilli returns a time as Redis takes it. What is before 1970 has expired as well
// as what is a moment after.
func unixMilli(at time.Time) string { return strconv.FormatInt(max(at.UnixMilli(), 1), 10) }
