// Quickstart uses a store in a directory:
//
//	go run ./examples/quickstart data
//
// The program in examples/remote is the same with one line changed, and uses a server.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"faultline/kv"
	"faultline/store"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatalf("usage: %s directory or URL", os.Args[0])
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, place string) error {
	db, err := store.Open(place, nil)
	if err != nil {
		return err
	}
	defer db.Close()

	// A key, its value, and what the write waits for: Sync is the disk.
	if err := db.Put([]byte("example/fruit/pear"), []byte("green"), kv.Sync); err != nil {
		return err
	}
	value, err := db.Get([]byte("example/fruit/pear"))
	if err != nil {
		return err
	}
	_, err = db.Get([]byte("example/fruit/plum"))
	fmt.Printf("pear is %s, no plum: %t\n", value, errors.Is(err, kv.ErrNotFound))

	// Several writes, of which a crash leaves all or none.
	if err := db.Write(ctx, kv.Sync, func(b kv.Batch) error {
		return errors.Join(
			b.Put([]byte("example/fruit/plum"), []byte("blue")),
			b.Put([]byte("example/fruit/quince"), []byte("yellow")),
			b.Delete([]byte("example/fruit/pear")),
		)
	}); err != nil {
		return err
	}

	// Keys in order, in both directions.
	for item, err := range db.Range([]byte("example/fruit/"), []byte("example/fruit0")) {
		if err != nil {
			return err
		}
		fmt.Printf("%s is %s\n", item.Key, item.Value)
	}
	for item, err := range db.Backward([]byte("example/"), []byte("example0")) {
		if err != nil {
			return err
		}
		fmt.Printf("the last key is %s\n", item.Key)
		break
	}

	// A read and a write with nobody's write between.
	for range 3 {
		if err := count(ctx, db, "example/visits"); err != nil {
			return err
		}
	}
	value, err = db.Get([]byte("example/visits"))
	if err != nil {
		return err
	}
	fmt.Printf("%s visits\n", value)

	// A key that goes away by itself, put only if it is not there.
	mine, err := db.PutIfAbsent([]byte("example/lock"), []byte("me"), kv.Async)
	if err != nil {
		return err
	}
	if _, err := db.Expire([]byte("example/lock"), time.Now().Add(time.Minute), kv.Async); err != nil {
		return err
	}
	again, err := db.PutIfAbsent([]byte("example/lock"), []byte("you"), kv.Async)
	if err != nil {
		return err
	}
	fmt.Printf("locked by me: %t, by you: %t\n", mine, again)

	// All keys of this program, and no others: 0 is the byte after /.
	deleted, err := db.DeleteRange(ctx, []byte("example/"), []byte("example0"), kv.Sync)
	if err != nil {
		return err
	}
	fmt.Printf("deleted %d keys\n", deleted)
	return nil
}

// count adds one to a number. It takes a store of either kind.
func count(ctx context.Context, db kv.Store, name string) error {
	key := []byte(name)
	return db.Update(ctx, [][]byte{key}, kv.Sync, func(tx kv.Tx) error {
		n := 0
		switch value, err := tx.Get(key); {
		case err == nil:
			if n, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		case !errors.Is(err, kv.ErrNotFound):
			return err
		}
		return tx.Put(key, strconv.AppendInt(nil, int64(n+1), 10))
	})
}
