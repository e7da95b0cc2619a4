package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll returns every command of src as text, and what ended them.
func readAll(src io.Reader, lim Limits) (commands []string, err error) {
	return readAllOf(NewReader(src, lim))
}

func readAllOf(r *Reader) (commands []string, err error) {
	for {
		args, err := r.Next()
		if err != nil {
			return commands, err
		}
		if args != nil {
			commands = append(commands, fmt.Sprintf("%q", args))
			continue
		}
		if err := r.Fill(); err != nil {
			return commands, err
		}
	}
}

var readerTests = []struct {
	name string
	in   string
	want []string
	err  string // "" means that the input ends in order or in a partial command
}{
	{"array", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", []string{`["GET" "a"]`}, ""},
	{"pipeline", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", []string{`["PING"]`, `["PING"]`}, ""},
	{"binary", "*1\r\n$4\r\n\r\n\x00\xff\r\n", []string{`["\r\n\x00\xff"]`}, ""},
	{"empty argument", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", []string{`["ECHO" ""]`}, ""},
	{"no arguments", "*0\r\n*-1\r\n*-9\r\nPING\r\n", []string{`["PING"]`}, ""},
	{"partial", "*2\r\n$3\r\nGET\r\n$1\r\n", nil, ""},
	{"mixed", "PING\r\n*1\r\n$4\r\nQUIT\r\nPING\n", []string{`["PING"]`, `["QUIT"]`, `["PING"]`}, ""},

	{"not a number", "*x\r\n", nil, "Protocol error: invalid multibulk length"},
	{"no number", "*\r\n", nil, "Protocol error: invalid multibulk length"},
	{"plus", "*+1\r\n", nil, "Protocol error: invalid multibulk length"},
	{"leading zero", "*01\r\n", nil, "Protocol error: invalid multibulk length"},
	{"minus zero", "*-0\r\n", nil, "Protocol error: invalid multibulk length"},
	{"too many arguments", "*1048577\r\n", nil, "Protocol error: invalid multibulk length"},
	{"2^63", "*9223372036854775808\r\n", nil, "Protocol error: invalid multibulk length"},
	{"2^64+1", "*18446744073709551617\r\n", nil, "Protocol error: invalid multibulk length"},
	{"bulk 2^63-8", "*1\r\n$9223372036854775800\r\nPING\r\n", nil, "Protocol error: invalid bulk length"},
	{"bulk too long", "*1\r\n$536870913\r\n", nil, "Protocol error: invalid bulk length"},
	{"bulk negative", "*1\r\n$-1\r\n", nil, "Protocol error: invalid bulk length"},
	{"bulk not a number", "*1\r\n$a\r\n", nil, "Protocol error: invalid bulk length"},
	{"no bulk", "*1\r\n:1\r\n", nil, "Protocol error: expected '$', got ':'"},
	{"bulk longer than said", "*1\r\n$3\r\nPING\r\n", nil, "Protocol error: expected CRLF after a bulk"},
	{"CR alone", "*1\rx", nil, "Protocol error: expected CRLF after a length"},
	{"error ends it", "PING\r\n*x\r\nPING\r\n", []string{`["PING"]`}, "Protocol error: invalid multibulk length"},
	{"endless count", "*" + strings.Repeat("1", 64<<10), nil, "Protocol error: too big mbulk count string"},
	{"endless length", "*1\r\n$" + strings.Repeat("1", 64<<10), nil, "Protocol error: too big bulk count string"},
	{"endless line", strings.Repeat("a", 64<<10+1), nil, "Protocol error: too big inline request"},
	{"line too long", strings.Repeat("a", 64<<10+1) + "\r\n", nil, "Protocol error: too big inline request"},

	{"inline", "  set  a\tb \r\n", []string{`["set" "a" "b"]`}, ""},
	{"inline empty", "\r\n\n   \r\nPING\r\n", []string{`["PING"]`}, ""},
	{"inline without CR", "PING\nPING\n", []string{`["PING"]`, `["PING"]`}, ""},
	{"double quotes", `set "a b" "\x41\n\r\t\b\a\q\"\\"` + "\r\n", []string{`["set" "a b" "A\n\r\t\b\aq\"\\"]`}, ""},
	{"not hex", `"\xg1\x4"` + "\r\n", []string{`["xg1x4"]`}, ""},
	{"single quotes", `set 'a b' 'it\'s \n'` + "\r\n", []string{`["set" "a b" "it's \\n"]`}, ""},
	{"quotes in a word", `ab"cd" ''` + "\r\n", []string{`["abcd" ""]`}, ""},
	{"vertical tab", "\va\vb\r\n", []string{`["a\vb"]`}, ""},
	{"NUL ends a line", "PING\x00 x\r\n", []string{`["PING"]`}, ""},
	{"open quote", "set \"a\r\n", nil, "Protocol error: unbalanced quotes in request"},
	{"open single quote", "set 'a\r\n", nil, "Protocol error: unbalanced quotes in request"},
	{"escaped end", `set "a\` + "\r\n", nil, "Protocol error: unbalanced quotes in request"},
	{"text after a quote", "set \"a\"b\r\n", nil, "Protocol error: unbalanced quotes in request"},
}

// TestReader reads each input at once, and byte by byte: the two must agree.
func TestReader(t *testing.T) {
	for _, tc := range readerTests {
		for way, src := range map[string]io.Reader{
			"whole":     strings.NewReader(tc.in),
			"bytewise":  iotest.OneByteReader(strings.NewReader(tc.in)),
			"data, EOF": iotest.DataErrReader(strings.NewReader(tc.in)),
		} {
			got, err := readAll(src, DefaultLimits)
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("%s, %s: commands %v, want %v", tc.name, way, got, tc.want)
			}
			want := tc.err
			if want == "" {
				want = io.EOF.Error()
			}
			if err.Error() != want {
				t.Errorf("%s, %s: ended by %q, want %q", tc.name, way, err, want)
			}
		}
	}
}

// TestReaderCommandLimit sends arguments that are small each and too many
// together: the reader must give up near the limit.
func TestReaderCommandLimit(t *testing.T) {
	lim := DefaultLimits
	lim.CommandBytes = 100 << 10
	src := io.MultiReader(strings.NewReader("*1000000\r\n"), &endless{unit: []byte("$1\r\na\r\n")})
	_, err := readAll(src, lim)
	if want := ProtocolError("too big command"); err != want {
		t.Fatalf("ended by %v, want %v", err, want)
	}
}

// endless repeats a unit.
type endless struct {
	unit []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.unit[e.at%len(e.unit)]
		e.at++
	}
	return len(p), nil
}

// TestReaderWork sends one long argument byte by byte and counts the bytes that
// the reader moved, by the buffers that it had: with doubling their sizes sum to
// less than twice the last.
func TestReaderWork(t *testing.T) {
	const size = 1 << 20
	in := fmt.Sprintf("PING\r\n*1\r\n$%d\r\n%s\r\n", size, strings.Repeat("x", size))
	r := NewReader(iotest.OneByteReader(strings.NewReader(in)), DefaultLimits)
	var bufferBytes, moved, commands int
	for commands < 2 {
		args, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if args != nil {
			commands++
			continue
		}
		start := r.start
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if start > 0 {
			moved++
		}
		if cap(r.buf) != bufferBytes {
			bufferBytes = cap(r.buf)
			moved++
		}
	}
	if moved > 12 { // 4 KiB to 2 MiB in 10 buffers, and the slide past PING
		t.Errorf("%d moves of the buffer for %d bytes", moved, len(in))
	}
}

// TestReaderDeclared declares the most that the limits allow and sends nothing
// of it: no memory may follow.
func TestReaderDeclared(t *testing.T) {
	r := NewReader(strings.NewReader("*1048576\r\n$536870912\r\n"), DefaultLimits)
	for r.Fill() == nil {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.buf) > minBufferBytes || cap(r.spans) > 1 || cap(r.args) > 0 {
		t.Errorf("buffer %d, spans %d, args %d", cap(r.buf), cap(r.spans), cap(r.args))
	}
}

// TestReaderGivesBack reads one large command and then a small one: the large
// buffers must be gone.
func TestReaderGivesBack(t *testing.T) {
	const n = 100_000
	large := fmt.Sprintf("*%d\r\n%s", n, strings.Repeat("$1\r\na\r\n", n))
	r := NewReader(io.MultiReader(strings.NewReader(large), strings.NewReader("PING\r\n")), DefaultLimits)
	for commands := 0; commands < 2; {
		args, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if args != nil {
			commands++
		} else if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.buf) > maxBufferBytes || cap(r.spans) > maxKeptArgs || cap(r.args) > maxKeptArgs {
		t.Errorf("buffer %d, spans %d, args %d", cap(r.buf), cap(r.spans), cap(r.args))
	}
}

// TestReaderSourceError checks that an error of the source comes back as it is,
// after the data that came with it.
func TestReaderSourceError(t *testing.T) {
	broken := errors.New("broken")
	got, err := readAll(io.MultiReader(strings.NewReader("PING\r\n"), iotest.ErrReader(broken)), DefaultLimits)
	if len(got) != 1 || err != broken {
		t.Errorf("commands %v, ended by %v", got, err)
	}
	if _, err := readAll(new(silent), DefaultLimits); err != io.ErrNoProgress {
		t.Errorf("reader that returns nothing: %v", err)
	}
}

type silent struct{}

func (*silent) Read([]byte) (int, error) { return 0, nil }

// FuzzReader checks random input: cut at any place it must give the same
// commands and the same end, and the buffers must stay within a constant of what
// arrived.
func FuzzReader(f *testing.F) {
	for _, tc := range readerTests {
		if len(tc.in) < 1000 {
			f.Add([]byte(tc.in), uint(len(tc.in)/2))
		}
	}
	f.Add([]byte("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nbc\r\nGET a\r\n"), uint(7))
	lim := Limits{BulkBytes: 64, Args: 16, InlineBytes: 64, CommandBytes: 256}
	f.Fuzz(func(t *testing.T, in []byte, cut uint) {
		at := int(cut % uint(len(in)+1))
		want, wantErr := readAll(bytes.NewReader(in), lim)
		for _, src := range []io.Reader{
			io.MultiReader(bytes.NewReader(in[:at]), bytes.NewReader(in[at:])),
			iotest.OneByteReader(bytes.NewReader(in)),
		} {
			got, err := readAll(src, lim)
			// How far a partial command reaches past CommandBytes depends on
			// the packets; all else may not.
			tooBig := ProtocolError("too big command")
			if err == tooBig || wantErr == tooBig {
				continue
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || err.Error() != wantErr.Error() {
				t.Fatalf("cut: %v, %v; whole: %v, %v", got, err, want, wantErr)
			}
		}

		r := NewReader(iotest.OneByteReader(bytes.NewReader(in)), DefaultLimits)
		for {
			args, err := r.Next()
			if err != nil {
				break
			}
			if args == nil && r.Fill() != nil {
				break
			}
		}
		if cap(r.buf) > 2*len(in)+minBufferBytes {
			t.Fatalf("buffer of %d bytes after %d bytes of input", cap(r.buf), len(in))
		}
	})
}

// FuzzRoundTrip checks that any arguments arrive as they were sent.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("SET"), []byte("a"), []byte("\r\n"))
	f.Add([]byte(""), []byte("$1\r\n"), []byte("\x00"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var w Writer
		w.Array(3)
		w.Bulk(a)
		w.BulkString(string(b))
		w.Bulk(c)
		got, err := readAll(iotest.HalfReader(bytes.NewReader(w.Bytes())), DefaultLimits)
		want := fmt.Sprintf("%q", [][]byte{a, b, c})
		if len(got) != 1 || got[0] != want || err != io.EOF {
			t.Fatalf("%v, %v, want %s", got, err, want)
		}
	})
}

// BenchmarkReader parses a pipeline of SETs as redis-benchmark sends them.
func BenchmarkReader(b *testing.B) {
	src := &endless{unit: []byte("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$3\r\nxxx\r\n")}
	r := NewReader(src, DefaultLimits)
	b.SetBytes(int64(len(src.unit)))
	b.ReportAllocs()
	for b.Loop() {
		for {
			args, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if args != nil {
				break
			}
			if err := r.Fill(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// A meter counts bytes, up to most.
type meter struct{ held, peak, most int }

func (m *meter) Take(n int) bool {
	if n > 0 && m.held+n > m.most {
		return false
	}
	m.held += n
	m.peak = max(m.peak, m.held)
	return true
}

// TestReaderLongValue reads a value of many bytes: the buffer must end with its length,
// and be counted, and given back.
func TestReaderLongValue(t *testing.T) {
	const size = 5<<20 + 17
	in := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", size, strings.Repeat("x", size))
	m := &meter{most: 1 << 30}
	r := NewReader(strings.NewReader(in), DefaultLimits)
	r.SetMeter(m)
	for {
		args, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if args != nil {
			if len(args[2]) != size {
				t.Fatalf("value of %d bytes", len(args[2]))
			}
			break
		}
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.buf) != len(in) || m.held != len(in) || m.peak != len(in) {
		t.Errorf("buffer of %d bytes, %d counted, %d at most, for %d", cap(r.buf), m.held, m.peak, len(in))
	}
	if err := r.Fill(); err != io.EOF {
		t.Fatal(err)
	}
	if m.held != maxBufferBytes {
		t.Errorf("%d bytes kept, want %d", m.held, maxBufferBytes)
	}
	r.Release()
	if m.held != 0 || cap(r.buf) != 0 {
		t.Errorf("%d bytes kept after Release, buffer of %d", m.held, cap(r.buf))
	}
}

// TestReaderCalms reads one pipeline that fills a large buffer, and then small commands:
// the buffer must become small again, and not before some have come.
func TestReaderCalms(t *testing.T) {
	m := &meter{most: 1 << 20}
	src := new(bytes.Buffer)
	src.WriteString(strings.Repeat("PING\r\n", maxBufferBytes/6))
	r := NewReader(src, DefaultLimits)
	r.SetMeter(m)
	drain := func() {
		t.Helper()
		for {
			if args, err := r.Next(); err != nil {
				t.Fatal(err)
			} else if args == nil {
				return
			}
		}
	}
	for src.Len() > 0 {
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		drain()
	}
	for n := 0; cap(r.buf) > minBufferBytes; n++ {
		if n < calmFills && cap(r.buf) < maxBufferBytes {
			t.Fatalf("%d bytes after %d small commands", cap(r.buf), n)
		}
		if n > 6*calmFills {
			t.Fatalf("still %d bytes after %d small commands", cap(r.buf), n)
		}
		src.WriteString("PING\r\n")
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		drain()
	}
	if m.held != minBufferBytes {
		t.Errorf("%d bytes counted, want %d", m.held, minBufferBytes)
	}
}

// TestReaderMemory has a meter that does not give enough: Fill must say so, and what was
// taken be given back by Close.
func TestReaderMemory(t *testing.T) {
	m := &meter{most: 100 << 10}
	full := NewReader(strings.NewReader("*1\r\n$200000\r\n"+strings.Repeat("x", 200_000)), DefaultLimits)
	full.SetMeter(m)
	_, err := readAllOf(full)
	if err != ErrMemory {
		t.Fatalf("ended by %v", err)
	}
	if m.held == 0 {
		t.Error("nothing was counted")
	}
	r := NewReader(strings.NewReader("PING\r\n"), DefaultLimits)
	r.SetMeter(m)
	m.held = 0
	if err := r.Fill(); err != nil || m.held != minBufferBytes {
		t.Errorf("%v, %d bytes counted", err, m.held)
	}
	if r.Close(); m.held != 0 {
		t.Errorf("%d bytes counted after Close", m.held)
	}
}

// TestReaderRelease gives the buffer back, but not with a part of a command in it, and
// reads on with a small one.
func TestReaderRelease(t *testing.T) {
	r := NewReader(io.MultiReader(strings.NewReader("PI"), strings.NewReader("NG\r\n"), strings.NewReader("PING\r\n")), DefaultLimits)
	var commands int
	for commands < 2 {
		args, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if args != nil {
			commands++
			continue
		}
		if r.Release(); r.start < len(r.buf) && cap(r.buf) == 0 {
			t.Fatal("a partial command is gone")
		}
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.buf) > idleBufferBytes {
		t.Errorf("buffer of %d bytes", cap(r.buf))
	}
}

// TestReaderStranger reads what is too long only while the sender has not said who it is.
func TestReaderStranger(t *testing.T) {
	for _, tc := range []struct{ in, err string }{
		{"*10\r\n", "EOF"},
		{"*11\r\n", "Protocol error: unauthenticated multibulk length"},
		{"*1\r\n$16384\r\n", "EOF"},
		{"*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"},
	} {
		for _, stranger := range []bool{true, false} {
			want := tc.err
			if !stranger {
				want = "EOF"
			}
			r := NewReader(strings.NewReader(tc.in), DefaultLimits)
			r.SetStranger(stranger)
			if _, err := readAllOf(r); err.Error() != want {
				t.Errorf("%q, stranger %t: %v, want %s", tc.in, stranger, err, want)
			}
		}
	}
}
