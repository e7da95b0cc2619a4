package store_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"faultline/store"
)

// scratch returns a directory for a store, and what removes it. The small budget
// is for the example: the default is half of the machine's memory.
func scratch() (dir string, o *store.Options, remove func()) {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	return dir, &store.Options{MemoryBudget: 16 << 20}, func() { os.RemoveAll(dir) }
}

// An empty or missing directory becomes a store; nil options are the defaults.
func ExampleOpen() {
	dir, options, remove := scratch()
	defer remove()

	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Put([]byte("pear"), []byte("green"), store.Sync); err != nil {
		log.Fatal(err)
	}
	value, err := db.Get([]byte("pear"))
	fmt.Printf("%s %v\n", value, err)
	_, err = db.Get([]byte("plum"))
	fmt.Println(errors.Is(err, store.ErrNotFound))
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// green <nil>
	// true
}

// Keys come in the order of their bytes, from the lower bound on and below the
// upper one.
func ExampleDB_Range() {
	dir, options, remove := scratch()
	defer remove()
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for _, name := range []string{"quince", "pear", "fig", "plum"} {
		if err := db.Put([]byte(name), []byte("1"), store.Async); err != nil {
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

// The writes of a batch are on disk together, or none of them is.
func ExampleBatch() {
	dir, options, remove := scratch()
	defer remove()
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	var b store.Batch
	if err := errors.Join(
		b.Put([]byte("from"), []byte("70")),
		b.Put([]byte("to"), []byte("30")),
		b.Delete([]byte("pending")),
	); err != nil {
		log.Fatal(err)
	}
	if _, err := db.Apply(&b, store.Sync); err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Len(), "writes,", b.Found(), "keys were there before;", db.Len(), "keys now")
	// Output: 3 writes, 0 keys were there before; 2 keys now
}

// A counter: what the function has read is still so when its write is made, or else it
// runs again. The key is named, so that calls that count the same wait for each other.
func ExampleDB_Modify() {
	dir, options, remove := scratch()
	defer remove()
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	key := []byte("visits")
	count := func(tx *store.Tx) error {
		value, err := tx.Get(key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(value)) // 0 for a new key
		return tx.Put(key, []byte(strconv.Itoa(n+1)))
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := db.Modify(context.Background(), [][]byte{key}, store.Async, count); err != nil {
				log.Fatal(err)
			}
		})
	}
	wg.Wait()
	value, err := db.Get(key)
	fmt.Printf("%s %v\n", value, err)
	// Output: 100 <nil>
}

// An error of the function ends a Modify, and nothing has changed. Two keyspaces are
// written at one moment.
func ExampleTx_Use() {
	dir, options, remove := scratch()
	defer remove()
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	users, err := db.Keyspace("users")
	if err != nil {
		log.Fatal(err)
	}
	byMail, err := db.Keyspace("users by mail")
	if err != nil {
		log.Fatal(err)
	}

	errTaken := errors.New("somebody has that address")
	register := func(name, mail string) error {
		_, err := users.Modify(context.Background(), nil, store.Sync, func(tx *store.Tx) error {
			if err := tx.Put([]byte(name), []byte(mail)); err != nil {
				return err
			}
			tx.Use(byMail)
			if taken, err := tx.Has([]byte(mail)); err != nil || taken {
				return errors.Join(err, errTaken)
			}
			return tx.Put([]byte(mail), []byte(name))
		})
		return err
	}
	fmt.Println(register("ada", "a@example.org"))
	fmt.Println(register("alan", "a@example.org"))
	fmt.Println(users.Len(), "user,", byMail.Len(), "address")
	// Output:
	// <nil>
	// somebody has that address
	// 1 user, 1 address
}

// Each keyspace has keys of its own, and is emptied or dropped at once.
func ExampleDB_Keyspace() {
	dir, options, remove := scratch()
	defer remove()
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	cache, err := db.Keyspace("cache")
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(
		db.Put([]byte("pear"), []byte("in the default keyspace"), store.Sync),
		cache.Put([]byte("pear"), []byte("in the cache"), store.Sync),
	); err != nil {
		log.Fatal(err)
	}
	value, err := cache.Get([]byte("pear"))
	fmt.Printf("%s %v\n", value, err)
	if err := cache.Clear(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Len(), cache.Len())
	// Output:
	// in the cache <nil>
	// 1 0
}

// Bounds are as in Range: "log/" to "log0" is all that begins with "log/", since 0 is
// the byte after /.
func ExampleDB_DeleteRange() {
	dir, options, remove := scratch()
	defer remove()
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for _, name := range []string{"log", "log/1", "log/2", "log0", "map"} {
		if err := db.Put([]byte(name), nil, store.Async); err != nil {
			log.Fatal(err)
		}
	}
	n, err := db.DeleteRange(context.Background(), []byte("log/"), []byte("log0"), store.Sync)
	fmt.Println(n, "deleted,", db.Len(), "left,", err)
	// Output: 2 deleted, 3 left, <nil>
}

// The values are of one moment, whatever is written meanwhile.
func ExampleDB_GetAll() {
	dir, options, remove := scratch()
	defer remove()
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Put([]byte("fig"), []byte("purple"), store.Sync); err != nil {
		log.Fatal(err)
	}
	keys := [][]byte{[]byte("fig"), []byte("plum")}
	err = db.GetAll(keys, func(i int, value []byte, err error) error {
		if errors.Is(err, store.ErrNotFound) {
			fmt.Printf("no %s\n", keys[i])
			return nil
		}
		fmt.Printf("%s: %s\n", keys[i], value)
		return err
	})
	fmt.Println(err)
	// Output:
	// fig: purple
	// no plum
	// <nil>
}

// A key that expires is not found from that moment on. The clock of this store is set by
// hand.
func ExampleDB_PutExpiring() {
	dir, options, remove := scratch()
	defer remove()
	var minutes atomic.Int64
	start := time.Date(2030, time.January, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return start.Add(time.Duration(minutes.Load()) * time.Minute) }
	options.Clock = clock
	db, err := store.Open(dir, options)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	key := []byte("session")
	if err := db.PutExpiring(key, []byte("ada"), clock().Add(30*time.Minute), store.Sync); err != nil {
		log.Fatal(err)
	}
	at, err := db.Expiry(key)
	fmt.Println(at.UTC().Format(time.TimeOnly), err)
	minutes.Store(29)
	found, err := db.Expire(key, clock().Add(30*time.Minute), store.Sync) // it is in use still
	fmt.Println(found, err)
	minutes.Store(58)
	has, err := db.Has(key)
	fmt.Println(has, err)
	minutes.Store(59)
	has, err = db.Has(key)
	fmt.Println(has, err)
	// Output:
	// 12:30:00 <nil>
	// true <nil>
	// true <nil>
	// false <nil>
}
