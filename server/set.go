package server

import (
	"math"
	"time"

	"faultline/store"
)

// setOptions are those of SET and GETEX.
type setOptions uint

const (
	optNX setOptions = 1 << iota
	optXX
	optGet
	optKeepTTL
	optPersist
	optEX
	optPX
	optEXAT
	optPXAT

	optTime = optEX | optPX | optEXAT | optPXAT
)

// setWords has, for each option, what may not stand before it.
var setWords = []struct {
	word   string
	opt    setOptions
	unless setOptions
}{
	{"nx", optNX, optXX},
	{"xx", optXX, optNX},
	{"get", optGet, 0},
	{"keepttl", optKeepTTL, optPersist | optTime},
	{"persist", optPersist, optKeepTTL | optTime},
	{"ex", optEX, optKeepTTL | optPersist | optTime&^optEX},
	{"px", optPX, optKeepTTL | optPersist | optTime&^optPX},
	{"exat", optEXAT, optKeepTTL | optPersist | optTime&^optEXAT},
	{"pxat", optPXAT, optKeepTTL | optPersist | optTime&^optPXAT},
}

// parseSetOptions parses options among those that are allowed; when is the argument of
// the last one about time. It answers with the error.
func (c *conn) parseSetOptions(args [][]byte, allowed setOptions) (opts setOptions, when []byte, ok bool) {
	for i := 0; i < len(args); i++ {
		var opt setOptions
		for _, w := range setWords {
			if w.opt&allowed != 0 && isWord(args[i], w.word) && opts&w.unless == 0 {
				opt = w.opt
			}
		}
		if opt&optTime != 0 {
			if i++; i == len(args) {
				opt = 0
			} else {
				when = args[i]
			}
		}
		if opt == 0 {
			c.out.Error(errSyntax)
			return 0, nil, false
		}
		opts |= opt
	}
	return opts, when, true
}

// deadline returns the time that the argument of an option says, or answers with the
// error. Without such an option it is the zero time.
func (c *conn) deadline(opts setOptions, when []byte, command string) (at time.Time, ok bool) {
	if opts&optTime == 0 {
		return at, true
	}
	n, ok := c.integer(when)
	if !ok {
		return at, false
	}
	seconds := opts&(optEX|optEXAT) != 0
	if n <= 0 || seconds && n > math.MaxInt64/1000 {
		c.badExpire(command)
		return at, false
	}
	if seconds {
		n *= 1000
	}
	if now := c.now(); opts&(optEX|optPX) != 0 {
		if n > math.MaxInt64-now {
			c.badExpire(command)
			return at, false
		}
		n += now
	}
	return time.UnixMilli(n), true
}

// badExpire answers that a time is none.
func (c *conn) badExpire(command string) {
	c.out.Error("ERR invalid expire time in '" + command + "' command")
}

func cmdSet(c *conn, args [][]byte) {
	if len(args) == 3 {
		c.setBlind(args[1], args[2], time.Time{})
		return
	}
	opts, when, ok := c.parseSetOptions(args[3:], ^optPersist)
	if !ok {
		return
	}
	at, ok := c.deadline(opts, when, "set")
	switch {
	case !ok:
	case opts&^optTime == 0:
		c.setBlind(args[1], args[2], at)
	default:
		c.setIf(args[1:2], args[2], opts, at)
	}
}

func cmdSetex(c *conn, args [][]byte)  { c.setFor(args, optEX, "setex") }
func cmdPsetex(c *conn, args [][]byte) { c.setFor(args, optPX, "psetex") }

func (c *conn) setFor(args [][]byte, unit setOptions, command string) {
	if at, ok := c.deadline(unit, args[2], command); ok {
		c.setBlind(args[1], args[3], at)
	}
}

// maxBatchedBytes is the longest value that goes through a batch. One that is longer
// goes to the disk in pieces, as the store says.
const maxBatchedBytes = 16 << 20

// setBlind sets key without a look at what it had. It does not allocate.
func (c *conn) setBlind(key, value []byte, at time.Time) {
	c.changed(key)
	if len(value) > maxBatchedBytes && c.tx == nil {
		c.setLong(key, value, at)
		return
	}
	if err := c.blind().PutExpiring(key, value, at); err != nil {
		c.refuseWrite(err)
		return
	}
	if c.apply() {
		c.out.Status("OK")
	}
}

// setLong sets key to a value that no batch takes.
func (c *conn) setLong(key, value []byte, at time.Time) {
	if err := c.keys().PutExpiring(key, value, at, store.Deferred); err != nil {
		c.refuseWrite(err)
		return
	}
	c.committed(c.srv.db.SeenLSN())
	c.out.Status("OK")
}

// setIf sets the one key if the options allow it.
func (c *conn) setIf(keys [][]byte, value []byte, opts setOptions, at time.Time) {
	key := keys[0]
	c.modify(keys, func(tx *store.Tx) error {
		found, err := tx.Has(key)
		if err != nil {
			return err
		}
		if opts&optGet != 0 {
			c.writeValue(key)
		}
		if opts&optNX != 0 && found || opts&optXX != 0 && !found {
			if opts&optGet == 0 {
				c.out.Null()
			}
			return nil
		}
		until := at
		if opts&optKeepTTL != 0 && found {
			if until, err = tx.Expiry(key); err != nil {
				return err
			}
		}
		if opts&optGet == 0 {
			c.out.Status("OK")
		}
		c.changed(key)
		return tx.PutExpiring(key, value, until)
	})
}

func cmdSetnx(c *conn, args [][]byte) {
	key := args[1]
	c.modify(args[1:2], func(tx *store.Tx) error {
		if found, err := tx.Has(key); err != nil || found {
			c.out.Int(0)
			return err
		}
		c.out.Int(1)
		c.changed(key)
		return tx.Put(key, args[2])
	})
}

func cmdGetset(c *conn, args [][]byte) {
	c.setIf(args[1:2], args[2], optGet, time.Time{})
}

// cmdGetex takes a time in the past as an order to delete.
func cmdGetex(c *conn, args [][]byte) {
	key := args[1]
	opts, when, ok := c.parseSetOptions(args[2:], optTime|optPersist)
	if !ok {
		return
	}
	if opts == 0 {
		c.hasRead = true
		c.writeValue(key)
		return
	}
	c.modify(args[1:2], func(tx *store.Tx) error {
		found, err := tx.Has(key)
		if err != nil || !found {
			c.out.Null()
			return err
		}
		at, ok := c.deadline(opts, when, "getex")
		if !ok {
			return nil
		}
		c.writeValue(key)
		switch {
		case !at.IsZero() && at.UnixMilli() <= c.now():
			c.changed(key)
			return tx.Delete(key)
		case !at.IsZero():
			c.changed(key)
			return tx.SetExpiry(key, at)
		}
		old, err := tx.Expiry(key)
		if err != nil || old.IsZero() {
			return err
		}
		c.changed(key)
		return tx.SetExpiry(key, at)
	})
}
