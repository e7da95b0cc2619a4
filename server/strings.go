package server

import (
	"errors"
	"slices"
	"time"

	"faultline/store"
)

// stringCommands are about values.
func stringCommands() []*command {
	const (
		write = flagWrite | flagDenyoom
		quick = write | flagFast
		set   = "[NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]"
		getex = "[EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]"
	)
	update, read := oneKey("RW access update"), oneKey("RO access")
	return []*command{
		{name: "append", arity: 3, flags: quick, keys: oneKey("RW insert"), since: "2.0.0", args: "key value",
			summary: "Append a value to a key", run: cmdAppend},
		{name: "decr", arity: 2, flags: quick, keys: update, since: "1.0.0", args: "key",
			summary: "Decrement the integer value of a key by one", run: cmdDecr},
		{name: "decrby", arity: 3, flags: quick, keys: update, since: "1.0.0", args: "key decrement",
			summary: "Decrement the integer value of a key", run: cmdDecrby},
		{name: "get", arity: 2, flags: flagRead | flagFast, keys: read, since: "1.0.0", args: "key",
			summary: "Get the value of a key", run: cmdGet},
		{name: "getdel", arity: 2, flags: flagWrite | flagFast, keys: oneKey("RW access delete"), since: "6.2.0", args: "key",
			summary: "Get the value of a key and delete the key", run: cmdGetdel},
		{name: "getex", arity: -2, flags: flagWrite | flagFast, keys: update, since: "6.2.0", args: "key " + getex,
			summary: "Get the value of a key and set when it expires", run: cmdGetex},
		{name: "getrange", arity: 4, flags: flagRead, keys: read, since: "2.4.0", args: "key start end",
			summary: "Get a part of the value of a key", run: cmdGetrange},
		{name: "getset", arity: 3, flags: quick, keys: update, since: "1.0.0", args: "key value",
			summary: "Set the value of a key and return its old value", run: cmdGetset},
		{name: "incr", arity: 2, flags: quick, keys: update, since: "1.0.0", args: "key",
			summary: "Increment the integer value of a key by one", run: cmdIncr},
		{name: "incrby", arity: 3, flags: quick, keys: update, since: "1.0.0", args: "key increment",
			summary: "Increment the integer value of a key", run: cmdIncrby},
		{name: "incrbyfloat", arity: 3, flags: quick, keys: update, since: "2.6.0", args: "key increment",
			summary: "Increment the number that is the value of a key", run: cmdIncrbyfloat},
		{name: "lcs", arity: -3, flags: flagRead, keys: twoKeys("RO access"), since: "7.0.0", args: "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]",
			summary: "Find the longest common subsequence of two values", run: cmdLcs},
		{name: "mget", arity: -2, flags: flagRead | flagFast, keys: allKeys("RO access"), since: "1.0.0", args: "key [key ...]",
			summary: "Get the values of all the given keys, as they are at one moment", run: cmdMget},
		{name: "mset", arity: -3, flags: write, keys: keyPairs("OW update"), since: "1.0.1", args: "key value [key value ...]",
			summary: "Set several keys to several values, atomically", run: cmdMset},
		{name: "msetnx", arity: -3, flags: write, keys: keyPairs("OW insert"), since: "1.0.1", args: "key value [key value ...]",
			summary: "Set several keys to several values, if none of them exists", run: cmdMsetnx},
		{name: "psetex", arity: 4, flags: write, keys: oneKey("OW update"), since: "2.6.0", args: "key milliseconds value",
			summary: "Set the value of a key, which expires in so many milliseconds", run: cmdPsetex},
		{name: "set", arity: -3, flags: write, keys: oneKey("RW access update variable_flags"), since: "1.0.0", args: "key value " + set,
			summary: "Set the value of a key", run: cmdSet},
		{name: "setex", arity: 4, flags: write, keys: oneKey("OW update"), since: "2.0.0", args: "key seconds value",
			summary: "Set the value of a key, which expires in so many seconds", run: cmdSetex},
		{name: "setnx", arity: 3, flags: quick, keys: oneKey("OW insert"), since: "1.0.0", args: "key value",
			summary: "Set the value of a key, if it does not exist", run: cmdSetnx},
		{name: "setrange", arity: 4, flags: write, keys: oneKey("RW update"), since: "2.2.0", args: "key offset value",
			summary: "Overwrite a part of the value of a key", run: cmdSetrange},
		{name: "strlen", arity: 2, flags: flagRead | flagFast, keys: oneKey("RO"), since: "2.2.0", args: "key",
			summary: "Get the length of the value of a key", run: cmdStrlen},
		{name: "substr", arity: 4, flags: flagRead, keys: read, since: "1.0.0", args: "key start end",
			summary: "Get a part of the value of a key; the old name of GETRANGE", run: cmdGetrange},
	}
}

func cmdGet(c *conn, args [][]byte) { c.writeValue(args[1]) }

// writeValue answers with the value of key. It does not allocate.
func (c *conn) writeValue(key []byte) (found bool) {
	v := c.view()
	err := c.out.BulkFrom(func(dst []byte) ([]byte, error) { return v.AppendGet(dst, key) })
	if err != nil {
		return c.noValue(err)
	}
	c.tally.hits++
	return true
}

// noValue answers what err, of a read, means.
func (c *conn) noValue(err error) (found bool) {
	if errors.Is(err, store.ErrNotFound) {
		c.tally.misses++
		c.out.Null()
	} else {
		c.fail(err)
	}
	return false
}

// cmdMget answers an error in the place of a value that cannot be read: its
// array may be on its way already.
func cmdMget(c *conn, args [][]byte) {
	start := c.out.Len()
	c.out.Array(len(args) - 1)
	if c.tx != nil {
		for _, key := range args[1:] {
			if c.writeValue(key); c.out.Len() > maxExecBytes {
				return // and it is refused
			}
		}
		return
	}
	err := c.keys().GetAll(args[1:], func(_ int, value []byte, err error) error {
		if err == nil {
			c.tally.hits++
			c.out.Bulk(value)
		} else {
			c.noValue(err)
		}
		c.spill()
		return c.err
	})
	switch {
	case errors.Is(err, store.ErrTooLarge): // no value has been written
		c.out.Truncate(start)
		c.fail(err)
	case err != nil && c.err == nil:
		c.err = err // the store is closed; the array has begun
	}
}

func cmdStrlen(c *conn, args [][]byte) {
	n, err := c.view().ValueBytes(args[1])
	if err = orAbsent(err); err != nil {
		c.fail(err)
		return
	}
	c.out.Int(int64(n))
}

// cmdGetrange counts from the end if a place is negative. Both are within the value.
func cmdGetrange(c *conn, args [][]byte) {
	start, ok := c.integer(args[2])
	if !ok {
		return
	}
	end, ok := c.integer(args[3])
	if !ok {
		return
	}
	err := c.out.BulkFrom(func(dst []byte) ([]byte, error) {
		dst, err := c.view().AppendGetSpan(dst, args[1], func(size int64) (offset, n int64) {
			return substring(start, end, size)
		})
		return dst, orAbsent(err)
	})
	if err != nil {
		c.fail(err)
	}
}

// substring is what GETRANGE returns of size bytes. The end of a range that lies before them
// is the first, as in Redis.
func substring(start, end, size int64) (offset, n int64) {
	if start < 0 && end < 0 && start > end {
		return 0, 0
	}
	if start < 0 {
		start = max(size+start, 0)
	}
	if end < 0 {
		end = max(size+end, 0)
	}
	return start, min(end, size-1) - start + 1
}

func cmdMset(c *conn, args [][]byte) {
	if len(args)%2 == 0 {
		c.wrongArity("mset")
		return
	}
	if bytesOf(args) > maxBatchedBytes {
		c.modify(nil, func(tx *store.Tx) error {
			c.out.Status("OK")
			return c.putPairs(tx, args[1:])
		})
		return
	}
	if err := c.putPairs(c.blind(), args[1:]); err != nil {
		c.refuseWrite(err)
		return
	}
	if c.apply() {
		c.out.Status("OK")
	}
}

// putPairs sets keys to values, which follow them.
func (c *conn) putPairs(w writer, pairs [][]byte) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := w.Put(pairs[i], pairs[i+1]); err != nil {
			return err
		}
		c.changed(pairs[i])
	}
	return nil
}

func bytesOf(args [][]byte) (n int) {
	for _, a := range args {
		n += len(a)
	}
	return n
}

func cmdMsetnx(c *conn, args [][]byte) {
	if len(args)%2 == 0 {
		c.wrongArity("msetnx")
		return
	}
	keys := make([][]byte, 0, len(args)/2)
	for i := 1; i < len(args); i += 2 {
		keys = append(keys, args[i])
	}
	c.modify(keys, func(tx *store.Tx) error {
		for _, key := range keys {
			if found, err := tx.Has(key); err != nil || found {
				c.out.Int(0)
				return err
			}
		}
		c.out.Int(1)
		return c.putPairs(tx, args[1:])
	})
}

func cmdGetdel(c *conn, args [][]byte) {
	key := args[1]
	c.modify(args[1:2], func(tx *store.Tx) error {
		if !c.writeValue(key) {
			return nil
		}
		c.changed(key)
		return tx.Delete(key)
	})
}

// errTooLong is for a value that an option of a command would make too long.
const errTooLong = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

// fits tells whether a value may have so many bytes, or answers with the error.
func (c *conn) fits(bytes int64) bool {
	if bytes <= min(c.srv.conf.bulkBytes.Load(), store.MaxValueBytes) {
		return true
	}
	c.out.Error(errTooLong)
	return false
}

func cmdAppend(c *conn, args [][]byte) {
	key, more := args[1], args[2]
	c.modify(args[1:2], func(tx *store.Tx) error {
		n, err := tx.ValueBytes(key)
		if err = orAbsent(err); err != nil || n > 0 && !c.fits(int64(n)+int64(len(more))) {
			return err
		}
		value, at, err := c.readToChange(tx, key, n+len(more))
		if err != nil {
			return err
		}
		c.out.Int(int64(n + len(more)))
		c.changed(key)
		return tx.PutExpiring(key, append(value, more...), at)
	})
}

// readToChange returns what key has, in c.scratch with room for size bytes, and when it
// expires. A key that is not there has nothing.
func (c *conn) readToChange(tx *store.Tx, key []byte, size int) (value []byte, at time.Time, err error) {
	c.scratch = slices.Grow(c.scratch[:0], size)
	if c.scratch, err = tx.AppendGet(c.scratch, key); err != nil {
		return c.scratch, at, orAbsent(err)
	}
	at, err = tx.Expiry(key)
	return c.scratch, at, err
}

// cmdSetrange fills a gap behind the value with zeros. Nothing to write makes no key.
func cmdSetrange(c *conn, args [][]byte) {
	key, part := args[1], args[3]
	offset, ok := c.integer(args[2])
	switch {
	case !ok:
		return
	case offset < 0:
		c.out.Error("ERR offset is out of range")
		return
	}
	c.modify(args[1:2], func(tx *store.Tx) error {
		n, err := tx.ValueBytes(key)
		if err = orAbsent(err); err != nil || len(part) == 0 {
			c.out.Int(int64(n))
			return err
		}
		if !c.fits(max(offset, offset+int64(len(part)))) { // the sum may overflow
			return nil
		}
		size := max(n, int(offset)+len(part))
		value, at, err := c.readToChange(tx, key, size)
		if err != nil {
			return err
		}
		value = value[:size]
		clear(value[n:])
		copy(value[offset:], part)
		c.out.Int(int64(size))
		c.changed(key)
		return tx.PutExpiring(key, value, at)
	})
}
