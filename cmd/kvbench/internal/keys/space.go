// Package keys makes the keys of a run, and the orders and draws in which they
// are used. All of it follows from seeds, and none of it allocates.
package keys

// A Space is the keys of a run: the numbers 0 to N-1 in decimal, with leading
// zeros to a fixed length, as db_bench makes them. The order of keys is the
// order of the numbers.
type Space struct {
	N     uint64
	Bytes int // of each key
}

// Put writes key i to dst, which is as long as a key.
func (ks Space) Put(dst []byte, i uint64) {
	for at := ks.Bytes - 1; at >= 0; at-- {
		if i == 0 {
			dst[at] = '0'
			continue
		}
		dst[at] = byte('0' + i%10)
		i /= 10
	}
}

// Number returns the number that key stands for. It reports false for what is no
// key of the space.
func (ks Space) Number(key []byte) (i uint64, ok bool) {
	if len(key) != ks.Bytes {
		return 0, false
	}
	for _, digit := range key {
		if digit < '0' || digit > '9' || i >= ks.N {
			return 0, false
		}
		i = 10*i + uint64(digit-'0')
	}
	return i, i < ks.N
}

// Fits reports whether all keys of the space have their own digits.
func (ks Space) Fits() bool {
	last := ks.N - 1
	for range ks.Bytes {
		last /= 10
	}
	return last == 0
}
