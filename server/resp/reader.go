package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Limits bound what one command may hold. The names in the comments are those
// of redis.conf.
type Limits struct {
	BulkBytes    int // of one argument; proto-max-bulk-len
	Args         int // of one command; 1 Mi in Redis 6.2
	InlineBytes  int // of a line; PROTO_INLINE_MAX_SIZE in Redis's server.h
	CommandBytes int // of one command on the wire; client-query-buffer-limit
}

// DefaultLimits has Redis's figures.
var DefaultLimits = Limits{
	BulkBytes:    512 << 20,
	Args:         1 << 20,
	InlineBytes:  64 << 10,
	CommandBytes: 1 << 30,
}

// What a command may hold whose sender has not given the password yet, as in Redis.
const (
	strangerArgs      = 10
	strangerBulkBytes = 16 << 10
)

// A Meter counts the memory of Readers. It may be called by all of them at once.
type Meter interface {
	// Take asks for so many bytes more. Less than 0 gives back, and is always true.
	Take(bytes int) (ok bool)
}

// ErrMemory is returned by Fill if the Meter has no memory for a larger buffer.
var ErrMemory = errors.New("no memory for a command of that size")

const (
	idleBufferBytes = 128      // what an idle connection costs, after Release
	minBufferBytes  = 4 << 10  // what a new one costs
	maxBufferBytes  = 64 << 10 // kept from one pipeline to the next; larger is given back
	maxKeptArgs     = 1 << 10  // likewise

	// calmFills is how many reads in a row that need less than a quarter of the buffer
	// halve it.
	calmFills = 16
)

// A ProtocolError says why the input is not RESP. The texts are Redis's.
type ProtocolError string

func (e ProtocolError) Error() string { return "Protocol error: " + string(e) }

// A Reader parses commands. It is not safe for concurrent use.
//
//	      start        pos       scanned        len(buf)    cap(buf)
//	        |           |           |              |           |
//	+-------+-----------+-----------+--------------+-----------+
//	| spent | parsed    | no line   | not yet      | free      |
//	|       | arguments | end here  | looked at    |           |
//	+-------+-----------+-----------+--------------+-----------+
//	        |<------ the current command --- ...
type Reader struct {
	src   io.Reader
	lim   Limits
	meter Meter
	err   error // the first protocol error; it stays

	stranger bool // see SetStranger

	released bool // the buffer was given back
	calm     int  // reads that needed little of the buffer, in a row

	buf     []byte
	start   int // of the current command
	pos     int // of the next byte to parse
	scanned int // no line ends in buf[pos:scanned]

	left  int      // arguments that are to come; 0 between commands
	size  int      // of the argument to come, -1 before its length is known
	spans []span   // the arguments parsed so far
	args  [][]byte // what Next returned
}

// A span is an argument's place, in bytes from the start of its command: the
// command itself may move when the buffer does.
type span struct{ lo, hi int }

// NewReader returns a Reader of src.
func NewReader(src io.Reader, lim Limits) *Reader {
	return &Reader{src: src, lim: lim, size: -1}
}

// SetMeter makes m count the memory of the Reader, which has none yet.
func (r *Reader) SetMeter(m Meter) { r.meter = m }

// SetStranger makes the limits of commands narrow, as long as the sender has not said
// who it is, or those of NewReader.
func (r *Reader) SetStranger(is bool) { r.stranger = is }

// Fill reads once from the source. Arguments returned by Next are invalid
// after it.
func (r *Reader) Fill() error {
	if err := r.makeRoom(); err != nil {
		return err
	}
	n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil // an error comes again with the next Fill
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// makeRoom moves what is left to the front and, if the buffer was full, takes a larger
// one. Next has taken the whole commands, so what moves is one partial command,
// and moving costs once: from then on it starts at 0 until it is complete.
func (r *Reader) makeRoom() error {
	rest := r.buf[r.start:]
	full := len(r.buf) == cap(r.buf)
	if len(r.buf) < cap(r.buf)/4 {
		r.calm++
	} else {
		r.calm = 0
	}
	switch {
	case len(rest) == 0 && cap(r.buf) > maxBufferBytes:
		r.take(maxBufferBytes - cap(r.buf))
		r.buf = make([]byte, 0, maxBufferBytes)
	case len(rest) == 0 && r.calm >= calmFills && cap(r.buf) > minBufferBytes:
		r.take(cap(r.buf)/2 - cap(r.buf))
		r.buf = make([]byte, 0, cap(r.buf)/2)
		r.calm = 0
	case full && (cap(r.buf) < maxBufferBytes || len(rest) > cap(r.buf)/2):
		size := r.grown()
		if !r.take(size - cap(r.buf)) {
			return ErrMemory
		}
		grown := make([]byte, len(rest), size)
		copy(grown, rest)
		r.buf = grown
	case r.start > 0:
		r.buf = r.buf[:copy(r.buf, rest)]
	}
	r.pos -= r.start
	r.scanned -= r.start
	r.start = 0
	return nil
}

// Len returns how many bytes are in the buffer, those of commands that Next has returned
// since the last Fill among them.
func (r *Reader) Len() int { return len(r.buf) }

// Partial returns how many bytes Next has not returned.
func (r *Reader) Partial() int { return len(r.buf) - r.start }

// grown returns the size of the buffer that comes after one that is full: twice as
// much, but no more than the argument needs that is being read, if that is long. So a
// long value has a buffer of its own length, and twice its length is used while it
// moves there.
func (r *Reader) grown() int {
	twice := max(2*cap(r.buf), minBufferBytes)
	if cap(r.buf) == 0 && r.released {
		twice = idleBufferBytes
	}
	if need := r.pos - r.start + r.size + 2; r.size > maxBufferBytes && need > cap(r.buf) {
		return min(twice, need)
	}
	return twice
}

func (r *Reader) take(bytes int) bool { return r.meter == nil || r.meter.Take(bytes) }

// Release gives the buffer back if there is nothing in it. The next Fill makes do with
// a small one.
func (r *Reader) Release() {
	if r.start < len(r.buf) {
		return
	}
	r.take(-cap(r.buf))
	*r = Reader{src: r.src, lim: r.lim, meter: r.meter, err: r.err, stranger: r.stranger, size: -1, released: true}
}

// Close gives the buffer back. Nothing may be called after it.
func (r *Reader) Close() { r.take(-cap(r.buf)) }

// Next returns the next command that is in the buffer, name first, or nil if
// there is no whole one. Its arguments lie in the buffer: they are valid until
// the next call of Next or Fill. A command without arguments is skipped, as
// Redis does. After an error, which is a ProtocolError, it returns only that.
func (r *Reader) Next() ([][]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	done := false
	for !done && r.err == nil {
		var more bool
		switch {
		case r.left > 0 && r.size < 0:
			more = r.bulkHeader()
		case r.left > 0:
			more, done = r.bulk()
		case r.pos == len(r.buf):
			more = true
		case r.buf[r.pos] == '*':
			more = r.arrayHeader()
		default:
			more, done = r.inline()
		}
		if more && r.err == nil {
			if len(r.buf)-r.start > r.lim.CommandBytes {
				r.err = ProtocolError("too big command")
				break
			}
			return nil, nil
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.finish(), nil
}

// finish returns the arguments of the command that ends at pos.
func (r *Reader) finish() [][]byte {
	if cap(r.args) > maxKeptArgs && len(r.spans) <= maxKeptArgs {
		r.args = nil
	}
	r.args = r.args[:0]
	for _, s := range r.spans {
		// The capacity ends with the argument: an append to it must not
		// run into the next one.
		r.args = append(r.args, r.buf[r.start+s.lo:r.start+s.hi:r.start+s.hi])
	}
	r.begin()
	return r.args
}

// begin makes pos the start of a command.
func (r *Reader) begin() {
	r.start = r.pos
	r.left, r.size = 0, -1
	if cap(r.spans) > maxKeptArgs {
		r.spans = nil
	}
	r.spans = r.spans[:0]
}

func (r *Reader) arrayHeader() (more bool) {
	if n, ok := r.shortHeader('*', min(r.lim.Args, strangerArgs)); ok {
		r.left = n
		return false
	}
	line, ok := r.line('\r', "too big mbulk count string")
	if !ok {
		return true
	}
	n, ok := ParseInt(line[1:])
	switch {
	case !ok || n > int64(r.lim.Args):
		r.err = ProtocolError("invalid multibulk length")
	case r.stranger && n > strangerArgs:
		r.err = ProtocolError("unauthenticated multibulk length")
	case n <= 0:
		r.begin()
	default:
		r.left = int(n)
	}
	return false
}

// shortHeader takes a header of one to four digits that is whole in the buffer, which is
// most of them, without the search of line. It leaves all others to that, and those of
// more than most.
func (r *Reader) shortHeader(kind byte, most int) (n int, ok bool) {
	b := r.buf[r.pos:]
	if len(b) < 4 || b[0] != kind || b[1] < '1' || b[1] > '9' {
		return 0, false
	}
	n = int(b[1] - '0')
	for i := 2; i < min(len(b)-1, 6); i++ {
		switch c := b[i]; {
		case '0' <= c && c <= '9' && i < 5:
			n = 10*n + int(c-'0')
		case c == '\r' && b[i+1] == '\n' && n <= most:
			r.pos += i + 2
			r.scanned = r.pos
			return n, true
		default:
			return 0, false
		}
	}
	return 0, false
}

func (r *Reader) bulkHeader() (more bool) {
	if n, ok := r.shortHeader('$', min(r.lim.BulkBytes, strangerBulkBytes)); ok {
		r.size = n
		return false
	}
	if r.pos < len(r.buf) && r.buf[r.pos] != '$' {
		r.err = ProtocolError(fmt.Sprintf("expected '$', got '%c'", r.buf[r.pos]))
		return false
	}
	line, ok := r.line('\r', "too big bulk count string")
	if !ok {
		return true
	}
	n, ok := ParseInt(line[1:])
	if !ok || n < 0 || n > int64(r.lim.BulkBytes) {
		r.err = ProtocolError("invalid bulk length")
		return false
	}
	if r.stranger && n > strangerBulkBytes {
		r.err = ProtocolError("unauthenticated bulk length")
		return false
	}
	r.size = int(n)
	return false
}

func (r *Reader) bulk() (more, done bool) {
	end := r.pos + r.size
	if len(r.buf) < end+2 {
		return true, false
	}
	// Redis does not look at these two bytes. A client that counts wrongly
	// would have its data executed as commands.
	if r.buf[end] != '\r' || r.buf[end+1] != '\n' {
		r.err = ProtocolError("expected CRLF after a bulk")
		return false, false
	}
	r.spans = append(r.spans, span{r.pos - r.start, end - r.start})
	r.pos = end + 2
	r.scanned = r.pos
	r.size = -1
	r.left--
	return false, r.left == 0
}

func (r *Reader) inline() (more, done bool) {
	line, ok := r.line('\n', "too big inline request")
	if !ok {
		return true, false
	}
	base := r.pos - len(line) - 1 - r.start
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if r.spans, ok = splitInline(r.spans, line, base); !ok {
		r.err = ProtocolError("unbalanced quotes in request")
		return false, false
	}
	if len(r.spans) == 0 {
		r.begin()
		return false, false
	}
	return false, true
}

// line returns the bytes from pos up to end and moves pos behind the line;
// after a '\r' a '\n' must follow. It goes on where it last stopped looking.
// A line past the limit is the error tooLong.
func (r *Reader) line(end byte, tooLong ProtocolError) (line []byte, ok bool) {
	r.scanned = max(r.scanned, r.pos)
	i := bytes.IndexByte(r.buf[r.scanned:], end)
	if i < 0 {
		r.scanned = len(r.buf)
	} else {
		r.scanned += i
	}
	if r.scanned-r.pos > r.lim.InlineBytes {
		r.err = tooLong
		return nil, false
	}
	if i < 0 {
		return nil, false
	}
	next := r.scanned + 1
	if end == '\r' {
		if next == len(r.buf) {
			return nil, false
		}
		if r.buf[next] != '\n' {
			r.err = ProtocolError("expected CRLF after a length")
			return nil, false
		}
		next++
	}
	line = r.buf[r.pos:r.scanned]
	r.pos, r.scanned = next, next
	return line, true
}
