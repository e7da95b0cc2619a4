package store_test

import (
	"testing"

	"faultline/kv/kvtest"
	"faultline/store"
)

// TestConformance runs the tests of package kv.
func TestConformance(t *testing.T) {
	db, err := store.Open(t.TempDir(), &store.Options{MemoryBudget: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	kvtest.Run(t, db)
}
