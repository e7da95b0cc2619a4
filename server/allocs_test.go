//go:build !race

package server

import (
	"testing"

	"faultline/store"
)

// TestAllocations checks that a command costs no allocation: 1000 pipelines may
// cost no more than the connection itself does. Under the race detector sync.Pool drops
// at random what it is given, so this is not for there.
func TestAllocations(t *testing.T) {
	db := openStore(t)
	if err := db.Put([]byte("key:000000012345"), []byte("xxx"), store.Async); err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]string{
		"PING": onePing, "GET": oneGet, "SET": oneSet, "MSET": oneMset, "DEL": oneDel,
	} {
		srv := New(db, Options{Fsync: FsyncNo})
		run(srv, command, 1) // the store may allocate for the first of a kind
		allocs := testing.AllocsPerRun(5, func() { run(srv, command, 1000) })
		if perCommand := allocs / (1000 * depth); perCommand > 0.01 {
			t.Errorf("%s: %.2f allocations a command", name, perCommand)
		}
	}
}
