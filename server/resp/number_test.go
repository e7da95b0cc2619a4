package resp

import (
	"math"
	"strconv"
	"testing"
)

// TestParseInt checks that exactly those strings are taken that some int64 is printed as.
func TestParseInt(t *testing.T) {
	for _, s := range []string{"", "-", "+1", "01", "-01", "-0", "0", "1", "-1", " 1", "1 ", "1a", "a", "0x1", "1_0", "00",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
		"9999999999999999999", "18446744073709551616", "18446744073709551617", "99999999999999999999",
		strconv.Itoa(math.MaxInt32), "1000000000000000000", "-1000000000000000000"} {
		want, err := strconv.ParseInt(s, 10, 64)
		wantOK := err == nil && strconv.FormatInt(want, 10) == s
		if got, ok := ParseInt([]byte(s)); ok != wantOK || ok && got != want {
			t.Errorf("ParseInt(%q) = %d, %t, want %d, %t", s, got, ok, want, wantOK)
		}
	}
}
