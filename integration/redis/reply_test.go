package redis

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
)

// A conn is a connection to a server.
type conn struct {
	net.Conn
	server *server
	r      *bufio.Reader
}

// do sends one command and returns its reply.
func (c *conn) do(args ...string) (reply, error) {
	if _, err := c.Write(encode(words(args...))); err != nil {
		return reply{}, err
	}
	return readReply(c.r)
}

func words(args ...string) [][]byte {
	b := make([][]byte, len(args))
	for i, a := range args {
		b[i] = []byte(a)
	}
	return b
}

// encode returns a command as it is sent.
func encode(args [][]byte) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n", len(a))
		b = append(append(b, a...), "\r\n"...)
	}
	return b
}

// A reply is one value of RESP2 or RESP3. Its bytes are kept as they came.
type reply struct {
	raw   []byte
	kind  byte    // the first byte
	text  []byte  // of a bulk, or the line without its first byte
	null  bool    // _ and the lengths of -1
	elems []reply // of an aggregate; a map has two for each entry
}

// readReply reads one reply. It is as strict as can be: a length that is not
// written as Redis writes it is an error.
func readReply(r *bufio.Reader) (reply, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return reply{}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return reply{}, fmt.Errorf("line of a reply: %q", line)
	}
	v := reply{raw: line, kind: line[0], text: line[1 : len(line)-2]}
	switch v.kind {
	case '+', '-', ':', ',', '#', '(':
		return v, nil
	case '_':
		v.null = true
		return v, nil
	case '$', '=', '!', '*', '~', '>', '%':
	default:
		return reply{}, fmt.Errorf("line of a reply: %q", line)
	}
	n, err := strconv.Atoi(string(v.text))
	if err != nil || n < -1 || strconv.Itoa(n) != string(v.text) {
		return reply{}, fmt.Errorf("length of a reply: %q", line)
	}
	switch {
	case n < 0:
		v.null = true
		return v, nil
	case v.kind == '$' || v.kind == '=' || v.kind == '!':
		return v.readBulk(r, n)
	case v.kind == '%':
		n *= 2
	}
	for range n {
		e, err := readReply(r)
		if err != nil {
			return reply{}, err
		}
		v.raw = append(v.raw, e.raw...)
		v.elems = append(v.elems, e)
	}
	return v, nil
}

func (v reply) readBulk(r *bufio.Reader, n int) (reply, error) {
	head := len(v.raw)
	v.raw = append(v.raw, make([]byte, n+2)...)
	if _, err := io.ReadFull(r, v.raw[head:]); err != nil {
		return reply{}, err
	}
	if !bytes.HasSuffix(v.raw, []byte("\r\n")) {
		return reply{}, fmt.Errorf("end of a bulk: %q", v.raw[len(v.raw)-2:])
	}
	v.text = v.raw[head : head+n]
	return v, nil
}

// isError tells whether the reply is an error.
func (v reply) isError() bool { return v.kind == '-' || v.kind == '!' }

// number returns an integer reply.
func (v reply) number() (int64, bool) {
	n, err := strconv.ParseInt(string(v.text), 10, 64)
	return n, err == nil && v.kind == ':'
}

// String shows what is on the wire, cut at some length.
func (v reply) String() string { return clip(v.raw) }

// clip quotes b, and tells how much of it is left out.
func clip(b []byte) string {
	const most = 200
	if len(b) <= most {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%q (%d bytes)", b[:most], len(b))
}
