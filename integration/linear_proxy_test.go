package integration

import (
	"net"
	"sync"
	"testing"

	"faultline/server/resp"
	"faultline/server/resp/resptest"
)

// A writeBack stands between clients and a server and has the bug that a store
// must not have: it acknowledges a SET before the server has it. While both live
// nobody can tell, for reads are answered from what it holds back; what it holds
// back when the server dies is lost. With hold 0 it is honest.
type writeBack struct {
	l    net.Listener
	hold int // SETs held back at most

	mu     sync.Mutex // of one command, from its beginning to its end
	server *resptest.Conn
	held   map[string]string
	conns  []net.Conn
}

func startWriteBack(t *testing.T, server string, hold int) *writeBack {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := resptest.Dial(server)
	if err != nil {
		t.Fatal(err)
	}
	p := &writeBack{l: l, hold: hold, server: conn, held: map[string]string{}}
	t.Cleanup(p.close)
	go p.accept()
	return p
}

// close drops what is held back.
func (p *writeBack) close() {
	p.l.Close()
	p.server.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *writeBack) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.mu.Unlock()
		go p.serve(c)
	}
}

// serve answers one client until it or the server ends.
func (p *writeBack) serve(c net.Conn) {
	defer c.Close()
	in := resp.NewReader(c, resp.DefaultLimits)
	var out resp.Writer
	for {
		args, err := in.Next()
		switch {
		case err != nil:
			return
		case args != nil:
			words := make([]string, len(args))
			for i, a := range args {
				words[i] = string(a)
			}
			err = p.execute(words, &out)
		default:
			if _, err = c.Write(out.Bytes()); err == nil {
				out.Reset()
				err = in.Fill()
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *writeBack) execute(words []string, out *resp.Writer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if words[0] == "SET" {
		p.held[words[1]] = words[2]
		out.Status("OK")
		for key := range p.held {
			if len(p.held) <= p.hold {
				break
			}
			if err := p.passOn(key); err != nil {
				return err
			}
		}
		return nil
	}
	if value, ok := p.held[words[1]]; ok && words[0] == "GET" {
		out.BulkString(value)
		return nil
	}
	for _, key := range words[1:] { // values of MSET too: none is a key
		if err := p.passOn(key); err != nil {
			return err
		}
	}
	r, err := p.server.Do(words...)
	if err == nil {
		writeReply(out, r)
	}
	return err
}

// passOn gives the server the SET of key that is held back, if there is one.
func (p *writeBack) passOn(key string) error {
	value, ok := p.held[key]
	if !ok {
		return nil
	}
	delete(p.held, key)
	_, err := p.server.Do("SET", key, value)
	return err
}

// writeReply writes a reply as it came; errors do not come here.
func writeReply(out *resp.Writer, r resptest.Reply) {
	switch {
	case r.Null:
		out.Null()
	case r.Kind == '+':
		out.Status(r.Str)
	case r.Kind == ':':
		out.Int(r.Int)
	case r.Kind == '$':
		out.BulkString(r.Str)
	default:
		out.Array(len(r.Array))
		for _, e := range r.Array {
			writeReply(out, e)
		}
	}
}
