// Package campaign says how long the tests that search for faults search, and
// from which seeds, so that one test is a slice in CI and a search of hours in
// internal/soak:
//
//	FAULTLINE_SEED   where random choices begin; default 1
//	FAULTLINE_SCALE  how many times the usual effort; default 1, may be below
//
// It is for tests.
package campaign

import (
	"os"
	"strconv"
	"testing"
)

// Seed returns where the random choices of a test begin, and logs it: the same
// seed makes the same choices.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(1)
	if s := os.Getenv("FAULTLINE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("FAULTLINE_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("FAULTLINE_SEED=%d", seed)
	return seed
}

// Scale returns n times the effort that is asked for, 1 at least. n is what a run
// of all tests has time for; with -short it is a tenth of that.
func Scale(t testing.TB, n int) int {
	t.Helper()
	scale := 1.0
	if testing.Short() {
		scale = 0.1
	}
	if s := os.Getenv("FAULTLINE_SCALE"); s != "" {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || x <= 0 {
			t.Fatalf("FAULTLINE_SCALE=%q: want a number above 0", s)
		}
		scale = x
	}
	return max(1, int(float64(n)*scale))
}
