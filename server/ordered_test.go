package server

import (
	"bytes"
	"strings"
	"testing"

	"faultline/store"
)

// bylex tells whether key is within bounds, as ZRANGE BYLEX says.
func bylex(key, lo, hi string) bool {
	above := lo == "-" || lo[0] == '[' && key >= lo[1:] || lo[0] == '(' && key > lo[1:]
	below := hi == "+" || hi[0] == '[' && key <= hi[1:] || hi[0] == '(' && key < hi[1:]
	return above && below && lo != "+" && hi != "-"
}

// TestBounds compares ranges with the definition, with keys and bounds that are as long
// as a key may be, and longer.
func TestBounds(t *testing.T) {
	full := strings.Repeat("k", store.MaxKeyBytes-1)
	words := []string{"", "a", "a\x00", "b", "\xff", full, full + "a", full + "\xff", full + "a\x00", full + "\xff\xff",
		strings.Repeat("\xff", store.MaxKeyBytes), strings.Repeat("\xff", store.MaxKeyBytes+1)}
	bounds := []string{"-", "+"}
	for _, w := range words {
		bounds = append(bounds, "["+w, "("+w)
	}
	c := &conn{}
	for _, lo := range bounds {
		for _, hi := range bounds {
			b, empty, ok := c.parseBounds([]byte(lo), []byte(hi))
			if !ok || len(b.lower) > store.MaxKeyBytes || len(b.upper) > store.MaxKeyBytes {
				t.Fatalf("%.9q %.9q: %t, bounds of %d and %d bytes", lo, hi, ok, len(b.lower), len(b.upper))
			}
			for _, key := range words[1:] {
				if len(key) > store.MaxKeyBytes {
					continue
				}
				got := !empty && bytes.Compare([]byte(key), b.lower) >= 0 && (b.upper == nil || bytes.Compare([]byte(key), b.upper) < 0)
				if want := bylex(key, lo, hi); got != want {
					t.Errorf("%.9q (%d bytes) in %.9q (%d) %.9q (%d): %t, want %t", key, len(key), lo, len(lo), hi, len(hi), got, want)
				}
			}
		}
	}
}

// TestBetween checks that RANDOMKEY picks places between the two keys, and not the same
// always.
func TestBetween(t *testing.T) {
	words := []string{"a", "aa", "ab", "abcdefghijklm", "b", "\x00", "\xff\xff", "abcdefghijklz"}
	for _, lo := range words {
		for _, hi := range words {
			if lo >= hi {
				continue
			}
			seen := map[string]bool{}
			for range 20 {
				place := between([]byte(lo), []byte(hi))
				if string(place) < lo && !strings.HasPrefix(lo, string(place)) {
					t.Fatalf("%q is before %q", place, lo)
				}
				seen[string(place)] = true
			}
			if len(seen) == 1 && hi[:1] != lo[:1] {
				t.Errorf("always %v between %q and %q", seen, lo, hi)
			}
		}
	}
}

// TestRandomkey asks until each of a few keys has been answered, however they lie.
func TestRandomkey(t *testing.T) {
	_, addr := start(t, openStore(t), Options{Fsync: FsyncNo})
	c := dial(t, addr)
	missing := map[string]bool{"a": true, "b": true, "b\x00": true, "zzz": true, "\xff\xff": true}
	for key := range missing {
		do(t, c, "SET", key, "")
	}
	for tries := 0; len(missing) > 0; tries++ {
		if tries == 10_000 {
			t.Fatalf("never %v", missing)
		}
		delete(missing, do(t, c, "RANDOMKEY").Str)
	}
}
