package server

import "faultline/server/resp"

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
	if n, ok = resp.ParseInt(arg); !ok {
		c.out.Error(errNotInteger)
	}
	return n, ok
}
