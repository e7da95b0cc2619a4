package resp

import "strconv"

// A Writer collects replies. It is not safe for concurrent use.
//
//	+OK\r\n            Status     $1\r\nb\r\n      Bulk
//	-ERR text\r\n      Error      $-1\r\n          Null
//	:1\r\n             Int        *2\r\n...        Array: its elements follow
type Writer struct {
	buf []byte
}

// Len returns how many bytes are waiting.
func (w *Writer) Len() int { return len(w.buf) }

// Bytes returns what is waiting; it is valid until the next reply.
func (w *Writer) Bytes() []byte { return w.buf }

// Reset drops what is waiting. The buffer is kept unless it is large.
func (w *Writer) Reset() {
	if cap(w.buf) > 4*maxBufferBytes {
		w.buf = nil
	}
	w.buf = w.buf[:0]
}

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
func (w *Writer) Null()         { w.buf = append(w.buf, "$-1\r\n"...) }
func (w *Writer) NullArray()    { w.buf = append(w.buf, "*-1\r\n"...) }
func (w *Writer) Raw(b []byte)  { w.buf = append(w.buf, b...) }
func (w *Writer) Bulk(b []byte) { w.buf = AppendBulk(w.buf, b) }

func (w *Writer) BulkString(s string) {
	w.header('$', int64(len(s)))
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
