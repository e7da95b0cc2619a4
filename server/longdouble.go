package server

import (
	"bytes"
	"math/big"
)

// A longDouble is the 80-bit float of x86 that Redis counts with in INCRBYFLOAT: 64 bits
// of mantissa, and exponents up to 2^16384.
type longDouble struct{ f big.Float }

const (
	longDoubleBits = 64
	longDoubleExp  = 16384
	longDoubleTiny = -16445 // the least exponent, that of a denormal number

	// longDoubleChars is Redis's MAX_LONG_DOUBLE_CHARS: longer texts are no floats.
	longDoubleChars = 5 << 10
)

// parseLongDouble takes what Redis's string2ld takes: the words of strtold but for NaN,
// without blanks, and not too large or too small.
func parseLongDouble(b []byte) (n longDouble, ok bool) {
	if len(b) >= longDoubleChars {
		return n, false
	}
	digits := bytes.ToLower(b)
	neg := len(digits) > 0 && digits[0] == '-'
	if neg || len(digits) > 0 && digits[0] == '+' {
		digits = digits[1:]
	}
	n.f.SetPrec(longDoubleBits)
	switch {
	case string(digits) == "inf" || string(digits) == "infinity":
		n.f.SetInf(neg)
		return n, true
	case bytes.HasPrefix(digits, []byte("0x")):
		ok = isFloat(digits[2:], isHex, 'p')
	default:
		ok = isFloat(digits, isDecimal, 'e')
	}
	if !ok {
		return n, false
	}
	text := digits
	if bytes.HasPrefix(digits, []byte("0x")) && !bytes.ContainsRune(digits, 'p') {
		text = append(text, "p0"...) // which Go wants
	}
	if _, _, err := n.f.Parse(string(text), 0); err != nil {
		return n, false
	}
	if neg {
		n.f.Neg(&n.f)
	}
	return n, n.inRange() && (n.f.Sign() != 0 || isZero(digits))
}

// isFloat tells whether b has digits, with at most one point among them, and then
// perhaps an exponent behind the letter exp.
func isFloat(b []byte, digit func(c byte) bool, exp byte) bool {
	i, digits, points := 0, 0, 0
	for ; i < len(b) && (digit(b[i]) || b[i] == '.'); i++ {
		if b[i] == '.' {
			points++
		} else {
			digits++
		}
	}
	if digits == 0 || points > 1 {
		return false
	}
	if i == len(b) {
		return true
	}
	if b[i] != exp {
		return false
	}
	rest := b[i+1:]
	if len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	for _, c := range rest {
		if !isDecimal(c) {
			return false
		}
	}
	return len(rest) > 0
}

func isDecimal(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool     { return isDecimal(c) || 'a' <= c && c <= 'f' }

// isZero tells whether a text that is a float says zero, instead of a number too small.
func isZero(b []byte) bool {
	for _, c := range bytes.TrimPrefix(b, []byte("0x")) {
		if c == 'e' || c == 'p' {
			break
		}
		if c != '0' && c != '.' {
			return false
		}
	}
	return true
}

// inRange tells whether n is a number that 80 bits hold.
func (n *longDouble) inRange() bool {
	exp := n.f.MantExp(nil)
	return !n.f.IsInf() && (n.f.Sign() == 0 || longDoubleTiny < exp && exp <= longDoubleExp)
}

// add returns n + m; ok is false if that is no number.
func (n *longDouble) add(m *longDouble) (sum longDouble, ok bool) {
	if n.f.IsInf() || m.f.IsInf() {
		return sum, false
	}
	sum.f.SetPrec(longDoubleBits).Add(&n.f, &m.f)
	return sum, sum.inRange()
}

// append prints n as Redis does: with 17 decimals, less the zeros at the end.
func (n *longDouble) append(dst []byte) []byte {
	from := len(dst)
	dst = n.f.Append(dst, 'f', 17)
	dst = bytes.TrimRight(dst, "0")
	dst = bytes.TrimSuffix(dst, []byte{'.'})
	if text := dst[from:]; string(text) == "-0" {
		return append(dst[:from], '0')
	}
	return dst
}
