package keys

import "math/bits"

// A Draw is a source of numbers below n, with replacement.
type Draw struct{ n, seed, at uint64 }

// NewDraw returns a source of numbers below n.
func NewDraw(n, seed uint64) Draw { return Draw{n: n, seed: Mix(seed)} }

// Next returns the next number.
func (d *Draw) Next() uint64 {
	d.at++
	return d.Nth(d.at - 1)
}

// Nth returns what the i-th call of Next returns, counted from 0.
func (d *Draw) Nth(i uint64) uint64 {
	high, _ := bits.Mul64(Mix(d.seed+(i+1)*splitmixStep), d.n)
	return high
}

// splitmixStep and Mix are splitmix64 (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, 2014).
const splitmixStep = 0x9e3779b97f4a7c15

// Mix returns a number whose bits all depend on all of x.
func Mix(x uint64) uint64 {
	x += splitmixStep
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
