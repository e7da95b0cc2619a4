package server

import (
	"bytes"
	"errors"
	"math"

	"faultline/server/resp"
	"faultline/store"
)

// orderedCommands are about keys in their order. Redis has none like them; they are
// written as its commands on sorted sets are.
func orderedCommands() []*command {
	const (
		read  = flagRead | flagWhole
		since = "0.1.0"
	)
	one := read | flagFast
	return []*command{
		{name: "kv.count", arity: 3, flags: read, since: since, args: "min max",
			summary: "Count the keys of a range, one by one", run: cmdKvCount},
		{name: "kv.delrange", arity: 3, flags: flagWrite | flagWhole, acl: aclDangerous, since: since, args: "min max",
			summary: "Delete the keys of a range", run: cmdKvDelrange},
		{name: "kv.first", arity: -1, flags: one, since: since, args: "[WITHVALUE]",
			summary: "Get the first key", run: cmdKvFirst},
		{name: "kv.last", arity: -1, flags: one, since: since, args: "[WITHVALUE]",
			summary: "Get the last key", run: cmdKvLast},
		{name: "kv.next", arity: -2, flags: one, since: since, args: "key [WITHVALUE]",
			summary: "Get the first key that is greater", run: cmdKvNext},
		{name: "kv.prev", arity: -2, flags: one, since: since, args: "key [WITHVALUE]",
			summary: "Get the last key that is less", run: cmdKvPrev},
		{name: "kv.range", arity: -3, flags: read, since: since, args: "min max [REV] [LIMIT count] [KEYS | WITHVALUES]",
			summary: "Get the keys of a range in order, 1000 at most if no LIMIT says more", run: cmdKvRange},
	}
}

// bounds are a range of keys: from lower on, less than upper; nil is no bound.
type bounds struct{ lower, upper []byte }

// parseBounds parses a minimum and a maximum as ZRANGE BYLEX has them: - and + are the
// ends, [k takes k with it, (k leaves it out. It answers with the error.
func (c *conn) parseBounds(lo, hi []byte) (b bounds, empty, ok bool) {
	b.lower, empty, ok = parseBound(lo, minimum)
	var none bool
	if ok {
		b.upper, none, ok = parseBound(hi, maximum)
	}
	if !ok {
		c.out.Error("ERR min or max not valid string range item")
		return b, false, false
	}
	empty = empty || none || b.lower != nil && b.upper != nil && bytes.Compare(b.lower, b.upper) >= 0
	return b, empty, true
}

// A side is which end of a range a bound is: - or +, the letter for no bound.
type side byte

const (
	minimum side = '-'
	maximum side = '+'
)

// parseBound returns the bound that text means. The key after k is k with a zero byte: it
// is the bound for "(k" if that is a minimum, and for "[k" if it is a maximum.
func parseBound(text []byte, side side) (key []byte, empty, ok bool) {
	switch {
	case len(text) == 1 && text[0] == byte(side):
		return nil, false, true
	case len(text) == 1 && (text[0] == byte(minimum) || text[0] == byte(maximum)):
		return nil, true, true // beyond all keys
	case len(text) == 0 || text[0] != '[' && text[0] != '(':
		return nil, false, false
	}
	key = text[1:]
	if (text[0] == '(') == (side == minimum) {
		key = append(bytes.Clone(key), 0)
	}
	key, beyond := shorten(key)
	return key, beyond && side == minimum, true
}

// shorten returns a bound that no key is too short for, with the same keys on each side:
// no key is longer than MaxKeyBytes. beyond tells that all keys are less; key is nil then.
func shorten(bound []byte) (key []byte, beyond bool) {
	if len(bound) <= store.MaxKeyBytes {
		return bound, false
	}
	key = after(bound[:store.MaxKeyBytes])
	return key, key == nil
}

// defaultLimit is how many keys KV.RANGE returns if nobody says.
const defaultLimit = 1000

// A rangeRequest is the arguments of KV.RANGE.
type rangeRequest struct {
	bounds
	reverse, empty, values bool
	limit                  int64
}

func (c *conn) parseRange(args [][]byte) (req rangeRequest, ok bool) {
	req.limit = defaultLimit
	for w := (words{rest: args[3:]}); w.next(); {
		switch {
		case w.is("rev"):
			req.reverse = true
		case w.is("keys"):
			req.values = false
		case w.is("withvalues"):
			req.values = true
		case w.takes("limit"):
			if req.limit, ok = c.integer(w.value()); !ok {
				return req, false
			}
			if req.limit < 0 { // as in Redis: all
				req.limit = math.MaxInt64
			}
		default:
			c.out.Error(errSyntax)
			return req, false
		}
	}
	req.bounds, req.empty, ok = c.parseBounds(args[1], args[2])
	return req, ok
}

// cmdKvRange answers with an array of keys, or of key, value, key, value. The minimum is
// the first argument with REV too.
func cmdKvRange(c *conn, args [][]byte) {
	req, ok := c.parseRange(args)
	if !ok {
		return
	}
	n, err := c.collectRange(&req)
	if err != nil {
		c.fail(err)
		return
	}
	c.out.Array(n)
	c.out.Raw(c.scratch)
}

// maxRangeBytes is the longest reply of KV.RANGE, which must be whole before it is sent.
const maxRangeBytes = 512 << 20

var errLongRange = errors.New("reply too long, use a smaller LIMIT")

// collectRange leaves the keys in c.scratch as bulks, and returns how many bulks.
func (c *conn) collectRange(req *rangeRequest) (n int, err error) {
	c.scratch = c.scratch[:0]
	if req.empty {
		return 0, nil
	}
	it, err := c.keys().NewIterator(&store.IterOptions{Lower: req.lower, Upper: req.upper, KeysOnly: !req.values})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	begin, step := it.First, it.Next
	if req.reverse {
		begin, step = it.Last, it.Prev
	}
	left := req.limit
	for ok := left > 0 && begin(); ok; ok = left > 0 && step() {
		c.scratch = resp.AppendBulk(c.scratch, it.Key())
		n++
		if req.values {
			c.scratch = resp.AppendBulk(c.scratch, it.Value())
			n++
		}
		if left--; len(c.scratch) > maxRangeBytes {
			return 0, errLongRange
		}
	}
	return n, it.Err()
}

func cmdKvCount(c *conn, args [][]byte) {
	c.ofRange(args, func(b bounds) (n uint64, ok bool) {
		n, err := c.keys().Count(b.lower, b.upper)
		if err != nil {
			c.fail(err)
		}
		return n, err == nil
	})
}

// ofRange answers with a number of keys within the bounds that args have; unless count
// has answered with an error.
func (c *conn) ofRange(args [][]byte, count func(bounds) (n uint64, ok bool)) {
	b, empty, ok := c.parseBounds(args[1], args[2])
	n := uint64(0)
	if ok && !empty {
		n, ok = count(b)
	}
	if ok {
		c.out.Int(int64(n))
	}
}

// cmdKvDelrange deletes in steps, so others may see some of the keys gone before the
// rest.
func cmdKvDelrange(c *conn, args [][]byte) {
	c.ofRange(args, func(b bounds) (n uint64, ok bool) {
		n, err := c.keys().DeleteRange(c.srv.ctx, b.lower, b.upper, store.Deferred)
		if n > 0 {
			c.srv.tracking.flush(c)
			lsn := c.srv.db.LSN()
			c.committed(lsn)
			c.lastWrite = max(c.lastWrite, lsn)
		}
		if err != nil {
			c.refuseWrite(err)
			return n, false
		}
		c.hasRead = true // the reply waits for all that is written by now
		return n, true
	})
}

func cmdKvFirst(c *conn, args [][]byte) {
	c.writeEntry(args[1:], bounds{}, (*store.Iterator).First)
}

func cmdKvLast(c *conn, args [][]byte) {
	c.writeEntry(args[1:], bounds{}, (*store.Iterator).Last)
}

func cmdKvNext(c *conn, args [][]byte) {
	lower, beyond := shorten(append(bytes.Clone(args[1]), 0))
	c.writeEntry(args[2:], bounds{lower: lower}, func(it *store.Iterator) bool { return !beyond && it.First() })
}

// cmdKvPrev finds no key before the empty one.
func cmdKvPrev(c *conn, args [][]byte) {
	upper, _ := shorten(args[1])
	c.writeEntry(args[2:], bounds{upper: upper}, (*store.Iterator).Last)
}

// writeEntry answers with the key that to goes to within b, or with the key and its
// value if opts ask for that, or with nil.
func (c *conn) writeEntry(opts [][]byte, b bounds, to func(*store.Iterator) bool) {
	values := len(opts) == 1 && isWord(opts[0], "withvalue")
	if len(opts) > 0 && !values {
		c.out.Error(errSyntax)
		return
	}
	it, err := c.keys().NewIterator(&store.IterOptions{Lower: b.lower, Upper: b.upper, KeysOnly: !values})
	if err != nil {
		c.fail(err)
		return
	}
	defer it.Close()
	switch found := to(it); {
	case it.Err() != nil:
		c.fail(it.Err())
	case found && values:
		c.out.Array(2)
		c.out.Bulk(it.Key())
		c.out.Bulk(it.Value())
	case found:
		c.out.Bulk(it.Key())
	case values:
		c.out.NullArray()
	default:
		c.out.Null()
	}
}
