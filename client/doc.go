// Package client is a client of kvd, with the methods and the errors of package
// store: both satisfy kv.Store.
//
//	db, err := client.Open(ctx, "kvd://127.0.0.1:6379")
//	err = db.Put([]byte("key"), []byte("value"), kv.Sync)
//	value, err := db.Get([]byte("key"))
//	for item, err := range db.Range([]byte("a"), []byte("b")) { ... }
//	err = db.Close()
//
// It is a layer over rueidis, which keeps connections and puts the commands of
// goroutines that call at the same time into one packet; Raw has it, for all that
// a server can do and this package has no method for.
//
// # Contexts
//
// Methods without a context have that of their DB or Keyspace: WithContext gives a
// view of it whose calls end with a context, at no cost.
//
//	value, err := db.WithContext(ctx).Get(key)
//
// # What a write waits for
//
// A Sync write is on the server's disk when it returns. Where the server waits for
// its disk before every reply (appendfsync always) nothing is to be done for that.
// Where it does not, the client asks it to wait for this write (WAITAOF); a server
// that cannot do that makes the error wrap errors.ErrUnsupported, and the write is made
// nevertheless. Async and Deferred wait for the reply alone. The client asks the
// server which of them it is whenever it connects.
//
// # Errors
//
// They wrap those of package kv where a server means the same, and a
// *rueidis.RedisError with the text. A server that is still starting is waited for,
// until the context ends. A read is tried again on another connection when one is
// lost. A write is not: it may have been made.
package client
