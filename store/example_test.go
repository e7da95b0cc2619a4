package store_test

import (
	"errors"
	"fmt"
	"log"
	"os"

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
