package server

import "math"

// parseInt takes what Redis's string2ll takes, which is what an int64 is printed as:
// no plus sign, no leading zero, no blank.
func parseInt(b []byte) (n int64, ok bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 || b[0] < '1' {
		return 0, false
	}
	var u uint64 // 19 digits fit
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		u = 10*u + uint64(c-'0')
	}
	switch {
	case neg && u <= 1<<63:
		return -int64(u), true
	case !neg && u <= math.MaxInt64:
		return int64(u), true
	}
	return 0, false
}

// Redis's texts for arguments that are wrong.
const (
	errSyntax     = "ERR syntax error"
	errNotInteger = "ERR value is not an integer or out of range"
	errNotFloat   = "ERR value is not a valid float"
	errNegative   = "ERR value is out of range, must be positive"
	errNoSuchKey  = "ERR no such key"
)

// integer parses an argument, or answers with the error.
func (c *conn) integer(arg []byte) (n int64, ok bool) {
	if n, ok = parseInt(arg); !ok {
		c.out.Error(errNotInteger)
	}
	return n, ok
}
