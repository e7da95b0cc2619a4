package keys

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
)

// TestKeys checks that keys are db_bench's, and sort as their numbers do.
func TestKeys(t *testing.T) {
	ks := Space{N: 999_999_999, Bytes: 16}
	key, last := make([]byte, 16), make([]byte, 16)
	for _, i := range []uint64{0, 1, 9, 10, 11, 99, 100, 123_456_789, 999_999_999} {
		ks.Put(key, i)
		if n, ok := ks.Number(key); ok != (i < ks.N) || ok && n != i {
			t.Errorf("key %s is number %d, %t", key, n, ok)
		}
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
		if got := (Space{test.n, test.bytes}).Fits(); got != test.want {
			t.Errorf("%d keys of %d bytes: fits %t, want %t", test.n, test.bytes, got, test.want)
		}
	}
}

// TestPermutation checks that every number has one place, that the order is not
// the natural one, and that the seed decides it.
func TestPermutation(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 7, 64, 65, 1000, 4096, 100_003} {
		p, again, other := NewPermutation(n, 1), NewPermutation(n, 1), NewPermutation(n, 2)
		seen := make([]bool, n)
		inPlace, same := uint64(0), uint64(0)
		for i := range n {
			k := p.At(i)
			if k >= n || seen[k] {
				t.Fatalf("n %d: place %d holds %d, which is too large or held before", n, i, k)
			}
			seen[k] = true
			if k != again.At(i) {
				t.Fatalf("n %d: place %d differs for the same seed", n, i)
			}
			if k == i {
				inPlace++
			}
			if k == other.At(i) {
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
	d, again := NewDraw(n, 7), NewDraw(n, 7)
	var seen [n]bool
	for range 100 * n {
		k := d.Next()
		seen[k] = true
		if k != again.Next() {
			t.Fatal("draws differ for the same seed")
		}
	}
	for k, ok := range seen {
		if !ok {
			t.Errorf("%d was never drawn", k)
		}
	}
}

// TestNth checks that a draw may be had by its place.
func TestNth(t *testing.T) {
	d, by := NewDraw(1000, 3), NewDraw(1000, 3)
	for i := range uint64(100) {
		if got, want := by.Nth(i), d.Next(); got != want {
			t.Errorf("draw %d is %d, want %d", i, got, want)
		}
	}
}

// TestZipf compares how often ranks come with the formula, and checks that the
// favourites depend on their own seed only.
func TestZipf(t *testing.T) {
	const n, draws = 10_000, 400_000
	z, other := NewZipf(n, 1, 2), NewZipf(n, 1, 3)
	count, count2 := make([]int, n), make([]int, n)
	for range draws {
		count[z.Next()]++
		count2[other.Next()]++
	}
	zeta, top := zetaOf(n), NewPermutation(n, 1)
	for _, rank := range []uint64{0, 1} {
		want := draws / math.Pow(float64(rank+1), ZipfTheta) / zeta
		for _, c := range [][]int{count, count2} {
			if got := float64(c[top.At(rank)]); math.Abs(got-want) > want/20 {
				t.Errorf("rank %d came %v times, want %v", rank, got, want)
			}
		}
	}
	slices.Sort(count)
	hot := 0
	for _, c := range count[n-n/10:] {
		hot += c
	}
	if share := float64(hot) / draws; share < 0.7 || share > 0.85 {
		t.Errorf("a tenth of the keys gets %.2f of the draws", share)
	}
}

// TestZetaTail compares the formula of the tail with the sum.
func TestZetaTail(t *testing.T) {
	var want float64
	for i := range 3 * zetaExact {
		want += math.Pow(float64(i+1), -ZipfTheta)
	}
	if got := zetaOf(3 * zetaExact); math.Abs(got-want) > 1e-9 {
		t.Errorf("zeta is %v, want %v", got, want)
	}
}

// TestZipfSmall draws of few numbers.
func TestZipfSmall(t *testing.T) {
	for _, n := range []uint64{1, 2, 3} {
		z := NewZipf(n, 1, 2)
		for range 1000 {
			if k := z.Next(); k >= n {
				t.Fatalf("drew %d of %d", k, n)
			}
		}
	}
}
