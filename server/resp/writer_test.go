package resp

import (
	"bufio"
	"bytes"
	"errors"
	"math"
	"testing"

	"faultline/server/resp/resptest"
)

// TestWriter checks the bytes of every kind of reply in both protocols, and that a
// client reads back what was meant.
func TestWriter(t *testing.T) {
	tests := []struct {
		write      func(*Writer)
		wire, read string // RESP2
		three      string // RESP3, if it differs
		readThree  string
	}{
		{func(w *Writer) { w.Status("OK") }, "+OK\r\n", "+OK", "", ""},
		{func(w *Writer) { w.Error("ERR a\r\nb") }, "-ERR a  b\r\n", "-ERR a  b", "", ""},
		{func(w *Writer) { w.Int(-12) }, ":-12\r\n", ":-12", "", ""},
		{func(w *Writer) { w.Bulk([]byte("a\r\n")) }, "$3\r\na\r\n\r\n", `"a\r\n"`, "", ""},
		{func(w *Writer) { w.BulkString("") }, "$0\r\n\r\n", `""`, "", ""},
		{func(w *Writer) { w.Null() }, "$-1\r\n", "nil", "_\r\n", "nil"},
		{func(w *Writer) { w.NullArray() }, "*-1\r\n", "nil", "_\r\n", "nil"},
		{func(w *Writer) { w.Array(0) }, "*0\r\n", "[]", "", ""},
		{func(w *Writer) { w.Array(2); w.Int(1); w.Array(1); w.Int(2) }, "*2\r\n:1\r\n*1\r\n:2\r\n", "[:1 [:2]]", "", ""},
		{func(w *Writer) { w.Map(1); w.Int(1); w.Null() }, "*2\r\n:1\r\n$-1\r\n", "[:1 nil]", "%1\r\n:1\r\n_\r\n", "%[:1 nil]"},
		{func(w *Writer) { w.Set(1); w.Int(1) }, "*1\r\n:1\r\n", "[:1]", "~1\r\n:1\r\n", "~[:1]"},
		{func(w *Writer) { w.Push(1); w.Int(1) }, "*1\r\n:1\r\n", "[:1]", ">1\r\n:1\r\n", ">[:1]"},
		{func(w *Writer) { w.Bool(true) }, ":1\r\n", ":1", "#t\r\n", "#t"},
		{func(w *Writer) { w.Bool(false) }, ":0\r\n", ":0", "#f\r\n", "#f"},
		{func(w *Writer) { w.Double(1.5) }, "$3\r\n1.5\r\n", `"1.5"`, ",1.5\r\n", ",1.5"},
		{func(w *Writer) { w.Double(3.0e200) }, "$23\r\n2.9999999999999999e+200\r\n", `"2.9999999999999999e+200"`,
			",2.9999999999999999e+200\r\n", ",2.9999999999999999e+200"},
		{func(w *Writer) { w.Double(math.Inf(-1)) }, "$4\r\n-inf\r\n", `"-inf"`, ",-inf\r\n", ",-inf"},
		{func(w *Writer) { w.Double(math.Inf(1)) }, "$3\r\ninf\r\n", `"inf"`, ",inf\r\n", ",inf"},
		{func(w *Writer) { w.Double(math.NaN()) }, "$3\r\nnan\r\n", `"nan"`, ",nan\r\n", ",nan"},
		{func(w *Writer) { w.Verbatim("a\n") }, "$2\r\na\n\r\n", `"a\n"`, "=6\r\ntxt:a\n\r\n", `="txt:a\n"`},
		{func(w *Writer) { w.Raw(AppendBulk(nil, []byte("x"))) }, "$1\r\nx\r\n", `"x"`, "", ""},
	}
	for _, tc := range tests {
		if tc.three == "" {
			tc.three, tc.readThree = tc.wire, tc.read
		}
		for version, want := range map[int][2]string{2: {tc.wire, tc.read}, 3: {tc.three, tc.readThree}} {
			var w Writer
			w.SetProtocol(version)
			tc.write(&w)
			if got := string(w.Bytes()); got != want[0] || w.Len() != len(want[0]) {
				t.Errorf("RESP%d: wrote %q, %d bytes, want %q", w.Protocol(), got, w.Len(), want[0])
			}
			r, err := resptest.ReadReply(bufio.NewReader(bytes.NewReader(w.Bytes())))
			if err != nil || r.String() != want[1] {
				t.Errorf("%q reads as %v, %v, want %s", want[0], r, err, want[1])
			}
		}
	}
}

// TestBulkFrom writes values whose lengths have other numbers of digits than the last
// had, and one that fails: the bytes must be those of Bulk, and nothing.
func TestBulkFrom(t *testing.T) {
	var got, want Writer
	broken := errors.New("broken")
	for _, n := range []int{0, 5, 12, 3, 100_000, 99, 100, 9, 10, 1000, 1000, 1} {
		value := bytes.Repeat([]byte{'v'}, n)
		if err := got.BulkFrom(func(dst []byte) ([]byte, error) { return append(dst, value...), nil }); err != nil {
			t.Fatal(err)
		}
		want.Bulk(value)
		if err := got.BulkFrom(func(dst []byte) ([]byte, error) { return append(dst, "half"...), broken }); err != broken {
			t.Fatalf("error %v", err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("after %d bytes: %d bytes written, want %d", n, got.Len(), want.Len())
		}
	}
}

// TestTruncate takes a reply back, after one that stays.
func TestTruncate(t *testing.T) {
	var w Writer
	w.Status("OK")
	mark := w.Len()
	w.Int(1)
	w.Truncate(mark)
	w.Int(2)
	if got := string(w.Bytes()); got != "+OK\r\n:2\r\n" {
		t.Errorf("wrote %q", got)
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
