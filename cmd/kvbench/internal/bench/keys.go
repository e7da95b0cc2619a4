package bench

import "math/bits"

// A keySpace is the keys of a run: the numbers 0 to n-1 in decimal, with leading
// zeros to a fixed length, as db_bench makes them. The order of keys is the
// order of the numbers.
type keySpace struct {
	n     uint64
	bytes int
}

// put writes key i to dst, which is as long as a key.
func (ks keySpace) put(dst []byte, i uint64) {
	for at := ks.bytes - 1; at >= 0; at-- {
		if i == 0 {
			dst[at] = '0'
			continue
		}
		dst[at] = byte('0' + i%10)
		i /= 10
	}
}

// fits reports whether all keys of the space have their own digits.
func (ks keySpace) fits() bool {
	last := ks.n - 1
	for range ks.bytes {
		last /= 10
	}
	return last == 0
}

// A permutation is an order of the numbers 0 to n-1, fixed by its seed, that
// needs no memory: a Feistel network over the next power of two, walked until
// it is back below n.
type permutation struct {
	n        uint64
	lowBits  int
	lowMask  uint64
	highMask uint64
	keys     [6]uint64
}

func newPermutation(n, seed uint64) permutation {
	width := max(bits.Len64(n-1), 2)
	low := width / 2
	p := permutation{n: n, lowBits: low, lowMask: 1<<low - 1, highMask: 1<<(width-low) - 1}
	for i := range p.keys {
		p.keys[i] = mix(seed + uint64(i))
	}
	return p
}

// at returns the number at place i, which is below n. Every number is below n
// and has one place.
func (p *permutation) at(i uint64) uint64 {
	for {
		low, high := i&p.lowMask, i>>p.lowBits
		for round := 0; round < len(p.keys); round += 2 {
			high ^= mix(low+p.keys[round]) & p.highMask
			low ^= mix(high+p.keys[round+1]) & p.lowMask
		}
		if i = high<<p.lowBits | low; i < p.n {
			return i
		}
	}
}

// A draw is a source of numbers below n, with replacement.
type draw struct{ n, state uint64 }

func newDraw(n, seed uint64) draw { return draw{n, mix(seed)} }

func (d *draw) next() uint64 {
	d.state += splitmixStep
	high, _ := bits.Mul64(mix(d.state), d.n)
	return high
}

// splitmixStep and mix are splitmix64 (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, 2014).
const splitmixStep = 0x9e3779b97f4a7c15

func mix(x uint64) uint64 {
	x += splitmixStep
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
