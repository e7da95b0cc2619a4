package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"faultline/server/resp/resptest"
)

// scanAll follows the cursors to the end and returns the keys as they came.
func scanAll(t *testing.T, c *resptest.Conn, opts ...string) (keys []string, calls int) {
	t.Helper()
	cursor := "0"
	for {
		r := do(t, c, append([]string{"SCAN", cursor}, opts...)...)
		calls++
		for _, k := range r.Array[1].Array {
			keys = append(keys, k.Str)
		}
		if cursor = r.Array[0].Str; cursor == "0" {
			return keys, calls
		}
	}
}

// TestScan compares SCAN, in every chunk size and with patterns, to the sorted
// list of keys.
func TestScan(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	var all []string
	for i := range 500 {
		all = append(all, fmt.Sprintf("user:%d", i), fmt.Sprintf("\xff\xff%d", i))
	}
	slices.Sort(all)
	for _, k := range all {
		do(t, c, "SET", k, "")
	}
	for _, count := range []string{"1", "7", "10", "999", "1000", "1001", "1000000000"} {
		keys, _ := scanAll(t, c, "COUNT", count)
		if !slices.Equal(keys, all) {
			t.Errorf("COUNT %s: %d keys, want %d in order", count, len(keys), len(all))
		}
	}
	for _, pattern := range []string{"*", "user:*", "user:1*", "user:17", "user:?", "\xff\xff*", "*7", "nobody*", "user:4[0-3]", ""} {
		var want []string
		for _, k := range all {
			if matchGlob([]byte(pattern), []byte(k)) {
				want = append(want, k)
			}
		}
		keys, _ := scanAll(t, c, "MATCH", pattern, "COUNT", "100")
		if !slices.Equal(keys, want) {
			t.Errorf("MATCH %q: %d keys, want %d in order", pattern, len(keys), len(want))
		}
	}
	if _, calls := scanAll(t, c, "MATCH", "user:17*"); calls > 2 {
		t.Errorf("%d calls for 11 keys of one prefix: it must not look at the others", calls)
	}
	if keys, calls := scanAll(t, c, "TYPE", "hash"); len(keys) > 0 || calls > 1 {
		t.Errorf("TYPE hash: %d keys in %d calls", len(keys), calls)
	}
	if keys, _ := scanAll(t, c, "TYPE", "STRING"); !slices.Equal(keys, all) {
		t.Errorf("TYPE STRING: %d keys, want %d", len(keys), len(all))
	}
}

// TestScanWhileDeleting deletes the keys around the place of a cursor: those
// that stay must all come, once and in order.
func TestScanWhileDeleting(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	for i := range 100 {
		do(t, c, "SET", fmt.Sprintf("%03d", i), "")
	}
	r := do(t, c, "SCAN", "0", "COUNT", "50")
	for i := 40; i < 60; i++ {
		do(t, c, "DEL", fmt.Sprintf("%03d", i))
	}
	do(t, c, "SET", "055x", "")
	rest := do(t, c, "SCAN", r.Array[0].Str, "COUNT", "1000")
	if rest.Array[0].Str != "0" || len(rest.Array[1].Array) != 41 || rest.Array[1].Array[0].Str != "055x" {
		t.Errorf("went on with %v", rest)
	}
	// The cursor is still known: a client that lost the reply asks again.
	if again := do(t, c, "SCAN", r.Array[0].Str, "COUNT", "1000"); again.String() != rest.String() {
		t.Errorf("the same cursor gave %v, then %v", rest, again)
	}
}

// TestScanReplyBound scans long keys with a great COUNT.
func TestScanReplyBound(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	const n = 2000
	for i := range n {
		c.Send("SET", fmt.Sprintf("%04d", i)+strings.Repeat("k", 1000), "")
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for range n {
		expect(t, c, "+OK")
	}
	keys, calls := scanAll(t, c, "COUNT", "1000000")
	if len(keys) != n || calls != 2 {
		t.Errorf("%d keys in %d calls, want %d in 2", len(keys), calls, n)
	}
}

// TestCursors gives out more cursors than are kept: the newest are known, the
// others, those never given out, and those of another server are not.
func TestCursors(t *testing.T) {
	cs := newCursors()
	first := cs.add([]byte("first"))
	if k, ok := cs.find(first); !ok || string(k) != "first" {
		t.Errorf("find = %q, %t", k, ok)
	}
	if n := cs.add(nil); n != 0 {
		t.Errorf("cursor %d at the end", n)
	}
	for i := range cursorCount {
		if n := cs.add([]byte(strconv.Itoa(i))); n >= 1<<53 {
			t.Fatalf("cursor %d is not exact as a float", n)
		}
	}
	for n := first - 5; n <= first+cursorCount+5; n++ {
		k, ok := cs.find(n)
		if want := n > first && n <= first+cursorCount; ok != want {
			t.Errorf("find(first+%d) = %q, %t", int(n-first), k, ok)
		} else if ok && string(k) != strconv.Itoa(int(n-first)-1) {
			t.Errorf("find(first+%d) = %q", n-first, k)
		}
	}
	if _, ok := newCursors().find(first + 1); ok {
		t.Error("another server knows the cursor")
	}
}

// TestAfter checks the upper bound of a prefix.
func TestAfter(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "a": "b", "a\xff": "b", "\xff": "", "\xff\xff": "", "ab": "ac"} {
		if got := string(after([]byte(prefix))); got != want {
			t.Errorf("after(%q) = %q, want %q", prefix, got, want)
		}
	}
}
