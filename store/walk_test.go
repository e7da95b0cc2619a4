package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// TestWalks compares Backward and Count with Range, over all bounds.
func TestWalks(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	bounds := [][]byte{nil}
	for i := range 12 {
		key := fmt.Appendf(nil, "%02d", 2*i)
		if err := db.Put(key, key, Deferred); err != nil {
			t.Fatal(err)
		}
		bounds = append(bounds, key, fmt.Appendf(nil, "%02d", 2*i+1))
	}
	for _, lower := range bounds {
		for _, upper := range bounds {
			var forward, backward [][]byte
			for item, err := range db.Range(lower, upper) {
				if err != nil {
					t.Fatal(err)
				}
				forward = append(forward, bytes.Clone(item.Key))
			}
			for item, err := range db.Backward(lower, upper) {
				if err != nil {
					t.Fatal(err)
				}
				backward = append([][]byte{bytes.Clone(item.Value)}, backward...)
			}
			n, err := db.Count(lower, upper)
			if err != nil || int(n) != len(forward) || fmt.Sprintf("%s", forward) != fmt.Sprintf("%s", backward) {
				t.Fatalf("%q to %q: %s, backward %s, count %d, %v", lower, upper, forward, backward, n, err)
			}
		}
	}
}

// TestPutIf puts a key if it is not there, and if it is.
func TestPutIf(t *testing.T) {
	db := open(t, t.TempDir(), smallOptions(false))
	key := []byte("key")
	for i, step := range []struct {
		put  func(key, value []byte, d Durability) (bool, error)
		want bool
		has  string
	}{
		{db.PutIfPresent, false, ""},
		{db.PutIfAbsent, true, "1"},
		{db.PutIfAbsent, false, "1"},
		{db.PutIfPresent, true, "3"},
	} {
		put, err := step.put(key, fmt.Appendf(nil, "%d", i), Sync)
		if put != step.want || err != nil {
			t.Fatalf("step %d: %t, %v", i, put, err)
		}
		value, err := db.Get(key)
		if string(value) != step.has || err != nil != (step.has == "") {
			t.Fatalf("after step %d: %q, %v", i, value, err)
		}
	}
	if _, err := db.PutIfAbsent(nil, nil, Sync); !errors.Is(err, ErrEmptyKey) {
		t.Errorf("empty key: %v", err)
	}
}
