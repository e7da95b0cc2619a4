package resp

import "bytes"

// splitInline appends the arguments of an inline command to spans, as
// sdssplitargs of Redis's sds.c does: words between blanks, with quotes.
//
//	"..."  takes \n \r \t \b \a \xHH, and \ before any other byte
//	'...'  takes \'
//
// A quote must end before a blank or the end of the line; ok is false if one
// does not. base is the place of the line in its command. Escapes are undone in
// place: an argument is never longer than what stood for it.
func splitInline(spans []span, line []byte, base int) (_ []span, ok bool) {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i] // a C string there
	}
	for i := 0; ; {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			return spans, true
		}
		lo, hi := i, i
		for i < len(line) && !endsWord(line[i]) {
			if c := line[i]; c == '"' || c == '\'' {
				if hi, i, ok = unquote(line, hi, i+1, c); !ok {
					return spans, false
				}
				break
			}
			line[hi] = line[i]
			i++
			hi++
		}
		spans = append(spans, span{base + lo, base + hi})
	}
}

// unquote moves the quoted bytes at line[from:] to line[to:] and returns the
// ends of both: to behind the bytes, from behind the closing quote.
func unquote(line []byte, to, from int, quote byte) (_, _ int, ok bool) {
	for from < len(line) {
		c, n := line[from], 1
		switch {
		case c == quote:
			from++
			return to, from, from == len(line) || isBlank(line[from])
		case c == '\\' && quote == '"' && from+1 < len(line):
			c, n = unescape(line[from+1:])
		case c == '\\' && quote == '\'' && from+1 < len(line) && line[from+1] == '\'':
			c, n = '\'', 2
		}
		line[to] = c
		to++
		from += n
	}
	return to, from, false
}

// unescape returns the byte that stands after a backslash, and how many bytes
// that were with the backslash.
func unescape(s []byte) (c byte, n int) {
	if len(s) >= 3 && s[0] == 'x' {
		hi, ok1 := unhex(s[1])
		lo, ok2 := unhex(s[2])
		if ok1 && ok2 {
			return hi<<4 | lo, 4
		}
	}
	switch s[0] {
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'b':
		return '\b', 2
	case 'a':
		return '\a', 2
	}
	return s[0], 2
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// isBlank is C's isspace.
func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// endsWord has fewer: \v and \f may stand inside a word, but not begin one.
func endsWord(c byte) bool { return isBlank(c) && c != '\v' && c != '\f' }
