package server

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"

	"faultline/server/resp"
	"faultline/store"
)

// A SCAN stops at the first of these, whatever its COUNT, which Redis calls a
// hint: one command must not keep a connection from its shutdown for long, nor
// its reply fill the memory.
const (
	maxScanKeys  = 16 << 10 // looked at
	maxScanBytes = 1 << 20  // of the reply
)

// A scan is the arguments of one SCAN.
type scan struct {
	cursor  uint64
	pattern []byte // nil = all keys
	count   int
	none    bool // TYPE asks for what there is none of
}

func cmdScan(c *conn, args [][]byte) {
	req, errText := parseScan(args)
	if errText != "" {
		c.out.Error(errText)
		return
	}
	from, ok := c.srv.cursors.find(req.cursor)
	if !ok {
		c.out.Error("ERR invalid cursor: forgotten or never given out, start again from 0")
		return
	}
	n, next, err := c.scanKeys(&req, from)
	if err != nil {
		c.fail(err)
		return
	}
	c.out.Array(2)
	c.out.BulkString(strconv.FormatUint(c.srv.cursors.add(next), 10))
	c.out.Array(n)
	c.out.Raw(c.scratch)
}

// scanKeys looks at keys from the key from on. It leaves those that match in
// c.scratch, as bulks, and returns how many, and the key to go on with: nil at
// the end. Keys come in order and once each, and a key that is there from the
// first SCAN to the last is among them.
func (c *conn) scanKeys(req *scan, from []byte) (n int, next []byte, err error) {
	c.scratch = c.scratch[:0]
	if req.none {
		return 0, nil, nil
	}
	prefix := globPrefix(req.pattern)
	it, err := c.keys().NewIterator(&store.IterOptions{Lower: prefix, Upper: after(prefix), KeysOnly: true})
	if err != nil {
		return 0, nil, err
	}
	defer it.Close()
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	ok := len(from) > 0 && it.SeekGE(from) || len(from) == 0 && it.First()
	for seen := 0; ok; ok = it.Next() {
		if seen == req.count || len(c.scratch) >= maxScanBytes {
			return n, bytes.Clone(it.Key()), nil
		}
		seen++
		if req.pattern == nil || matchGlob(req.pattern, it.Key()) {
			c.scratch = resp.AppendBulk(c.scratch, it.Key())
			n++
		}
	}
	return n, nil, it.Err()
}

// parseScan returns the error's text if the arguments are wrong.
func parseScan(args [][]byte) (req scan, errText string) {
	req.count = 10
	var err error
	if req.cursor, err = strconv.ParseUint(string(args[1]), 10, 64); err != nil {
		return req, "ERR invalid cursor"
	}
	opts := args[2:]
	for len(opts) > 0 {
		if len(opts) == 1 {
			return req, errSyntax
		}
		name, value := opts[0], opts[1]
		switch {
		case isWord(name, "match"):
			req.pattern = value
		case isWord(name, "type"):
			req.none = !isWord(value, "string")
		case isWord(name, "count"):
			n, ok := resp.ParseInt(value)
			if !ok {
				return req, errNotInteger
			}
			if n < 1 {
				return req, errSyntax
			}
			req.count = int(min(n, maxScanKeys))
		default:
			return req, errSyntax
		}
		opts = opts[2:]
	}
	return req, ""
}

// after returns the first key that does not begin with prefix and is greater
// than it; nil if there is none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := slices.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}

// cursorCount is how many unfinished SCANs the server remembers.
const cursorCount = 16 << 10

// cursors gives out numbers for keys. A client of Redis wants a decimal number
// as cursor, the place in an ordered store is a key, so the newest places are
// kept here, each under its number modulo cursorCount:
//
//	number   first   ...   last-cursorCount+1   ...   last
//	         forgotten     |<------- kept ----------->|
//
// The first number is random, so that one from before a restart is unknown
// instead of another scan's place. Numbers stay below 2^53: JavaScript clients
// may hold them as floats.
type cursors struct {
	mu   sync.Mutex
	last uint64 // given out
	ring [cursorCount]cursor
}

type cursor struct {
	number uint64
	key    []byte
}

func newCursors() *cursors { return &cursors{last: 1<<32 + rand.Uint64N(1<<52)} }

// add returns a number for key, which it keeps: 0 for nil, the end of a scan.
func (cs *cursors) add(key []byte) uint64 {
	if key == nil {
		return 0
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.last++
	cs.ring[cs.last%cursorCount] = cursor{cs.last, key}
	return cs.last
}

// find returns the key of a number; 0 stands for the first key there is. A
// number can be used again, as long as it is kept.
func (cs *cursors) find(number uint64) (key []byte, ok bool) {
	if number == 0 {
		return nil, true
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	e := cs.ring[number%cursorCount]
	return e.key, e.number == number
}
