package server

import (
	"errors"
	"math"
	"strconv"
	"time"

	"faultline/server/resp"
	"faultline/store"
)

func cmdIncr(c *conn, args [][]byte) { c.increment(args[1:2], 1) }
func cmdDecr(c *conn, args [][]byte) { c.increment(args[1:2], -1) }

func cmdIncrby(c *conn, args [][]byte) {
	if n, ok := c.integer(args[2]); ok {
		c.increment(args[1:2], n)
	}
}

func cmdDecrby(c *conn, args [][]byte) {
	n, ok := c.integer(args[2])
	switch {
	case !ok:
	case n == math.MinInt64:
		c.out.Error("ERR decrement would overflow")
	default:
		c.increment(args[1:2], -n)
	}
}

// increment adds n to the one key, which counts as 0 if it is not there. It keeps when
// the key expires.
func (c *conn) increment(keys [][]byte, n int64) {
	key := keys[0]
	c.modify(keys, func(tx *store.Tx) error {
		old, at, err := c.readNumber(tx, key)
		if err != nil {
			return err
		}
		value, ok := resp.ParseInt(old)
		switch {
		case !ok:
			c.out.Error(errNotInteger)
			return nil
		case n > 0 && value > math.MaxInt64-n || n < 0 && value < math.MinInt64-n:
			c.out.Error("ERR increment or decrement would overflow")
			return nil
		}
		c.out.Int(value + n)
		c.changed(key)
		c.scratch = strconv.AppendInt(c.scratch[:0], value+n, 10)
		return tx.PutExpiring(key, c.scratch, at)
	})
}

// readNumber returns the text of the number that key has, and when it expires.
func (c *conn) readNumber(tx *store.Tx, key []byte) (text []byte, at time.Time, err error) {
	c.scratch, err = tx.AppendGetRange(c.scratch[:0], key, 0, longDoubleChars)
	if errors.Is(err, store.ErrNotFound) {
		return append(c.scratch, '0'), at, nil
	}
	if err == nil {
		at, err = tx.Expiry(key)
	}
	return c.scratch, at, err
}

func cmdIncrbyfloat(c *conn, args [][]byte) {
	key := args[1]
	c.modify(args[1:2], func(tx *store.Tx) error {
		old, at, err := c.readNumber(tx, key)
		if err != nil {
			return err
		}
		value, ok := parseLongDouble(old)
		n, ok2 := parseLongDouble(args[2])
		if !ok || !ok2 {
			c.out.Error(errNotFloat)
			return nil
		}
		sum, ok := value.add(&n)
		if !ok {
			c.out.Error("ERR increment would produce NaN or Infinity")
			return nil
		}
		c.scratch = sum.append(c.scratch[:0])
		c.out.Bulk(c.scratch)
		c.changed(key)
		return tx.PutExpiring(key, c.scratch, at)
	})
}
