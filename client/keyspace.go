package client

import (
	"context"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// A Keyspace is a set of keys of a server. Methods are safe for concurrent use.
type Keyspace struct {
	link *link
	ctx  context.Context // of calls that are given none
}

var _ kv.Keyspace = (*Keyspace)(nil)

// WithContext returns a view of k whose calls end with ctx. What one of them has cut
// off may have been made by the server, or not.
func (k *Keyspace) WithContext(ctx context.Context) *Keyspace { return &Keyspace{k.link, ctx} }

// Name returns the name of the keyspace: "" is the default one.
func (k *Keyspace) Name() string { return k.link.name }

// Raw returns what the client is built on, for commands of your own. It belongs to the
// DB: do not close it.
func (k *Keyspace) Raw() rueidis.Client { return k.link.Client }

// Clear removes all keys at once, whatever their number, and returns when that is on
// disk.
func (k *Keyspace) Clear(ctx context.Context) error {
	_, err := k.write(ctx, kv.Sync, func(b rueidis.Builder) rueidis.Completed { return b.Flushdb().Build() })
	return err
}
