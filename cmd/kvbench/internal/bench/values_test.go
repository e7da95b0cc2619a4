package bench

import (
	"bytes"
	"testing"
)

// TestValues checks lengths, that a piece is half random and half its
// repetition, and that the buffer is gone through.
func TestValues(t *testing.T) {
	for _, size := range []int{0, 1, 100, 3984} {
		v := values{buf: newValueBuffer(size, 1), bytes: size}
		for range 3 * len(v.buf) / max(size, 100) {
			if value := v.next(); len(value) != size {
				t.Fatalf("value of %d bytes, want %d", len(value), size)
			}
		}
	}
	v := values{buf: newValueBuffer(100, 1), bytes: 100}
	first, second := v.next(), v.next()
	if !bytes.Equal(first[:50], first[50:]) {
		t.Errorf("halves of %q differ", first)
	}
	if bytes.Equal(first, second) {
		t.Errorf("two values are %q", first)
	}
}
