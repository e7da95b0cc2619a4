package redis

import (
	"bytes"
	"slices"
)

// A comparison tells whether two replies to one command are the same, where bytes
// that are not equal can be.
type comparison func(a, b reply) bool

// same is what nearly all replies are held to: byte for byte.
func same(a, b reply) bool { return bytes.Equal(a.raw, b.raw) }

// near compares what was left of a time, or a moment that was reckoned from now:
// the two servers have not been asked in the same millisecond.
func near(tolerance int64) comparison {
	return func(a, b reply) bool {
		x, ok := a.number()
		y, ok2 := b.number()
		return ok && ok2 && x > 0 && y > 0 && max(x-y, y-x) <= tolerance || same(a, b)
	}
}

// unordered compares arrays whose order Redis does not promise.
func unordered(a, b reply) bool {
	if a.kind != b.kind || len(a.elems) != len(b.elems) {
		return false
	}
	return len(a.elems) == 0 && same(a, b) || slices.Equal(sorted(a), sorted(b))
}

func sorted(v reply) []string {
	s := make([]string, len(v.elems))
	for i, e := range v.elems {
		s[i] = string(e.raw)
	}
	slices.Sort(s)
	return s
}

// alike compares what the servers cannot agree on: a random key, a size in memory,
// one step of a SCAN. Both must have one, of one type, or the same error.
func alike(a, b reply) bool {
	return a.kind == b.kind && a.null == b.null && (!a.isError() || same(a, b))
}

// badScan compares SCANs that are wrong, if by nothing else then by a cursor that
// was never given out, which is an error in kvd.
func badScan(a, b reply) bool {
	return alike(a, b) || bytes.HasPrefix(b.raw, []byte("-ERR invalid cursor"))
}

// wholeScan compares SCANs that have room for all keys.
func wholeScan(a, b reply) bool {
	if len(a.elems) != 2 || len(b.elems) != 2 || string(a.elems[0].text) != "0" {
		return badScan(a, b)
	}
	return same(a.elems[0], b.elems[0]) && unordered(a.elems[1], b.elems[1])
}

// greeting compares the replies of HELLO: the same fields in the same order.
func greeting(a, b reply) bool {
	if a.kind != b.kind || len(a.elems) != len(b.elems) {
		return false
	}
	for i := 0; i < len(a.elems); i += 2 {
		if !same(a.elems[i], b.elems[i]) {
			return false
		}
	}
	return len(a.elems) > 0 || same(a, b)
}
