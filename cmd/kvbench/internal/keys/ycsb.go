package keys

import "math"

// scrambledItems is of how many ranks YCSB draws for its scrambled distribution, so
// that the favourites stay the same when records are added.
const scrambledItems = 10_000_000_000

// A Scrambled is YCSB's ScrambledZipfianGenerator: a rank out of ten billion,
// hashed to a number below n. Ranks share numbers; the first comes 1/26.5 of the
// time, whatever n is.
type Scrambled struct {
	ranks ranks
	n     uint64
}

// NewScrambled returns a source of numbers below n. All sources have the same
// favourites.
func NewScrambled(n, seed uint64) Scrambled {
	return Scrambled{ranks: newRanks(scrambledItems, seed), n: n}
}

// Next returns the next number.
func (s *Scrambled) Next() uint64 { return fnv64(s.ranks.next()) % s.n }

// fnv64 is YCSB's Utils.fnvhash64, whose result has no sign.
func fnv64(x uint64) uint64 {
	const offset, prime = 0xcbf29ce484222325, 1099511628211
	h := uint64(offset)
	for range 8 {
		h = (h ^ x&0xff) * prime
		x >>= 8
	}
	if int64(h) < 0 {
		return -h
	}
	return h
}

// A Latest is YCSB's SkewedLatestGenerator: numbers that were added last come
// most often.
type Latest struct{ ranks ranks }

// NewLatest returns a source for a sequence of n numbers, which may grow.
func NewLatest(n, seed uint64) Latest { return Latest{newRanks(n, seed)} }

// Next returns a number below n, which is not less than in the call before.
func (l *Latest) Next(n uint64) uint64 {
	if n > l.ranks.n {
		l.grow(n)
	}
	return n - 1 - l.ranks.next()
}

func (l *Latest) grow(n uint64) {
	for l.ranks.n < n {
		l.ranks.n++
		l.ranks.zeta += math.Pow(float64(l.ranks.n), -ZipfTheta)
	}
	l.ranks.fit()
}

// A Scattered is keys whose order has nothing to do with that of their numbers, so
// that new ones fall among those that are there: what YCSB gets from hashing, without
// two numbers that share a key.
type Scattered struct {
	digits Space
	places Permutation
}

// scatteredDigits is as many as a uint64 holds, whatever they are.
const scatteredDigits = 19

// NewScattered returns keys of so many bytes.
func NewScattered(bytes int) Scattered {
	n := uint64(1)
	for range min(bytes, scatteredDigits) {
		n *= 10
	}
	return Scattered{Space{N: n, Bytes: bytes}, NewPermutation(n, 0)}
}

// Put writes key i to dst, which is as long as a key. i is below 10 to the power of
// its length.
func (s *Scattered) Put(dst []byte, i uint64) { s.digits.Put(dst, s.places.At(i)) }
