package client

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// errConflict says that somebody has changed a key that a transaction watches.
var errConflict = errors.New("a key was changed meanwhile")

// Write makes the writes that fn puts into the Batch, all or none. An error of fn is
// returned, and nothing has changed. They are sent when fn has returned.
func (k *Keyspace) Write(ctx context.Context, d kv.Durability, fn func(kv.Batch) error) error {
	var b batch
	if err := fn(&b); err != nil || len(b.writes) == 0 {
		return err
	}
	_, err := k.transact(ctx, d, b.bytes > longBytes, b.commands)
	return err
}

// A batch collects writes. It implements kv.Batch.
type batch struct {
	writes []write
	bytes  int
}

// A write is one of a batch.
type write struct {
	kind       kind
	key, value string
	at         time.Time
}

type kind uint8

const (
	put kind = iota
	remove
	setExpiry
)

func (b *batch) Put(key, value []byte) error { return b.PutExpiring(key, value, time.Time{}) }

func (b *batch) PutExpiring(key, value []byte, at time.Time) error {
	return b.add(write{put, string(key), string(value), at})
}

func (b *batch) Delete(key []byte) error { return b.add(write{kind: remove, key: string(key)}) }

func (b *batch) SetExpiry(key []byte, at time.Time) error {
	return b.add(write{kind: setExpiry, key: string(key), at: at})
}

func (b *batch) add(w write) error {
	if w.key == "" {
		return kv.ErrEmptyKey
	}
	b.writes = append(b.writes, w)
	b.bytes += len(w.key) + len(w.value)
	return nil
}

// commands returns the writes as commands, in their order.
func (b *batch) commands(to rueidis.Builder) []rueidis.Completed {
	commands := make([]rueidis.Completed, 0, len(b.writes))
	for _, w := range b.writes {
		commands = append(commands, w.command(to))
	}
	return commands
}

func (w *write) command(to rueidis.Builder) rueidis.Completed {
	switch {
	case w.kind == remove:
		return to.Del().Key(w.key).Build()
	case w.kind == setExpiry && w.at.IsZero():
		return to.Persist().Key(w.key).Build()
	case w.kind == setExpiry:
		return to.Arbitrary("PEXPIREAT").Keys(w.key).Args(unixMilli(w.at)).Build()
	}
	set := to.Arbitrary("SET").Keys(w.key).Args(w.value)
	if !w.at.IsZero() {
		set = set.Args("PXAT", unixMilli(w.at))
	}
	return set.Build()
}

// transact makes the writes of commands in one transaction, waits as d says, and
// returns their replies. A long one has a connection for itself.
func (k *Keyspace) transact(ctx context.Context, d kv.Durability, long bool, commands func(rueidis.Builder) []rueidis.Completed) ([]rueidis.RedisMessage, error) {
	ask, err := k.link.mustAsk(ctx, d)
	if err != nil {
		return nil, err
	}
	replies := k.link.doAll(ctx, func(b rueidis.Builder) []rueidis.Completed {
		return transaction(b, commands(b), long, ask)
	})
	return k.link.executed(replies, ask)
}

// transaction puts MULTI and EXEC around commands, and WAITAOF behind them.
func transaction(b rueidis.Builder, commands []rueidis.Completed, long, ask bool) []rueidis.Completed {
	begin := b.Multi().Build
	if long {
		begin = b.Arbitrary("MULTI").Blocking
	}
	all := make([]rueidis.Completed, 0, len(commands)+3)
	all = append(append(append(all, begin()), commands...), b.Exec().Build())
	if ask {
		all = append(all, waitDurable(b))
	}
	return all
}

// executed returns what a transaction has replied. The server makes all of its writes
// or none; an error of one of them is that of all.
func (l *link) executed(replies []rueidis.RedisResult, ask bool) ([]rueidis.RedisMessage, error) {
	end := len(replies)
	if ask {
		end--
	}
	if err := firstError(replies[:end]); err != nil {
		return nil, l.err(err)
	}
	results, err := replies[end-1].ToArray()
	if rueidis.IsRedisNil(err) {
		return nil, errConflict
	}
	if err != nil {
		return nil, l.err(err)
	}
	for _, m := range results {
		if err := m.Error(); err != nil && !rueidis.IsRedisNil(err) {
			return nil, l.err(err)
		}
	}
	if ask {
		return results, l.durable(replies[end])
	}
	return results, nil
}
