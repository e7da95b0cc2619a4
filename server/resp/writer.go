package resp

import (
	"math"
	"strconv"
)

// A Writer collects replies. It is not safe for concurrent use. Its zero value writes
// RESP2; SetProtocol changes that.
//
//	reply       RESP2                    RESP3
//	Status      +OK\r\n                  the same
//	Error       -ERR text\r\n            the same
//	Int         :1\r\n                   the same
//	Bulk        $1\r\nb\r\n              the same
//	Array       *2\r\n...                the same: its elements follow
//	Map         *4\r\n... for 2 pairs    %2\r\n...
//	Set         *2\r\n...                ~2\r\n...
//	Push        *2\r\n...                >2\r\n...
//	Null        $-1\r\n                  _\r\n
//	NullArray   *-1\r\n                  _\r\n
//	Bool        :1\r\n                   #t\r\n
//	Double      $3\r\n1.5\r\n            ,1.5\r\n
//	Verbatim    $4\r\ntext\r\n           =8\r\ntxt:text\r\n
type Writer struct {
	buf    []byte
	three  bool // RESP3
	digits int  // of the length of the last BulkFrom: the next is likely the same
}

// SetProtocol makes the replies that follow RESP2 or RESP3.
func (w *Writer) SetProtocol(version int) { w.three = version == 3 }

// Protocol returns 2 or 3.
func (w *Writer) Protocol() int {
	if w.three {
		return 3
	}
	return 2
}

// Len returns how many bytes are waiting.
func (w *Writer) Len() int { return len(w.buf) }

// Cap returns how much memory the Writer has.
func (w *Writer) Cap() int { return cap(w.buf) }

// Bytes returns what is waiting; it is valid until the next reply.
func (w *Writer) Bytes() []byte { return w.buf }

// Truncate drops what was written since Len was n.
func (w *Writer) Truncate(n int) { w.buf = w.buf[:n] }

// Reset drops what is waiting. The buffer is kept unless it is large.
func (w *Writer) Reset() {
	if cap(w.buf) > 4*maxBufferBytes {
		w.buf = nil
	}
	w.buf = w.buf[:0]
}

// Release drops what is waiting, and the buffer.
func (w *Writer) Release() { w.buf = nil }

// Status appends a simple string, which must have no line break.
func (w *Writer) Status(s string) {
	w.buf = append(w.buf, '+')
	w.buf = append(w.buf, s...)
	w.crlf()
}

// Error appends an error. Its first word is the code that clients look at.
// Line breaks become blanks.
func (w *Writer) Error(s string) {
	w.buf = append(w.buf, '-')
	for i := range len(s) {
		c := s[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		w.buf = append(w.buf, c)
	}
	w.crlf()
}

func (w *Writer) Int(n int64)   { w.header(':', n) }
func (w *Writer) Array(n int)   { w.header('*', int64(n)) }
func (w *Writer) Raw(b []byte)  { w.buf = append(w.buf, b...) }
func (w *Writer) Bulk(b []byte) { w.buf = AppendBulk(w.buf, b) }

func (w *Writer) BulkString(s string) {
	w.header('$', int64(len(s)))
	w.buf = append(w.buf, s...)
	w.crlf()
}

// BulkFrom appends as a bulk what get appends to its argument, without another
// copy. If get fails nothing is appended; its error is returned.
func (w *Writer) BulkFrom(get func(dst []byte) ([]byte, error)) error {
	start := len(w.buf)
	w.digits = max(w.digits, 1)
	value := start + 1 + w.digits + 2 // where it lies if its length has as many digits
	for len(w.buf) < value {
		w.buf = append(w.buf, '$')
	}
	buf, err := get(w.buf)
	if err != nil {
		w.buf = w.buf[:start]
		return err
	}
	n := len(buf) - value
	var head [1 + 20 + 2]byte
	h := strconv.AppendInt(append(head[:0], '$'), int64(n), 10)
	w.digits = len(h) - 1
	h = append(h, '\r', '\n')
	if at := start + len(h); at != value {
		buf = append(buf, h...) // room for the move; overwritten
		copy(buf[at:], buf[value:value+n])
		buf = buf[:at+n]
	}
	copy(buf[start:], h)
	w.buf = append(buf, '\r', '\n')
	return nil
}

// Null appends the absence of a bulk, NullArray that of an array.
func (w *Writer) Null()      { w.null("$-1\r\n") }
func (w *Writer) NullArray() { w.null("*-1\r\n") }

func (w *Writer) null(two string) {
	if w.three {
		two = "_\r\n"
	}
	w.buf = append(w.buf, two...)
}

// Map appends the header of n pairs, which follow: key, value, key, value.
func (w *Writer) Map(n int) {
	if w.three {
		w.header('%', int64(n))
	} else {
		w.header('*', 2*int64(n))
	}
}

// Set appends the header of a set of n elements, which follow.
func (w *Writer) Set(n int) { w.aggregate('~', n) }

// Push appends the header of a message of n elements that is not a reply.
func (w *Writer) Push(n int) { w.aggregate('>', n) }

func (w *Writer) aggregate(three byte, n int) {
	if !w.three {
		three = '*'
	}
	w.header(three, int64(n))
}

func (w *Writer) Bool(b bool) {
	switch {
	case w.three && b:
		w.buf = append(w.buf, "#t\r\n"...)
	case w.three:
		w.buf = append(w.buf, "#f\r\n"...)
	case b:
		w.Int(1)
	default:
		w.Int(0)
	}
}

// Double appends f with 17 digits, as Redis does.
func (w *Writer) Double(f float64) {
	var text [32]byte
	b := text[:0]
	switch {
	case math.IsInf(f, 1):
		b = append(b, "inf"...)
	case math.IsInf(f, -1):
		b = append(b, "-inf"...)
	case math.IsNaN(f):
		b = append(b, "nan"...)
	default:
		b = strconv.AppendFloat(b, f, 'g', 17, 64)
	}
	if !w.three {
		w.Bulk(b)
		return
	}
	w.buf = append(w.buf, ',')
	w.buf = append(w.buf, b...)
	w.crlf()
}

// Verbatim appends a text that is to be shown as it is.
func (w *Writer) Verbatim(s string) {
	if !w.three {
		w.BulkString(s)
		return
	}
	w.header('=', int64(len("txt:")+len(s)))
	w.buf = append(w.buf, "txt:"...)
	w.buf = append(w.buf, s...)
	w.crlf()
}

// AppendBulk appends a bulk to dst, for replies that are put together before
// their header is known; Raw takes them.
func AppendBulk(dst, b []byte) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(len(b)), 10)
	dst = append(dst, '\r', '\n')
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

func (w *Writer) header(kind byte, n int64) {
	w.buf = append(w.buf, kind)
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.crlf()
}

func (w *Writer) crlf() { w.buf = append(w.buf, '\r', '\n') }
