// Package resptest is the client's side of RESP2 and RESP3, for tests: it sends commands
// and reads replies, and shows a reply as one line of text.
package resptest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// A Reply is one reply of a server.
type Reply struct {
	Kind  byte    // + - : $ * _ # , = % ~ >, as on the wire
	Str   string  // of a status, an error, a bulk, a boolean, a double, a verbatim string
	Int   int64   // of an integer
	Null  bool    // a bulk or an array that is not there
	Array []Reply // of an array, a map (key, value, key, value), a set, a push
}

// Err returns an error reply as an error.
func (r Reply) Err() error {
	if r.Kind == '-' {
		return fmt.Errorf("reply: %s", r.Str)
	}
	return nil
}

// String shows strings quoted, arrays in brackets, the rest as on the wire. What only
// RESP3 has shows its kind in front.
func (r Reply) String() string {
	switch {
	case r.Null:
		return "nil"
	case strings.IndexByte("+-#,", r.Kind) >= 0:
		return string(r.Kind) + r.Str
	case r.Kind == '=':
		return "=" + strconv.Quote(r.Str)
	case r.Kind == ':':
		return ":" + strconv.FormatInt(r.Int, 10)
	case r.Kind == '$':
		return strconv.Quote(r.Str)
	}
	elems := make([]string, len(r.Array))
	for i, e := range r.Array {
		elems[i] = e.String()
	}
	kind := ""
	if r.Kind != '*' {
		kind = string(r.Kind)
	}
	return kind + "[" + strings.Join(elems, " ") + "]"
}

// A Conn is a connection to a server. It buffers both ways: commands wait for
// Flush. One goroutine may send while another receives.
type Conn struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

// Dial connects to a TCP address.
func Dial(addr string) (*Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return NewConn(c), nil
}

// NewConn returns a Conn over c.
func NewConn(c net.Conn) *Conn {
	return &Conn{Conn: c, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 64<<10)}
}

// Send adds a command to those that Flush sends. An error shows in Flush.
func (c *Conn) Send(args ...string) {
	fmt.Fprintf(c.w, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(c.w, "$%d\r\n%s\r\n", len(a), a)
	}
}

// SendRaw adds bytes as they are.
func (c *Conn) SendRaw(s string) { c.w.WriteString(s) }

func (c *Conn) Flush() error { return c.w.Flush() }

// Do sends one command and returns its reply. An error reply is an error too.
func (c *Conn) Do(args ...string) (Reply, error) {
	c.Send(args...)
	if err := c.Flush(); err != nil {
		return Reply{}, err
	}
	r, err := c.Receive()
	if err != nil {
		return Reply{}, err
	}
	return r, r.Err()
}

// Receive reads one reply.
func (c *Conn) Receive() (Reply, error) { return ReadReply(c.r) }

// ReadReply reads one reply from r. It trusts the lengths that it reads.
func ReadReply(r *bufio.Reader) (Reply, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return Reply{}, err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || line == "" {
		return Reply{}, fmt.Errorf("line of a reply: %q", line)
	}
	reply := Reply{Kind: line[0], Str: line[1:]}
	switch reply.Kind {
	case '+', '-', '#', ',':
		return reply, nil
	case '_':
		reply.Null = true
		return reply, nil
	case ':', '$', '*', '=', '%', '~', '>':
	default:
		return Reply{}, fmt.Errorf("line of a reply: %q", line)
	}
	n, err := strconv.ParseInt(reply.Str, 10, 64)
	if err != nil {
		return Reply{}, fmt.Errorf("line of a reply: %q: %w", line, err)
	}
	reply.Str = ""
	switch {
	case reply.Kind == ':':
		reply.Int = n
	case n < 0:
		reply.Null = true
	case reply.Kind == '$' || reply.Kind == '=':
		bulk := make([]byte, n+2)
		if _, err := io.ReadFull(r, bulk); err != nil {
			return Reply{}, err
		}
		reply.Str = string(bulk[:n])
	default:
		if reply.Kind == '%' {
			n *= 2
		}
		for range n {
			e, err := ReadReply(r)
			if err != nil {
				return Reply{}, err
			}
			reply.Array = append(reply.Array, e)
		}
	}
	return reply, nil
}
