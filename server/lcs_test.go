package server

import (
	"math/rand/v2"
	"testing"
)

// lcsLength is the definition: the length of the longest sequence that is left of both
// when bytes are taken out.
func lcsLength(a, b []byte) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	if a[0] == b[0] {
		return 1 + lcsLength(a[1:], b[1:])
	}
	return max(lcsLength(a[1:], b), lcsLength(a, b[1:]))
}

// within tells whether s is left of b when bytes are taken out.
func within(s, b []byte) bool {
	for _, c := range b {
		if len(s) > 0 && s[0] == c {
			s = s[1:]
		}
	}
	return len(s) == 0
}

// TestLcs compares random short texts with the definition, and the ranges with the text.
func TestLcs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func() []byte {
		b := make([]byte, r.IntN(9))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return b
	}
	for range 3000 {
		a, b := text(), text()
		table := newLcsTable(a, b)
		got := table.common()
		if want := lcsLength(a, b); len(got) != want || !within(got, a) || !within(got, b) {
			t.Fatalf("%s and %s have %s in common, of %d bytes", a, b, got, want)
		}
		joined := ""
		for _, m := range table.matches() {
			if string(a[m.a:m.a+m.n]) != string(b[m.b:m.b+m.n]) {
				t.Fatalf("%s and %s: not the same: %v", a, b, m)
			}
			joined = string(a[m.a:m.a+m.n]) + joined
		}
		if joined != string(got) {
			t.Fatalf("%s and %s: ranges of %s, which is %s", a, b, joined, got)
		}
	}
}
