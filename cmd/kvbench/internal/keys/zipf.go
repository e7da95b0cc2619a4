package keys

import "math"

// ZipfTheta is how uneven YCSB's draws are.
const ZipfTheta = 0.99

// A ranks is a source of numbers below n of which number r comes 1/(r+1)^ZipfTheta as
// often as number 0.
//
// The method is that of Gray and others (Quickly generating billion-record
// synthetic databases, 1994).
type ranks struct {
	chance    Draw // below 1<<53
	n         uint64
	zeta, eta float64
}

const (
	// chanceBits is what a float64 holds exactly.
	chanceBits = 53

	alpha = 1 / (1 - ZipfTheta)
)

// zetaOf2 is zetaOf(2).
var zetaOf2 = 1 + math.Pow(0.5, ZipfTheta)

func newRanks(n, seed uint64) ranks {
	r := ranks{chance: NewDraw(1<<chanceBits, seed), n: n, zeta: zetaOf(n)}
	r.fit()
	return r
}

// fit sets what follows from n and zeta.
func (r *ranks) fit() { r.eta = (1 - math.Pow(2/float64(r.n), 1-ZipfTheta)) / (1 - zetaOf2/r.zeta) }

func (r *ranks) next() uint64 {
	u := float64(r.chance.Next()) / (1 << chanceBits)
	uz := u * r.zeta
	switch {
	case uz < 1:
		return 0
	case uz < zetaOf2:
		return min(1, r.n-1)
	}
	return min(uint64(float64(r.n)*math.Pow(r.eta*u-r.eta+1, alpha)), r.n-1)
}

// A Zipf is a source of numbers below n of which few come often: the ranks are
// spread over all numbers, and no two share one.
type Zipf struct {
	places Permutation // of the ranks
	ranks  ranks
}

// NewZipf returns a source of numbers below n. Sources that share ranksSeed
// have the same favourites.
func NewZipf(n, ranksSeed, seed uint64) Zipf {
	return Zipf{places: NewPermutation(n, ranksSeed), ranks: newRanks(n, seed)}
}

// Next returns the next number.
func (z *Zipf) Next() uint64 { return z.places.At(z.ranks.next()) }

// zetaExact is up to where zetaOf adds term by term.
const zetaExact = 1 << 16

// zetaOf returns the sum of 1/i^ZipfTheta for i from 1 to n. The tail is the
// Euler-Maclaurin formula to its second term, which is exact to far more digits
// than a run can show.
func zetaOf(n uint64) (sum float64) {
	term := func(x float64) float64 { return math.Pow(x, -ZipfTheta) }
	exact := min(n, zetaExact)
	for i := range exact {
		sum += term(float64(i + 1))
	}
	if n > exact {
		a, b := float64(exact), float64(n)
		integral := (math.Pow(b, 1-ZipfTheta) - math.Pow(a, 1-ZipfTheta)) / (1 - ZipfTheta)
		sum += integral + (term(b)-term(a))/2
	}
	return sum
}
