package tree

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"faultline/internal/campaign"
)

// TestFinger has one Op write runs of neighbours, forward and backward, while others
// write anywhere, so that leaves are split, merged and freed below its finger, and some
// writes do not need it. A map says what must be found.
func TestFinger(t *testing.T) {
	bothWays(t, func(t *testing.T, trapOnly bool) {
		tr, _ := newTree(t, 20000, trapOnly)
		r := rand.New(rand.NewPCG(campaign.Seed(t), 7))
		m := model{}
		key := func(i int) []byte { return fmt.Appendf(nil, "%06d", i) }
		write := func(op *Op, i, deletes int) {
			k, value := key(i), make([]byte, r.IntN(300))
			_, want := m[string(k)]
			var existed bool
			var err error
			if r.IntN(4) == 0 { // the write goes past the finger
				if op.At, err = tr.Locate(k); err != nil {
					t.Fatal(err)
				}
			}
			if r.IntN(10) < deletes {
				existed, err = tr.Delete(op, k)
				delete(m, string(k))
			} else {
				existed, err = tr.Put(op, k, value)
				m[string(k)] = string(value)
			}
			if err != nil || existed != want {
				t.Fatalf("write of %s: %t, %v, want %t", k, existed, err, want)
			}
		}
		const keys = 3000
		used, runs := 0, campaign.Scale(t, 600)
		op := &Op{}
		for n := range runs {
			at, step, deletes := r.IntN(keys), r.IntN(5)-2, n/100%2*7
			for range 40 {
				at = (at + step + keys) % keys
				if r.IntN(8) == 0 { // as a Tx that has read the key
					_, _, _, op.At, _ = tr.GetAt(nil, key(at))
				}
				write(op, at, deletes)
				if op.finger.set && op.finger.used {
					used++
				}
				if r.IntN(4) == 0 {
					write(&Op{}, (at+r.IntN(60)-30+keys)%keys, deletes)
				}
			}
			if n%50 == 49 {
				freeze(t, tr.pages)
			}
			if n%100 == 99 {
				compare(t, tr, m, r, func(r *rand.Rand) []byte { return key(r.IntN(keys)) })
			}
		}
		if used < 3*runs {
			t.Errorf("the finger was used %d times in %d runs", used, runs)
		}
	})
}
