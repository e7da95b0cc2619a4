package server

import (
	"errors"

	"faultline/store"
)

// stringCommands are about values.
func stringCommands() []*command {
	return []*command{
		{name: "get", arity: 2, flags: flagRead | flagFast, keys: oneKey("RO access"), since: "1.0.0", args: "key",
			summary: "Get the value of a key", run: cmdGet},
		{name: "mget", arity: -2, flags: flagRead | flagFast, keys: allKeys("RO access"), since: "1.0.0", args: "key [key ...]",
			summary: "Get the values of all the given keys", run: cmdMget},
		{name: "mset", arity: -3, flags: flagWrite | flagDenyoom, keys: keyPairs("OW update"), since: "1.0.1", args: "key value [key value ...]",
			summary: "Set several keys to several values, atomically", run: cmdMset},
		{name: "set", arity: -3, flags: flagWrite | flagDenyoom, keys: oneKey("RW access update variable_flags"), since: "1.0.0", args: "key value",
			summary: "Set the value of a key", run: cmdSet},
	}
}

func cmdGet(c *conn, args [][]byte) { c.writeValue(args[1]) }

// cmdMget answers an error in the place of a value that cannot be read: its
// array may be on its way already.
func cmdMget(c *conn, args [][]byte) {
	c.out.Array(len(args) - 1)
	for _, key := range args[1:] {
		c.writeValue(key)
		if c.spill(); c.err != nil {
			return
		}
	}
}

// writeValue answers with the value of key. It does not allocate.
func (c *conn) writeValue(key []byte) {
	err := c.out.BulkFrom(func(dst []byte) ([]byte, error) { return c.srv.db.AppendGet(dst, key) })
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotFound):
		c.out.Null()
	default:
		c.fail(err)
	}
}

func cmdSet(c *conn, args [][]byte) {
	if len(args) > 3 {
		c.out.Error("ERR syntax error") // no option of Redis is known here
		return
	}
	c.batch.Reset()
	if c.put(args[1], args[2]) && c.apply() {
		c.out.Status("OK")
	}
}

func cmdMset(c *conn, args [][]byte) {
	if len(args)%2 == 0 {
		c.wrongArity("mset")
		return
	}
	c.batch.Reset()
	for i := 1; i < len(args); i += 2 {
		if !c.put(args[i], args[i+1]) {
			return
		}
	}
	if c.apply() {
		c.out.Status("OK")
	}
}

// put adds a write to c.batch, or answers with the error.
func (c *conn) put(key, value []byte) (ok bool) {
	if err := c.batch.Put(key, value); err != nil {
		c.refuseWrite(err)
		return false
	}
	return true
}

// apply commits c.batch in memory and notes what flush has to wait for, or
// answers with the error.
func (c *conn) apply() (ok bool) {
	lsn, err := c.srv.db.ApplyContext(c.srv.ctx, &c.batch, store.Deferred)
	if err != nil {
		c.refuseWrite(err)
		return false
	}
	c.wrote, c.hasWrote = max(c.wrote, lsn), true
	return true
}

// refuseWrite answers a write that was not made, and sends that before the next command:
// a failed wait for later writes takes back the replies that wait with them, and the
// client would have to doubt this write too.
func (c *conn) refuseWrite(err error) {
	c.fail(err)
	c.flush()
}
