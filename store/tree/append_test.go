package tree

import (
	"context"
	"fmt"
	"testing"

	"faultline/pagemeta"
)

// TestAppend puts keys in order, at the end of the tree and before others: their leaves
// must be full, and the tree sound. Keys in random order are the control.
func TestAppend(t *testing.T) {
	const keys = 20_000
	value := make([]byte, 100)
	leaves := func(key func(i int) string) int {
		tr, _ := newTree(t, 4096, false)
		for _, k := range []string{"aaaaaaaa", "cccccccc"} {
			if _, err := tr.Put(&Op{}, []byte(k), value); err != nil {
				t.Fatal(err)
			}
		}
		for i := range keys {
			if _, err := tr.Put(&Op{}, []byte(key(i)), value); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tr.Check(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if n := tr.Len(); n != keys+2 {
			t.Errorf("%d keys, want %d", n, keys+2)
		}
		return int(tr.leaves.Load())
	}
	const full = keys*(8+100)/pagemeta.PageBytes + 1 // with nothing but keys and values in it
	for where, key := range map[string]func(i int) string{
		"before others": func(i int) string { return fmt.Sprintf("b%07d", i) },
		"at the end":    func(i int) string { return fmt.Sprintf("d%07d", i) },
	} {
		if n := leaves(key); n > full*118/100 {
			t.Errorf("%s: %d leaves, and %d have room for all", where, n, full)
		}
	}
	if n := leaves(func(i int) string { return fmt.Sprintf("d%07d", i*7919%keys) }); n < full*125/100 {
		t.Errorf("in random order: %d leaves, %d are full ones: this test would see no half-empty ones", n, full)
	}
}
