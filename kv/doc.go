// Package kv is what a program may know of a store, be it in the same process
// (package store) or behind a server (package client): methods, errors,
// durability. A program moves from one to the other by the line that opens it:
//
//	db, err := store.Open("data", nil)
//	db, err := client.Open(ctx, "kvd://127.0.0.1:6379")
//
// It depends on nothing, and nothing in it does anything. Both stores have more
// methods than Store.
//
// # Rules of all methods
//
// Keys and values are bytes. A key has at least one, a value may have none. The
// order of keys is that of their bytes, as in bytes.Compare. A range of keys is from
// lower on and below upper; a nil bound is none.
//
// What is given to a method may be used again when it has returned, and what a
// method returns is the caller's, except where it says otherwise. Methods are safe
// for concurrent use, but those of a Batch or Tx.
//
// A write is seen by every read that begins after it has returned. An error of the
// kinds in this package that says that nothing has changed may be relied on; of a
// write that ends with another one it is not known whether it was made, all of it
// or nothing.
//
// A time at which a key expires has the precision of a millisecond; the zero time is
// never. From that time on the key is not there for any method.
package kv
