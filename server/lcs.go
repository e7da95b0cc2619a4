package server

import (
	"errors"

	"faultline/store"
)

// lcsBytes is the most memory that an LCS works with: what one client asks for must not
// be what all the others have.
const lcsBytes = 64 << 20

// An lcsRequest is the options of LCS.
type lcsRequest struct {
	length, index, withLen bool
	minLen                 int64
}

func cmdLcs(c *conn, args [][]byte) {
	var texts [2][]byte // a key that is not there has no bytes
	for i := range texts {
		var err error
		if texts[i], err = c.view().AppendGet(nil, args[1+i]); err != nil && !errors.Is(err, store.ErrNotFound) {
			c.fail(err)
			return
		}
	}
	req, ok := c.parseLcs(args[3:])
	if !ok {
		return
	}
	if req.index && req.length {
		c.out.Error("ERR If you want both the length and indexes, please just use IDX.")
		return
	}
	a, b := texts[0], texts[1]
	if int64(len(a)+1)*int64(len(b)+1) > min(c.srv.conf.bulkBytes.Load(), lcsBytes)/4 {
		c.out.Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
		return
	}
	t := newLcsTable(a, b)
	switch {
	case req.index:
		c.writeMatches(t, &req)
	case req.length:
		c.out.Int(int64(t.at(len(a), len(b))))
	default:
		c.out.Bulk(t.common())
	}
}

func (c *conn) parseLcs(opts [][]byte) (req lcsRequest, ok bool) {
	for w := (words{rest: opts}); w.next(); {
		switch {
		case w.is("idx"):
			req.index = true
		case w.is("len"):
			req.length = true
		case w.is("withmatchlen"):
			req.withLen = true
		case w.takes("minmatchlen"):
			if req.minLen, ok = c.integer(w.value()); !ok {
				return req, false
			}
		default:
			c.out.Error(errSyntax)
			return req, false
		}
	}
	return req, true
}

// writeMatches answers with the ranges that a and b have in common, the last first.
func (c *conn) writeMatches(t *lcsTable, req *lcsRequest) {
	matches := t.matches()
	n := 0
	for _, m := range matches {
		if int64(m.n) >= req.minLen {
			matches[n] = m
			n++
		}
	}
	c.out.Map(2)
	c.out.BulkString("matches")
	c.out.Array(n)
	for _, m := range matches[:n] {
		if req.withLen {
			c.out.Array(3)
		} else {
			c.out.Array(2)
		}
		for _, from := range []int{m.a, m.b} {
			c.out.Array(2)
			c.out.Int(int64(from))
			c.out.Int(int64(from + m.n - 1))
		}
		if req.withLen {
			c.out.Int(int64(m.n))
		}
		c.spill()
	}
	c.out.BulkString("len")
	c.out.Int(int64(t.at(len(t.a), len(t.b))))
}

// An lcsTable has the length of the longest common subsequence of each a[:i] and b[:j].
type lcsTable struct {
	a, b   []byte
	length []uint32
}

func newLcsTable(a, b []byte) *lcsTable {
	t := &lcsTable{a, b, make([]uint32, (len(a)+1)*(len(b)+1))}
	width := len(b) + 1
	for i := range a {
		above, row := t.length[i*width:(i+1)*width], t.length[(i+1)*width:(i+2)*width]
		for j := range b {
			if a[i] == b[j] {
				row[j+1] = above[j] + 1
			} else {
				row[j+1] = max(above[j+1], row[j])
			}
		}
	}
	return t
}

func (t *lcsTable) at(i, j int) uint32 { return t.length[i*(len(t.b)+1)+j] }

// walk goes from the ends of a and b to a start, and calls match where it takes a byte
// of both. Where two ways are as long it goes the one that Redis goes.
func (t *lcsTable) walk(match func(i, j int)) {
	for i, j := len(t.a), len(t.b); i > 0 && j > 0; {
		switch {
		case t.a[i-1] == t.b[j-1]:
			i, j = i-1, j-1
			match(i, j)
		case t.at(i-1, j) > t.at(i, j-1):
			i--
		default:
			j--
		}
	}
}

// common returns the subsequence.
func (t *lcsTable) common() []byte {
	text := make([]byte, t.at(len(t.a), len(t.b)))
	left := len(text)
	t.walk(func(i, _ int) {
		left--
		text[left] = t.a[i]
	})
	return text
}

// An lcsMatch is n bytes at a in the one that are at b in the other.
type lcsMatch struct{ a, b, n int }

// matches returns the subsequence as ranges, the last first.
func (t *lcsTable) matches() []lcsMatch {
	var found []lcsMatch
	t.walk(func(i, j int) {
		if n := len(found); n > 0 && found[n-1].a == i+1 && found[n-1].b == j+1 {
			found[n-1] = lcsMatch{i, j, found[n-1].n + 1}
			return
		}
		found = append(found, lcsMatch{i, j, 1})
	})
	return found
}
