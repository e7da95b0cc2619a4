package keys

import "math/bits"

// A Permutation is an order of the numbers 0 to n-1, fixed by its seed, that
// needs no memory: a Feistel network over the next power of two, walked until
// it is back below n.
type Permutation struct {
	n        uint64
	lowBits  int
	lowMask  uint64
	highMask uint64
	keys     [6]uint64
}

// NewPermutation returns an order of n numbers; n is at least 1.
func NewPermutation(n, seed uint64) Permutation {
	width := max(bits.Len64(n-1), 2)
	low := width / 2
	p := Permutation{n: n, lowBits: low, lowMask: 1<<low - 1, highMask: 1<<(width-low) - 1}
	for i := range p.keys {
		p.keys[i] = Mix(seed + uint64(i))
	}
	return p
}

// At returns the number at place i, which is below n. Every number is below n
// and has one place.
func (p *Permutation) At(i uint64) uint64 {
	for {
		low, high := i&p.lowMask, i>>p.lowBits
		for round := 0; round < len(p.keys); round += 2 {
			high ^= Mix(low+p.keys[round]) & p.highMask
			low ^= Mix(high+p.keys[round+1]) & p.lowMask
		}
		if i = high<<p.lowBits | low; i < p.n {
			return i
		}
	}
}
