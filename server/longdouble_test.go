package server

import (
	"strings"
	"testing"
)

// TestLongDouble has sums as redis-server 7.0.15 prints them on x86.
func TestLongDouble(t *testing.T) {
	for _, tc := range []struct{ a, b, want string }{
		{"10.5", "0.1", "10.6"},
		{"0.1", "0.2", "0.3"},
		{"3", "1.1", "4.1"},
		{"5.0e3", "2.0e2", "5200"},
		{"17179869184", "1.23", "17179869185.23000000044703484"},
		{"1000000000000000000000", "0.3", "1000000000000000000000"},
		{"1", "-1", "0"},
		{"-0", "-0", "0"},
		{"0", "0x1p-3", "0.125"},
		{"0x10", "0X.8", "16.5"},
		{"1e-20", "0", "0"},
		{".5", "5.", "5.5"},
		{"+1", "0", "1"},
		{"1e4932", "inf", ""},
		{"1.1e4932", "1e4932", ""},
	} {
		a, ok1 := parseLongDouble([]byte(tc.a))
		b, ok2 := parseLongDouble([]byte(tc.b))
		if !ok1 || !ok2 {
			t.Errorf("%s or %s is not taken", tc.a, tc.b)
			continue
		}
		sum, ok := a.add(&b)
		if ok != (tc.want != "") {
			t.Errorf("%s + %s: %t", tc.a, tc.b, ok)
		}
		if got := string(sum.append(nil)); ok && got != tc.want {
			t.Errorf("%s + %s = %s, want %s", tc.a, tc.b, got, tc.want)
		}
	}
	for _, s := range []string{"", ".", "-", "+", "e5", "1e", "1e+", "1.2.3", " 1", "1 ", "1_0", "0b1", "0o7", "0x", "0xg", "1p3",
		"0x1e+5", "nan", "infinit", "1e5000", "-1e5000", "1e-5000", "1e99999999999999999999", "1\x00", strings.Repeat("1", longDoubleChars)} {
		if n, ok := parseLongDouble([]byte(s)); ok {
			t.Errorf("%.20q is taken as %s", s, n.append(nil))
		}
	}
}

// FuzzLongDouble parses anything. What is taken must print as something that is taken.
func FuzzLongDouble(f *testing.F) {
	for _, s := range []string{"1", "-0.5", "1e400", "0x1.8p3", "inf", "1e-4950", "17179869185.23000000044703484"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, ok := parseLongDouble(in)
		if !ok || n.f.IsInf() {
			return
		}
		text := n.append(nil)
		if _, ok := parseLongDouble(text); !ok && len(text) < longDoubleChars {
			t.Errorf("%q prints as %q, which is not taken", in, text)
		}
	})
}
