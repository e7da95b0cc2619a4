package client

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// A policy is what is known of a server: whether it waits for its disk before every
// reply.
type policy struct{ known atomic.Int32 }

const (
	unknown      int32 = iota // there is a connection that it may not hold for
	waitsAlways               // every reply is durable
	waitsOnAsked              // WAITAOF
)

// forget is called for each new connection: the server may be another by then.
func (p *policy) forget() { p.known.Store(unknown) }

// mustAsk tells whether a write with d is durable only if the server is asked for it.
func (l *link) mustAsk(ctx context.Context, d kv.Durability) (bool, error) {
	if d != kv.Sync {
		return false, nil
	}
	known := l.sync.known.Load()
	if known == unknown {
		m, err := l.do(ctx, func(b rueidis.Builder) rueidis.Completed {
			return b.ConfigGet().Parameter("appendfsync").Build()
		})
		if err != nil {
			return false, fmt.Errorf("ask for appendfsync: %w", err)
		}
		config, err := m.AsStrMap()
		if err != nil {
			return false, fmt.Errorf("ask for appendfsync: %w", err)
		}
		known = waitsOnAsked
		if config["appendfsync"] == "always" {
			known = waitsAlways
		}
		l.sync.known.Store(known)
	}
	return known == waitsOnAsked, nil
}

// waitDurable is what follows the commands of a write on its connection. Such
// commands have a connection for themselves while they wait.
func waitDurable(b rueidis.Builder) rueidis.Completed {
	return b.Waitaof().Numlocal(1).Numreplicas(0).Timeout(0).Build()
}

// durable tells whether the server says, in reply to waitDurable, that the disk has
// all.
func (l *link) durable(reply rueidis.RedisResult) error {
	counts, err := reply.AsIntSlice()
	if err != nil {
		return fmt.Errorf("the write is made, but the server cannot wait for its disk: %w", l.err(err))
	}
	if len(counts) == 0 || counts[0] < 1 {
		return fmt.Errorf("the write is made, but the server does not say that its disk has it: %w", errors.ErrUnsupported)
	}
	return nil
}
