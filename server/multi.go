package server

import (
	"fmt"
	"strings"

	"faultline/store"
)

// transactionCommands are MULTI and what belongs to it.
//
// EXEC runs the queued commands in one transaction of the store: all that they read is
// of one moment, all that they write becomes visible and durable as one. Commands about
// a whole database (flagWhole) stand between transactions instead: what is before one of
// them, it, and what is after it are done in this order, but not as one. Where what is
// after it cannot be done, each command of that is answered with the error.
func transactionCommands() []*command {
	const (
		sub   = flagNoscript | flagLoading | flagStale | flagAllowBusy
		quick = sub | flagFast
	)
	return []*command{
		{name: "discard", arity: 1, flags: quick, since: "2.0.0",
			summary: "Forget the commands since MULTI", run: cmdDiscard},
		{name: "exec", arity: 1, flags: sub&^flagAllowBusy | flagSkipSlowlog, since: "1.2.0",
			summary: "Execute the commands since MULTI, all or none", run: cmdExec},
		{name: "multi", arity: 1, flags: quick, since: "1.2.0",
			summary: "Queue the commands that follow, until EXEC", run: cmdMulti},
		{name: "unwatch", arity: 1, flags: quick, since: "2.2.0",
			summary: "Forget what WATCH was asked for", run: cmdUnwatch},
		{name: "watch", arity: -2, flags: quick, keys: allKeys("RO"), since: "2.2.0", args: "key [key ...]",
			summary: "Let the next EXEC do nothing if one of the keys has changed", run: cmdWatch},
	}
}

// A multi is the transaction of a connection.
type multi struct {
	open    bool // MULTI was called
	spoiled bool // a command could not be queued
	running bool // EXEC is under way: replies are kept back
	queue   []queued
	bytes   int   // what the queue takes
	failed  error // of a write; it ends EXEC
}

// A queued is one command of a multi, in memory of its own.
type queued struct {
	cmd  *command
	args [][]byte
}

// queuedBytes is what a queued command takes beside its arguments, and argBytes what each
// of them takes beside its bytes.
const (
	queuedBytes = 64
	argBytes    = 24
)

// maxExecBytes is the longest reply of EXEC, which is kept until all of it is there.
const maxExecBytes = 512 << 20

// spoil lets EXEC fail, if there is a MULTI.
func (m *multi) spoil() { m.spoiled = m.open }

// isImmediate tells whether a command is executed in a MULTI, instead of queued.
func (cmd *command) isImmediate() bool {
	switch cmd.full {
	case "exec", "discard", "multi", "watch", "quit", "reset":
		return true
	}
	return false
}

// enqueue keeps a command for EXEC.
func (c *conn) enqueue(cmd *command, args [][]byte) {
	size := bytesOf(args)
	c.multi.bytes += size + queuedBytes + argBytes*len(args)
	if limit := c.srv.conf.commandBytes.Load(); int64(c.multi.bytes) > limit {
		c.reject(cmd, fmt.Sprintf("ERR transaction of more than %d bytes (client-query-buffer-limit)", limit))
		c.multi.queue = nil
		return
	}
	mem := make([]byte, 0, size)
	own := make([][]byte, len(args))
	for i, a := range args {
		mem = append(mem, a...)
		own[i] = mem[len(mem)-len(a) : len(mem) : len(mem)]
	}
	c.multi.queue = append(c.multi.queue, queued{cmd, own})
	c.out.Status("QUEUED")
}

func cmdMulti(c *conn, _ [][]byte) {
	if c.multi.open {
		c.out.Error("ERR MULTI calls can not be nested")
		return
	}
	c.multi.open = true
	c.out.Status("OK")
}

func cmdDiscard(c *conn, _ [][]byte) {
	if !c.multi.open {
		c.out.Error("ERR DISCARD without MULTI")
		return
	}
	c.discard()
	c.out.Status("OK")
}

// discard ends the MULTI, if there is one, and forgets what is watched.
func (c *conn) discard() {
	c.multi = multi{}
	c.unwatch()
}

func cmdExec(c *conn, _ [][]byte) {
	switch {
	case !c.multi.open:
		c.out.Error("ERR EXEC without MULTI")
		return
	case c.multi.spoiled:
		c.discard()
		c.out.Error("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	start, queue, db, space := c.out.Len(), c.multi.queue, c.db, c.space
	c.multi = multi{running: true}
	done, err := c.exec(queue)
	if err != nil {
		c.db, c.space = db, space
	}
	c.multi = multi{}
	c.unwatch()
	switch {
	case err != nil:
		c.out.Truncate(start)
		c.execAbort(c.storeError(err))
		c.flush()
	case !done:
		c.out.Truncate(start)
		c.hasRead = true // it shows that somebody has written
		c.out.NullArray()
	}
}

// execAbort answers an EXEC that did nothing since text, an error, says so.
func (c *conn) execAbort(text string) {
	c.out.Error("EXECABORT Transaction discarded because of: " + strings.TrimPrefix(text, "ERR "))
}

// exec runs the queue and answers. done is false if a watched key has changed; then, and
// if there is an error, the answer is void.
func (c *conn) exec(queue []queued) (done bool, err error) {
	c.out.Array(len(queue))
	if !c.srv.Ready() { // so there are only commands that need no store
		for _, q := range queue {
			c.call(q.cmd, q.args)
		}
		return true, nil
	}
	watched := c.watching
	for first := true; first || len(queue) > 0; first = false {
		n := 0
		for n < len(queue) && queue[n].cmd.flags&flagWhole == 0 {
			n++
		}
		if n > 0 || first {
			same, err := c.execTogether(queue[:n], watched)
			switch {
			case err == nil && !same, err != nil && first:
				return false, err
			case err != nil: // but what came before is done
				for range n {
					c.fail(err)
				}
			}
			watched = nil
		}
		if queue = queue[n:]; len(queue) > 0 {
			c.call(queue[0].cmd, queue[0].args)
			queue = queue[1:]
		}
	}
	return true, nil
}

// execTogether runs commands in one transaction of the store, unless watched is not as it
// was.
func (c *conn) execTogether(queue []queued, watched []watchedKey) (same bool, err error) {
	if c.touched.Load() && len(watched) > 0 {
		return false, nil
	}
	mark, db, space := c.out.Len(), c.db, c.space
	lsn, err := c.keys().Modify(c.srv.ctx, keysOf(queue), store.Deferred, func(tx *store.Tx) error {
		c.out.Truncate(mark)
		c.written = c.written[:0]
		c.db, c.space, c.tx = db, space, tx
		defer func() { c.tx = nil }()
		if same, err = c.unchanged(watched); err != nil || !same {
			return err
		}
		for _, q := range queue {
			c.call(q.cmd, q.args)
			if c.multi.failed != nil {
				return c.multi.failed
			}
			if c.out.Len() > maxExecBytes {
				return fmt.Errorf("replies of more than %d bytes", maxExecBytes)
			}
		}
		return nil
	})
	if err != nil {
		c.out.Truncate(mark)
		c.db, c.space, c.written, c.multi.failed = db, space, c.written[:0], nil
		return false, err
	}
	c.committed(lsn)
	return same, nil
}

// keysOf returns the keys that the commands name.
func keysOf(queue []queued) (keys [][]byte) {
	for _, q := range queue {
		n := q.cmd.keys.of(len(q.args))
		for i := range n {
			keys = append(keys, q.args[q.cmd.keys.first+i*q.cmd.keys.step])
		}
	}
	return keys
}

func cmdWatch(c *conn, args [][]byte) {
	if c.multi.open {
		c.out.Error("ERR WATCH inside MULTI is not allowed")
		return
	}
	if !c.srv.Ready() { // Redis has keys to watch already
		c.out.Error(errLoading)
		return
	}
	for _, key := range args[1:] {
		if err := c.watch(key); err != nil {
			c.fail(err)
			return
		}
	}
	c.out.Status("OK")
}

func cmdUnwatch(c *conn, _ [][]byte) {
	if !c.multi.running { // EXEC has looked already, and forgets by itself
		c.unwatch()
	}
	c.out.Status("OK")
}
