package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	"faultline/client"
	"faultline/kv"
)

// open connects to a kvd, of which the examples use a keyspace each.
func open(keyspace string) *client.DB {
	db, err := client.Open(context.Background(), examples.url+"?keyspace="+keyspace)
	if err != nil {
		log.Fatal(err)
	}
	return db
}

// Errors are those of package kv, as those of an embedded store are.
func ExampleOpen() {
	url := examples.url // such as kvd://127.0.0.1:6379
	db, err := client.Open(context.Background(), url)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	if err := db.Put([]byte("pear"), []byte("green"), kv.Sync); err != nil {
		log.Fatal(err)
	}
	value, err := db.Get([]byte("pear"))
	fmt.Printf("%s %v\n", value, err)
	_, err = db.Get([]byte("plum"))
	fmt.Println(errors.Is(err, kv.ErrNotFound))
	// Output:
	// green <nil>
	// true
}

// Methods that have no context have that of their DB.
func ExampleDB_WithContext() {
	db := open("1")
	defer db.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(db.WithContext(ctx).Put([]byte("key"), []byte("value"), kv.Async))

	cancel()
	_, err := db.WithContext(ctx).Get([]byte("key"))
	fmt.Println(err)
	// Output:
	// <nil>
	// context canceled
}

// Keys come in the order of their bytes. What is asked of the server is some hundred
// KiB at a time.
func ExampleKeyspace_Range() {
	db := open("2")
	defer db.Close()
	for _, name := range []string{"quince", "pear", "fig", "plum"} {
		if err := db.Put([]byte(name), []byte("1"), kv.Async); err != nil {
			log.Fatal(err)
		}
	}
	for item, err := range db.Range([]byte("g"), []byte("q")) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s=%s\n", item.Key, item.Value)
	}
	// Output:
	// pear=1
	// plum=1
}

// The writes of a batch are made together, or none of them is.
func ExampleKeyspace_Write() {
	db := open("3")
	defer db.Close()
	err := db.Write(context.Background(), kv.Sync, func(b kv.Batch) error {
		return errors.Join(
			b.Put([]byte("from"), []byte("70")),
			b.Put([]byte("to"), []byte("30")),
			b.Delete([]byte("pending")),
		)
	})
	n, countErr := db.Count(nil, nil)
	fmt.Println(err, n, countErr)
	// Output: <nil> 2 <nil>
}

// What an Update has read is still so when its writes are made.
func ExampleKeyspace_Update() {
	db := open("4")
	defer db.Close()
	key := []byte("visits")
	for range 3 {
		if err := db.Update(context.Background(), [][]byte{key}, kv.Sync, func(tx kv.Tx) error {
			value, err := tx.Get(key)
			if errors.Is(err, kv.ErrNotFound) {
				return tx.Put(key, []byte("1"))
			}
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(value))
			if err != nil {
				return err
			}
			return tx.Put(key, strconv.AppendInt(nil, int64(n+1), 10))
		}); err != nil {
			log.Fatal(err)
		}
	}
	value, err := db.Get(key)
	fmt.Printf("%s %v\n", value, err)
	// Output: 3 <nil>
}

// A lock that ends by itself.
func ExampleKeyspace_PutIfAbsent() {
	db := open("5")
	defer db.Close()
	lock := func(who string) bool {
		ok, err := db.PutIfAbsent([]byte("lock"), []byte(who), kv.Async)
		if err != nil {
			log.Fatal(err)
		}
		return ok
	}
	fmt.Println(lock("ann"), lock("bob"))
	found, err := db.Expire([]byte("lock"), time.Now().Add(-time.Second), kv.Async)
	fmt.Println(found, err)
	fmt.Println(lock("bob"))
	// Output:
	// true false
	// true <nil>
	// true
}

// Raw has the commands that this package has no method for.
func ExampleKeyspace_Raw() {
	db := open("6")
	defer db.Close()
	raw := db.Raw()
	n, err := raw.Do(context.Background(), raw.B().Incrby().Key("n").Increment(42).Build()).AsInt64()
	fmt.Println(n, err)
	// Output: 42 <nil>
}
