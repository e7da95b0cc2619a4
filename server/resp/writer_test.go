package resp

import (
	"bufio"
	"bytes"
	"testing"

	"faultline/server/resp/resptest"
)

// TestWriter checks the bytes of every kind of reply, and that a client reads
// back what was meant.
func TestWriter(t *testing.T) {
	tests := []struct {
		write func(*Writer)
		wire  string
		read  string
	}{
		{func(w *Writer) { w.Status("OK") }, "+OK\r\n", "+OK"},
		{func(w *Writer) { w.Error("ERR a\r\nb") }, "-ERR a  b\r\n", "-ERR a  b"},
		{func(w *Writer) { w.Int(-12) }, ":-12\r\n", ":-12"},
		{func(w *Writer) { w.Bulk([]byte("a\r\n")) }, "$3\r\na\r\n\r\n", `"a\r\n"`},
		{func(w *Writer) { w.BulkString("") }, "$0\r\n\r\n", `""`},
		{func(w *Writer) { w.Null() }, "$-1\r\n", "nil"},
		{func(w *Writer) { w.NullArray() }, "*-1\r\n", "nil"},
		{func(w *Writer) { w.Array(0) }, "*0\r\n", "[]"},
		{func(w *Writer) { w.Array(2); w.Int(1); w.Array(1); w.Null() }, "*2\r\n:1\r\n*1\r\n$-1\r\n", "[:1 [nil]]"},
		{func(w *Writer) { w.Raw(AppendBulk(nil, []byte("x"))) }, "$1\r\nx\r\n", `"x"`},
	}
	for _, tc := range tests {
		var w Writer
		tc.write(&w)
		if got := string(w.Bytes()); got != tc.wire || w.Len() != len(tc.wire) {
			t.Errorf("wrote %q, %d bytes, want %q", got, w.Len(), tc.wire)
		}
		r, err := resptest.ReadReply(bufio.NewReader(bytes.NewReader(w.Bytes())))
		if err != nil || r.String() != tc.read {
			t.Errorf("%q reads as %v, %v, want %s", tc.wire, r, err, tc.read)
		}
	}
}

// TestWriterReset checks that a buffer is kept, and a large one given back.
func TestWriterReset(t *testing.T) {
	var w Writer
	w.Status("OK")
	kept := cap(w.buf)
	w.Reset()
	if w.Len() != 0 || cap(w.buf) != kept {
		t.Errorf("%d bytes, capacity %d, want 0, %d", w.Len(), cap(w.buf), kept)
	}
	w.Bulk(make([]byte, 8*maxBufferBytes))
	w.Reset()
	if cap(w.buf) != 0 {
		t.Errorf("capacity %d after a large reply", cap(w.buf))
	}
}
