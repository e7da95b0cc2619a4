package bench

import (
	"bytes"
	"fmt"
	"testing"
)

// TestKeys checks that keys are db_bench's, and sort as their numbers do.
func TestKeys(t *testing.T) {
	ks := keySpace{n: 1e9, bytes: 16}
	key, last := make([]byte, 16), make([]byte, 16)
	for _, i := range []uint64{0, 1, 9, 10, 11, 99, 100, 123_456_789, 999_999_999} {
		ks.put(key, i)
		if want := fmt.Sprintf("%016d", i); string(key) != want {
			t.Errorf("key %d is %s, want %s", i, key, want)
		}
		if i > 0 && bytes.Compare(last, key) >= 0 {
			t.Errorf("key %s is not above %s", key, last)
		}
		copy(last, key)
	}
}

// TestKeySpaceFits checks the number of keys on both sides of what fits.
func TestKeySpaceFits(t *testing.T) {
	for _, test := range []struct {
		n     uint64
		bytes int
		want  bool
	}{
		{1, 1, true}, {10, 1, true}, {11, 1, false},
		{1000, 3, true}, {1001, 3, false}, {1 << 40, 16, true}, {1 << 40, 1024, true},
	} {
		if got := (keySpace{test.n, test.bytes}).fits(); got != test.want {
			t.Errorf("%d keys of %d bytes: fits %t, want %t", test.n, test.bytes, got, test.want)
		}
	}
}

// TestPermutation checks that every number has one place, that the order is not
// the natural one, and that the seed decides it.
func TestPermutation(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 7, 64, 65, 1000, 4096, 100_003} {
		p, again, other := newPermutation(n, 1), newPermutation(n, 1), newPermutation(n, 2)
		seen := make([]bool, n)
		inPlace, same := uint64(0), uint64(0)
		for i := range n {
			k := p.at(i)
			if k >= n || seen[k] {
				t.Fatalf("n %d: place %d holds %d, which is too large or held before", n, i, k)
			}
			seen[k] = true
			if k != again.at(i) {
				t.Fatalf("n %d: place %d differs for the same seed", n, i)
			}
			if k == i {
				inPlace++
			}
			if k == other.at(i) {
				same++
			}
		}
		if n >= 1000 && (inPlace > n/50 || same > n/50) {
			t.Errorf("n %d: %d numbers in place, %d as for another seed", n, inPlace, same)
		}
	}
}

// TestDraw checks that draws are below n, reach every number, and repeat with
// the seed.
func TestDraw(t *testing.T) {
	const n = 100
	d, again := newDraw(n, 7), newDraw(n, 7)
	var seen [n]bool
	for range 100 * n {
		k := d.next()
		seen[k] = true
		if k != again.next() {
			t.Fatal("draws differ for the same seed")
		}
	}
	for k, ok := range seen {
		if !ok {
			t.Errorf("%d was never drawn", k)
		}
	}
}
