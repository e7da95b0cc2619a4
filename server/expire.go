package server

import (
	"math"
	"time"

	"faultline/store"
)

// expireCommands are about when keys expire.
func expireCommands() []*command {
	const (
		write = flagWrite | flagFast
		read  = flagRead | flagFast
		cond  = " [NX | XX | GT | LT]"
	)
	update, look := oneKey("RW update"), oneKey("RO access")
	return []*command{
		{name: "expire", arity: -3, flags: write, keys: update, since: "1.0.0", args: "key seconds" + cond,
			summary: "Let a key expire in so many seconds", run: cmdExpire},
		{name: "expireat", arity: -3, flags: write, keys: update, since: "1.2.0", args: "key unix-time-seconds" + cond,
			summary: "Let a key expire at a time", run: cmdExpireat},
		{name: "expiretime", arity: 2, flags: read, keys: look, since: "7.0.0", args: "key",
			summary: "Get the time at which a key expires", run: cmdExpiretime},
		{name: "persist", arity: 2, flags: write, keys: update, since: "2.2.0", args: "key",
			summary: "Let a key never expire", run: cmdPersist},
		{name: "pexpire", arity: -3, flags: write, keys: update, since: "2.6.0", args: "key milliseconds" + cond,
			summary: "Let a key expire in so many milliseconds", run: cmdPexpire},
		{name: "pexpireat", arity: -3, flags: write, keys: update, since: "2.6.0", args: "key unix-time-milliseconds" + cond,
			summary: "Let a key expire at a time in milliseconds", run: cmdPexpireat},
		{name: "pexpiretime", arity: 2, flags: read, keys: look, since: "7.0.0", args: "key",
			summary: "Get the time at which a key expires, in milliseconds", run: cmdPexpiretime},
		{name: "pttl", arity: 2, flags: read, keys: look, since: "2.6.0", args: "key",
			summary: "Get how many milliseconds a key has until it expires", run: cmdPttl},
		{name: "ttl", arity: 2, flags: read, keys: look, since: "1.0.0", args: "key",
			summary: "Get how many seconds a key has until it expires", run: cmdTTL},
	}
}

// now returns the time in milliseconds, by which keys expire.
func (c *conn) now() int64 { return c.srv.db.Now().UnixMilli() }

// expireConditions are the options of EXPIRE.
type expireConditions struct{ nx, xx, gt, lt bool }

func (c *conn) parseExpireConditions(args [][]byte) (cond expireConditions, ok bool) {
	for _, a := range args {
		switch {
		case isWord(a, "nx"):
			cond.nx = true
		case isWord(a, "xx"):
			cond.xx = true
		case isWord(a, "gt"):
			cond.gt = true
		case isWord(a, "lt"):
			cond.lt = true
		default:
			c.out.Error("ERR Unsupported option " + string(clip(a, len(a))))
			return cond, false
		}
	}
	switch {
	case cond.nx && (cond.xx || cond.gt || cond.lt):
		c.out.Error("ERR NX and XX, GT or LT options at the same time are not compatible")
		return cond, false
	case cond.gt && cond.lt:
		c.out.Error("ERR GT and LT options at the same time are not compatible")
		return cond, false
	}
	return cond, true
}

// allow tells whether a key that expires at old may expire at at. One that does not
// expire does so later than any that does.
func (cond expireConditions) allow(old time.Time, at int64) bool {
	never := old.IsZero()
	switch {
	case cond.nx && !never, cond.xx && never:
		return false
	case cond.gt && (never || at <= old.UnixMilli()):
		return false
	case cond.lt && !never && at >= old.UnixMilli():
		return false
	}
	return true
}

func cmdExpire(c *conn, args [][]byte)    { c.expire(args, "expire", time.Second, c.now()) }
func cmdExpireat(c *conn, args [][]byte)  { c.expire(args, "expireat", time.Second, 0) }
func cmdPexpire(c *conn, args [][]byte)   { c.expire(args, "pexpire", time.Millisecond, c.now()) }
func cmdPexpireat(c *conn, args [][]byte) { c.expire(args, "pexpireat", time.Millisecond, 0) }

// expire sets when a key expires, in units from base on, which is in milliseconds. A
// time that is over deletes the key.
func (c *conn) expire(args [][]byte, command string, unit time.Duration, base int64) {
	key, scale := args[1], int64(unit/time.Millisecond)
	cond, ok := c.parseExpireConditions(args[3:])
	if !ok {
		return
	}
	at, ok := c.integer(args[2])
	if !ok {
		return
	}
	if at > math.MaxInt64/scale || at < math.MinInt64/scale || at*scale > math.MaxInt64-base {
		c.badExpire(command)
		return
	}
	at = at*scale + base
	c.modify(args[1:2], func(tx *store.Tx) error {
		old, err := tx.Expiry(key)
		if err != nil {
			c.out.Int(0)
			return orAbsent(err)
		}
		if !cond.allow(old, at) {
			c.out.Int(0)
			return nil
		}
		c.out.Int(1)
		c.changed(key)
		if at <= c.now() {
			return tx.Delete(key)
		}
		return tx.SetExpiry(key, time.UnixMilli(at))
	})
}

func cmdPersist(c *conn, args [][]byte) {
	key := args[1]
	c.modify(args[1:2], func(tx *store.Tx) error {
		at, err := tx.Expiry(key)
		if err != nil || at.IsZero() {
			c.out.Int(0)
			return orAbsent(err)
		}
		c.out.Int(1)
		c.changed(key)
		return tx.SetExpiry(key, time.Time{})
	})
}

func cmdTTL(c *conn, args [][]byte)         { c.writeExpiry(args[1], c.now(), 1000) }
func cmdPttl(c *conn, args [][]byte)        { c.writeExpiry(args[1], c.now(), 1) }
func cmdExpiretime(c *conn, args [][]byte)  { c.writeExpiry(args[1], 0, 1000) }
func cmdPexpiretime(c *conn, args [][]byte) { c.writeExpiry(args[1], 0, 1) }

// writeExpiry answers how long after base key expires, in units of so many milliseconds,
// rounded: -1 if it does not, -2 if it is not there.
func (c *conn) writeExpiry(key []byte, base, unit int64) {
	at, err := c.view().Expiry(key)
	switch {
	case err != nil && orAbsent(err) == nil:
		c.out.Int(-2)
	case err != nil:
		c.fail(err)
	case at.IsZero():
		c.out.Int(-1)
	default:
		c.out.Int((max(at.UnixMilli()-base, 0) + unit/2) / unit)
	}
}
