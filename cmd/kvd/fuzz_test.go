package main

import "testing"

// FuzzSize gives a size flag any text: what it takes must be a size.
func FuzzSize(f *testing.F) {
	for _, s := range []string{"", "0", "1", "1GiB", "1 gb", "512k", "1.5MiB", "-1", "1e3", "16EiB", "9223372036854775807", "18446744073709551616", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v size
		if err := v.Set(s); err != nil && v != 0 {
			t.Fatalf("%q: %v, and %d bytes", s, err, v)
		}
		if v < 0 {
			t.Fatalf("%q is %d bytes", s, v)
		}
		_ = v.String()
	})
}
