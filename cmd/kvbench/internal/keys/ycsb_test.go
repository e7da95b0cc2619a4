package keys

import (
	"bytes"
	"math"
	"testing"
)

// TestScrambled compares the favourite's share with YCSB's, whose zeta is a constant
// there, and wants the same favourites of sources with different seeds.
func TestScrambled(t *testing.T) {
	const n, draws, ycsbZeta = 10_000, 400_000, 26.46902820178302
	a, b := NewScrambled(n, 1), NewScrambled(n, 2)
	if got := a.ranks.zeta; math.Abs(got-ycsbZeta) > 1e-6 {
		t.Errorf("zeta is %v, want %v", got, ycsbZeta)
	}
	// As Java has it: Math.abs of the hash of a long.
	favourite := fnv64(0) % n
	for _, s := range []*Scrambled{&a, &b} {
		count := make([]int, n)
		for range draws {
			count[s.Next()]++
		}
		want := draws / ycsbZeta
		if got := float64(count[favourite]); math.Abs(got-want) > want/10 {
			t.Errorf("number %d came %v times, want %v", favourite, got, want)
		}
	}
}

// TestFNV compares with values that YCSB's code returns: the first by hand, over
// eight bytes of zero.
func TestFNV(t *testing.T) {
	h := uint64(0xcbf29ce484222325)
	for range 8 {
		h *= 1099511628211
	}
	if want := uint64(max(int64(h), -int64(h))); fnv64(0) != want {
		t.Errorf("hash of 0 is %d, want %d", fnv64(0), want)
	}
	for i := range uint64(1000) {
		if int64(fnv64(i)) < 0 {
			t.Errorf("hash of %d is negative", i)
		}
	}
}

// TestLatest checks that the newest number comes most often while numbers are added,
// and that growing by steps is the same as beginning with all.
func TestLatest(t *testing.T) {
	const from, to = 1000, 2000
	grown, whole := NewLatest(from, 1), NewLatest(to, 1)
	newest := 0
	for n := uint64(from); n < to; n++ {
		k := grown.Next(n + 1)
		if k > n {
			t.Fatalf("drew %d of %d", k, n+1)
		}
		if k == n {
			newest++
		}
	}
	if want := (to - from) / zetaOf(to); math.Abs(float64(newest)-want) > want/3 {
		t.Errorf("the newest came %d times, want about %.0f", newest, want)
	}
	if d := grown.ranks.zeta - whole.ranks.zeta; math.Abs(d) > 1e-9 || grown.ranks.eta-whole.ranks.eta > 1e-9 {
		t.Errorf("zeta differs by %v after growing", d)
	}
}

// TestScattered wants different keys of the right length in no order.
func TestScattered(t *testing.T) {
	for _, size := range []int{4, 16, 19, 24} {
		s := NewScattered(size)
		seen := map[string]bool{}
		key, last, rising := make([]byte, size), make([]byte, size), 0
		for i := range uint64(1000) {
			s.Put(key, i)
			seen[string(key)] = true
			if bytes.Compare(key, last) > 0 {
				rising++
			}
			copy(last, key)
		}
		if len(seen) != 1000 || rising < 400 || rising > 600 {
			t.Errorf("%d bytes: %d different keys of 1000, %d above the one before", size, len(seen), rising)
		}
	}
}
