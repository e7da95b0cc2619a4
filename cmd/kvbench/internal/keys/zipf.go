package keys

import "math"

// ZipfTheta is how uneven YCSB's draws are.
const ZipfTheta = 0.99

// A Zipf is a source of numbers below n of which few come often, as YCSB's
// scrambled Zipfian: number of rank r comes 1/r^ZipfTheta as often as the first,
// and the ranks are spread over all numbers.
//
// The method is that of Gray and others (Quickly generating billion-record
// synthetic databases, 1994).
type Zipf struct {
	ranks            Permutation // rank to number
	chance           Draw        // below 1<<53
	n                float64
	zeta, alpha, eta float64
}

// chanceBits is what a float64 holds exactly.
const chanceBits = 53

// NewZipf returns a source of numbers below n. Sources that share ranksSeed
// have the same favourites.
func NewZipf(n, ranksSeed, seed uint64) Zipf {
	zeta := zetaOf(n)
	return Zipf{
		ranks:  NewPermutation(n, ranksSeed),
		chance: NewDraw(1<<chanceBits, seed),
		n:      float64(n),
		zeta:   zeta,
		alpha:  1 / (1 - ZipfTheta),
		eta:    (1 - math.Pow(2/float64(n), 1-ZipfTheta)) / (1 - zetaOf(2)/zeta),
	}
}

// Next returns the next number.
func (z *Zipf) Next() uint64 { return z.ranks.At(z.rank()) }

func (z *Zipf) rank() uint64 {
	u := float64(z.chance.Next()) / (1 << chanceBits)
	uz := u * z.zeta
	switch {
	case uz < 1:
		return 0
	case uz < 1+math.Pow(0.5, ZipfTheta):
		return min(1, uint64(z.n)-1)
	}
	r := uint64(z.n * math.Pow(z.eta*u-z.eta+1, z.alpha))
	return min(r, uint64(z.n)-1)
}

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
