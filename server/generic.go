package server

import (
	"bytes"
	"math/rand/v2"

	"faultline/server/resp"
	"faultline/store"
)

// genericCommands are about keys.
func genericCommands() []*command {
	const (
		read  = flagRead | flagFast
		write = flagWrite | flagFast
	)
	return []*command{
		{name: "copy", arity: -3, flags: flagWrite | flagDenyoom, keys: twoKeys("RO access;OW update"), since: "6.2.0", args: "source destination [DB destination-db] [REPLACE]",
			summary: "Copy a key, also to another database", run: cmdCopy},
		{name: "del", arity: -2, flags: flagWrite, keys: allKeys("RM delete"), since: "1.0.0", args: "key [key ...]",
			summary: "Delete keys, atomically", run: cmdDel},
		{name: "exists", arity: -2, flags: read, keys: allKeys("RO"), since: "1.0.0", args: "key [key ...]",
			summary: "Count which of the given keys exist", run: cmdExists},
		{name: "keys", arity: 2, flags: flagRead | flagWhole, acl: aclDangerous, since: "1.0.0", args: "pattern",
			summary: "List the keys that match a pattern, in order", run: cmdKeys},
		{name: "move", arity: 3, flags: write, keys: oneKey("RW access delete"), since: "1.0.0", args: "key db",
			summary: "Move a key to another database", run: cmdMove},
		{name: "object", arity: -2, since: "2.2.3",
			summary: "A container for commands about how keys are kept", subs: objectCommands()},
		{name: "randomkey", arity: 1, flags: flagRead | flagWhole, since: "1.0.0",
			summary: "Get some key", run: cmdRandomkey},
		{name: "rename", arity: 3, flags: flagWrite, keys: twoKeys("RW access delete;OW update"), since: "1.0.0", args: "key newkey",
			summary: "Give a key another name", run: cmdRename},
		{name: "renamenx", arity: 3, flags: write, keys: twoKeys("RW access delete;OW insert"), since: "1.0.0", args: "key newkey",
			summary: "Give a key another name, if there is no such key", run: cmdRenamenx},
		{name: "scan", arity: -2, flags: flagRead | flagWhole, since: "2.8.0", args: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
			summary: "Iterate over the keys, in order", run: cmdScan},
		{name: "touch", arity: -2, flags: read, keys: allKeys("RO"), since: "3.2.1", args: "key [key ...]",
			summary: "Count which of the given keys exist", run: cmdExists},
		{name: "type", arity: 2, flags: read, keys: oneKey("RO"), since: "1.0.0", args: "key",
			summary: "Tell the type of a key: string, or none", run: cmdType},
		{name: "unlink", arity: -2, flags: write, keys: allKeys("RM delete"), since: "4.0.0", args: "key [key ...]",
			summary: "Delete keys, atomically", run: cmdDel},
	}
}

func cmdExists(c *conn, args [][]byte) {
	n, v := int64(0), c.view()
	for _, key := range args[1:] {
		ok, err := v.Has(key)
		if err != nil {
			c.fail(err)
			return
		}
		if ok {
			n++
		}
	}
	c.out.Int(n)
}

func cmdType(c *conn, args [][]byte) {
	switch ok, err := c.view().Has(args[1]); {
	case err != nil:
		c.fail(err)
	case ok:
		c.out.Status("string")
	default:
		c.out.Status("none")
	}
}

// cmdDel counts a key once, however often it is named. While keys are watched it looks at
// each, since only one that was there has changed.
func cmdDel(c *conn, args [][]byte) {
	if c.tx != nil || c.srv.watches.n.Load() > 0 {
		c.modify(args[1:], func(tx *store.Tx) error { return c.delete(tx, args[1:]) })
		return
	}
	c.blind()
	c.batch.WantFound()
	for _, key := range args[1:] {
		if err := c.batch.Delete(key); err != nil {
			c.refuseWrite(err)
			return
		}
		c.changed(key)
	}
	if c.apply() {
		c.out.Int(int64(c.batch.Found()))
	}
}

// delete is DEL in a transaction.
func (c *conn) delete(tx *store.Tx, keys [][]byte) error {
	n := int64(0)
	for _, key := range keys {
		found, err := tx.Has(key)
		if err == nil && found {
			n++
			c.changed(key)
			err = tx.Delete(key)
		}
		if err != nil {
			return err
		}
	}
	c.out.Int(n)
	return nil
}

func cmdRename(c *conn, args [][]byte) {
	c.rename(args[1:3], func(bool) bool { return true }, func(bool) { c.out.Status("OK") })
}

func cmdRenamenx(c *conn, args [][]byte) {
	c.rename(args[1:3], func(taken bool) bool { return !taken }, func(done bool) {
		if done {
			c.out.Int(1)
		} else {
			c.out.Int(0)
		}
	})
}

// rename gives the first key the name of the second, with its value and its expiry, if
// may allows it, which is told whether there is a key of that name; answer is told
// whether it was done.
func (c *conn) rename(keys [][]byte, may func(taken bool) bool, answer func(done bool)) {
	from, to := keys[0], keys[1]
	c.modify(keys, func(tx *store.Tx) error {
		found, err := tx.Has(from)
		if err != nil || !found {
			c.out.Error(errNoSuchKey)
			return err
		}
		taken, err := tx.Has(to)
		if err != nil || !may(taken) {
			answer(false)
			return err
		}
		answer(true)
		if bytes.Equal(from, to) {
			return nil
		}
		value, at, err := c.readToChange(tx, from, 0)
		if err != nil {
			return err
		}
		c.changed(from)
		c.changed(to)
		if err := tx.PutExpiring(to, value, at); err != nil {
			return err
		}
		return tx.Delete(from)
	})
}

// A copyRequest is the options of COPY.
type copyRequest struct {
	db      int
	replace bool
}

func (c *conn) parseCopy(opts [][]byte) (req copyRequest, ok bool) {
	req.db = c.db
	for w := (words{rest: opts}); w.next(); {
		switch {
		case w.is("replace"):
			req.replace = true
		case w.takes("db"):
			if req.db, ok = c.database(w.value()); !ok {
				return req, false
			}
		default:
			c.out.Error(errSyntax)
			return req, false
		}
	}
	return req, true
}

const errSameKey = "ERR source and destination objects are the same"

func cmdCopy(c *conn, args [][]byte) {
	from, to := args[1], args[2]
	req, ok := c.parseCopy(args[3:])
	switch {
	case !ok:
	case req.db == c.db && bytes.Equal(from, to):
		c.out.Error(errSameKey)
	default:
		c.copyKey(from, to, req, false)
	}
}

func cmdMove(c *conn, args [][]byte) {
	db, ok := c.database(args[2])
	switch {
	case !ok:
	case db == c.db:
		c.out.Error(errSameKey)
	default:
		c.copyKey(args[1], args[1], copyRequest{db: db}, true)
	}
}

// copyKey copies a key with its expiry, and then perhaps deletes it. It answers 0 if
// there is none, or one in its way.
func (c *conn) copyKey(from, to []byte, req copyRequest, move bool) {
	here := c.db
	c.modify([][]byte{from}, func(tx *store.Tx) error {
		defer c.use(here) // which was in use, so there is no error
		found, err := tx.Has(from)
		if err != nil || !found {
			c.out.Int(0)
			return err
		}
		value, at, err := c.readToChange(tx, from, 0)
		if err != nil {
			return err
		}
		if err := c.use(req.db); err != nil {
			return err
		}
		taken, err := tx.Has(to)
		if err != nil || taken && !req.replace {
			c.out.Int(0)
			return err
		}
		c.out.Int(1)
		c.changed(to)
		if err := tx.PutExpiring(to, value, at); err != nil || !move {
			return err
		}
		if err := c.use(here); err != nil {
			return err
		}
		c.changed(from)
		return tx.Delete(from)
	})
}

// maxKeysBytes is the longest reply of KEYS, which must be whole before it is sent.
const maxKeysBytes = 256 << 20

func cmdKeys(c *conn, args [][]byte) {
	pattern := args[1]
	prefix := globPrefix(pattern)
	it, err := c.keys().NewIterator(&store.IterOptions{Lower: prefix, Upper: after(prefix), KeysOnly: true})
	if err != nil {
		c.fail(err)
		return
	}
	defer it.Close()
	n := 0
	c.scratch = c.scratch[:0]
	for ok := it.First(); ok; ok = it.Next() {
		if !matchGlob(pattern, it.Key()) {
			continue
		}
		n++
		if c.scratch = resp.AppendBulk(c.scratch, it.Key()); len(c.scratch) > maxKeysBytes {
			c.out.Error("ERR more keys than a reply can have, use SCAN")
			return
		}
	}
	if err := it.Err(); err != nil {
		c.fail(err)
		return
	}
	c.out.Array(n)
	c.out.Raw(c.scratch)
}

// randomSteps is how far from the place that it picks RANDOMKEY may go: so each of a few
// keys has a chance, however they lie.
const randomSteps = 64

// cmdRandomkey picks a place between the first key and the last, and goes on from there
// for some keys. Keys behind a large gap are more likely than others.
func cmdRandomkey(c *conn, _ [][]byte) {
	it, err := c.keys().NewIterator(&store.IterOptions{KeysOnly: true})
	if err != nil {
		c.fail(err)
		return
	}
	defer it.Close()
	if it.Last() {
		last := bytes.Clone(it.Key())
		if it.First() {
			it.SeekGE(between(it.Key(), last))
			for range rand.IntN(randomSteps) {
				if !it.Next() && !it.First() {
					break
				}
			}
		}
		if !it.Valid() {
			it.First()
		}
	}
	switch {
	case it.Valid():
		c.out.Bulk(it.Key())
	case it.Err() != nil:
		c.fail(it.Err())
	default:
		c.out.Null()
	}
}

// between returns some bytes that are not less than lo, and most likely not greater
// than hi.
func between(lo, hi []byte) []byte {
	same := 0
	for same < len(lo) && same < len(hi) && lo[same] == hi[same] {
		same++
	}
	number := func(b []byte) (n uint64) {
		for i := range 8 {
			n <<= 8
			if i < len(b) {
				n |= uint64(b[i])
			}
		}
		return n
	}
	from, to := number(lo[same:]), number(hi[same:])
	at := from
	if to > from {
		at += rand.Uint64N(to - from)
	}
	place := bytes.Clone(hi[:same])
	for shift := 56; shift >= 0; shift -= 8 {
		place = append(place, byte(at>>shift))
	}
	return place
}
