package server

import (
	"strings"
	"testing"
)

// TestMatchGlob has the cases of Redis's own documentation and the corners of
// its source.
func TestMatchGlob(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false},
		{"*", "", true}, {"*", "abc", true}, {"**", "a", true},
		{"h?llo", "hello", true}, {"h?llo", "hllo", false}, {"?", "", false},
		{"h*llo", "hllo", true}, {"h*llo", "heeeello", true}, {"h*llo", "hell", false},
		{"h[ae]llo", "hallo", true}, {"h[ae]llo", "hillo", false},
		{"h[^e]llo", "hallo", true}, {"h[^e]llo", "hello", false},
		{"h[a-b]llo", "hbllo", true}, {"h[b-a]llo", "hallo", true}, {"h[a-b]llo", "hcllo", false},
		{`h\?llo`, "h?llo", true}, {`h\?llo`, "hello", false}, {`\*`, "*", true}, {`\*`, "a", false},
		{`a\`, `a\`, true}, {`[\]]`, "]", true}, {`[\]`, "]", true}, {`[\-a]`, "-", true},
		{"[abc", "c", true}, {"[abc", "d", false}, {"[", "a", false}, {"[^", "a", true}, {"[]", "a", false},
		{"[a-]", "-", false}, {"[a-]", "a", true}, {"[a-", "-", true},
		{"*a*b*c", "xaxbxc", true}, {"*a*b*c", "xaxbx", false}, {"*abc", "abababc", true},
		{"a*", "\x00a", false}, {"*\xff", "a\xff", true},
	}
	for _, tc := range tests {
		if got := matchGlob([]byte(tc.pattern), []byte(tc.s)); got != tc.want {
			t.Errorf("matchGlob(%q, %q) = %t", tc.pattern, tc.s, got)
		}
	}
}

// TestMatchGlobCost matches what takes the recursive form longer than a life.
func TestMatchGlobCost(t *testing.T) {
	pattern, s := strings.Repeat("a*", 60)+"b", strings.Repeat("a", 1024)
	if matchGlob([]byte(pattern), []byte(s)) {
		t.Error("matched")
	}
}

// FuzzMatchGlob compares with the recursive form, on strings short enough for
// it, and checks that what matches has the literal prefix.
func FuzzMatchGlob(f *testing.F) {
	f.Add([]byte("a*[b-c]?"), []byte("axxbc"))
	f.Add([]byte(`*[^a\]*`), []byte("aaa"))
	f.Fuzz(func(t *testing.T, pattern, s []byte) {
		if len(pattern) > 10 || len(s) > 10 {
			return
		}
		got := matchGlob(pattern, s)
		if want := matchRecursive(pattern, s); got != want {
			t.Fatalf("matchGlob(%q, %q) = %t, want %t", pattern, s, got, want)
		}
		if prefix := globPrefix(pattern); got && !strings.HasPrefix(string(s), string(prefix)) {
			t.Fatalf("%q matches %q, which does not begin with %q", pattern, s, prefix)
		}
	})
}

func matchRecursive(pattern, s []byte) bool {
	if len(pattern) == 0 {
		return len(s) == 0
	}
	if pattern[0] == '*' {
		return matchRecursive(pattern[1:], s) || len(s) > 0 && matchRecursive(pattern, s[1:])
	}
	if len(s) == 0 {
		return false
	}
	next, ok := matchByte(pattern, 0, s[0])
	return ok && matchRecursive(pattern[next:], s[1:])
}
