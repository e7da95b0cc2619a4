package server

// matchGlob reports whether s matches pattern, in the language of Redis's
// stringmatchlen:
//
//	[ab] [a-c]  one of these bytes     ?   one byte
//	[^ab]       one other byte         *   any bytes, also none
//	\x          the byte x             each other byte stands for itself
//
// On a mismatch it goes back to the last star only, and lets that take one byte
// more: an earlier star would have to take what the last one can. It is
// therefore O(len(pattern) * len(s)); the recursive form is exponential
// (CVE-2022-36021).
func matchGlob(pattern, s []byte) bool {
	p, i := 0, 0
	star, starAt := -1, 0 // behind the last star, and where its bytes end
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, starAt = p, i
			continue
		}
		if p < len(pattern) {
			if next, ok := matchByte(pattern, p, s[i]); ok {
				p, i = next, i+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		starAt++
		p, i = star, starAt
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchByte reports whether the element at pattern[p], which is not a star,
// takes c, and returns where the next element begins.
func matchByte(pattern []byte, p int, c byte) (next int, ok bool) {
	switch {
	case pattern[p] == '?':
		return p + 1, true
	case pattern[p] == '[':
		return matchClass(pattern, p+1, c)
	case pattern[p] == '\\' && p+1 < len(pattern):
		p++
	}
	return p + 1, pattern[p] == c
}

// matchClass does so for a class, from behind its bracket. As in Redis a class
// that is not closed ends with the pattern, and [z-a] is [a-z].
func matchClass(pattern []byte, p int, c byte) (next int, ok bool) {
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	for p < len(pattern) && pattern[p] != ']' {
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			ok = ok || pattern[p+1] == c
			p += 2
		case p+2 < len(pattern) && pattern[p+1] == '-':
			lo, hi := min(pattern[p], pattern[p+2]), max(pattern[p], pattern[p+2])
			ok = ok || lo <= c && c <= hi
			p += 3
		default:
			ok = ok || pattern[p] == c
			p++
		}
	}
	return min(p+1, len(pattern)), ok != not
}

// globPrefix returns the bytes that every match begins with.
func globPrefix(pattern []byte) []byte {
	for i, c := range pattern {
		switch c {
		case '*', '?', '[', '\\':
			return pattern[:i]
		}
	}
	return pattern
}
