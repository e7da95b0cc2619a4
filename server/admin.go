package server

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"faultline/server/resp"
)

// serverCommands are about the whole server.
func serverCommands() []*command {
	const (
		any   = flagLoading | flagStale
		admin = flagAdmin | flagNoscript
		flush = flagWrite | flagWhole
	)
	return []*command{
		{name: "bgrewriteaof", arity: 1, flags: admin | flagNoAsyncLoading, since: "1.0.0",
			summary: "Checkpoint the store in the background", run: cmdBgrewriteaof},
		{name: "bgsave", arity: -1, flags: admin | flagNoAsyncLoading, since: "1.0.0", args: "[SCHEDULE]",
			summary: "Checkpoint the store in the background", run: cmdBgsave},
		{name: "dbsize", arity: 1, flags: flagRead | flagFast | flagWhole, acl: aclKeyspace, since: "1.0.0",
			summary: "Count the keys", run: cmdDbsize},
		{name: "debug", arity: -2, flags: admin | any, since: "1.0.0",
			summary: "A container for debugging commands, which are off by default", run: cmdDebug},
		{name: "flushall", arity: -1, flags: flush, acl: aclKeyspace | aclDangerous, since: "1.0.0", args: "[ASYNC | SYNC]",
			summary: "Delete all keys of all databases, at once", run: cmdFlushall},
		{name: "flushdb", arity: -1, flags: flush, acl: aclKeyspace | aclDangerous, since: "1.0.0", args: "[ASYNC | SYNC]",
			summary: "Delete all keys of the database, at once", run: cmdFlushdb},
		{name: "info", arity: -1, flags: any, acl: aclDangerous, since: "1.0.0", args: "[section [section ...]]",
			summary: "Describe the server's state", run: cmdInfo},
		{name: "lastsave", arity: 1, flags: any | flagFast, acl: aclAdmin | aclDangerous, since: "1.0.0",
			summary: "Tell when the last SAVE or BGSAVE ended", run: cmdLastsave},
		{name: "latency", arity: -2, since: "2.8.13",
			summary: "A container for commands about slow events, which INFO and the slow log have instead", subs: latencyCommands()},
		{name: "lolwut", arity: -1, flags: flagRead | flagFast, since: "5.0.0", args: "[VERSION version]",
			summary: "Tell the version of the server", run: cmdLolwut},
		{name: "memory", arity: -2, since: "4.0.0",
			summary: "A container for commands about memory", subs: memoryCommands()},
		{name: "module", arity: -2, since: "4.0.0",
			summary: "A container for commands about modules, of which there are none", subs: []*command{
				{name: "list", arity: 2, flags: admin, since: "4.0.0",
					summary: "List no modules", run: cmdModuleList},
			}},
		{name: "role", arity: 1, flags: any | flagNoscript | flagFast, acl: aclAdmin | aclDangerous, since: "2.8.12",
			summary: "Tell that the server is a master without replicas", run: cmdRole},
		{name: "save", arity: 1, flags: admin | flagNoAsyncLoading | flagNoMulti, since: "1.0.0",
			summary: "Checkpoint the store", run: cmdSave},
		{name: "shutdown", arity: -1, flags: admin | any | flagNoMulti | flagAllowBusy, since: "1.0.0", args: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
			summary: "Checkpoint the store and end the server", run: cmdShutdown},
		{name: "time", arity: 1, flags: any | flagFast, since: "2.6.0",
			summary: "Tell the time", run: cmdTime},
		{name: "wait", arity: 3, flags: flagNoscript, acl: aclConnection, since: "3.0.0", args: "numreplicas timeout",
			summary: "Tell at once that no replica has the writes: there are none", run: cmdWait},
		{name: "waitaof", arity: 4, flags: flagNoscript, acl: aclConnection, since: "7.2.0", args: "numlocal numreplicas timeout",
			summary: "Wait until the writes of the connection are on disk", run: cmdWaitaof},
	}
}

// latencyCommands answer tools that look for slow events: none is noted.
func latencyCommands() []*command {
	const sub = flagAdmin | flagNoscript | flagLoading | flagStale
	none := func(c *conn, _ [][]byte) { c.out.Array(0) }
	return []*command{
		{name: "histogram", arity: -2, flags: sub, since: "7.0.0", args: "[command [command ...]]",
			summary: "Show no histograms", run: func(c *conn, _ [][]byte) { c.out.Map(0) }},
		{name: "history", arity: 3, flags: sub, since: "2.8.13", args: "event",
			summary: "List no samples of an event", run: none},
		{name: "latest", arity: 2, flags: sub, since: "2.8.13",
			summary: "List no events", run: none},
		{name: "reset", arity: -2, flags: sub, since: "2.8.13", args: "[event [event ...]]",
			summary: "Forget no events", run: func(c *conn, _ [][]byte) { c.out.Int(0) }},
	}
}

// scriptingCommands are what tools send to a server that may have functions.
func scriptingCommands() []*command {
	return []*command{
		{name: "function", arity: -2, since: "7.0.0",
			summary: "A container for commands about functions, of which there are none", subs: []*command{
				{name: "flush", arity: -2, flags: flagWrite | flagNoscript, since: "7.0.0", args: "[ASYNC | SYNC]",
					summary: "Delete no functions", run: cmdFunctionFlush},
			}},
	}
}

// cmdDbsize counts keys that are new beside leaves too, which may take long in a store
// larger than memory.
func cmdDbsize(c *conn, _ [][]byte) { c.out.Int(int64(c.keys().Len())) }

// cmdTime answers with seconds, and the microseconds in them.
func cmdTime(c *conn, _ [][]byte) {
	now := time.Now()
	c.out.Array(2)
	c.out.BulkString(strconv.FormatInt(now.Unix(), 10))
	c.out.BulkString(strconv.Itoa(now.Nanosecond() / 1000))
}

func cmdRole(c *conn, _ [][]byte) {
	c.out.Array(3)
	c.out.BulkString("master")
	c.out.Int(0)
	c.out.Array(0)
}

func cmdLolwut(c *conn, _ [][]byte) {
	c.out.Verbatim("Redis ver. " + redisVersion + "\nkvd ver. " + c.srv.opts.Version + "\n")
}

func cmdModuleList(c *conn, _ [][]byte) { c.out.Array(0) }

func cmdFunctionFlush(c *conn, args [][]byte) {
	switch {
	case len(args) > 3:
		c.out.Error("ERR unknown subcommand or wrong number of arguments for '" + string(clip(args[1], 128)) + "'. Try FUNCTION HELP.")
	case len(args) == 3 && !isWord(args[2], "async") && !isWord(args[2], "sync"):
		c.out.Error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
	default:
		c.out.Status("OK")
	}
}

// cmdShutdown has no reply when it succeeds: the connection ends, as all do. Its options
// make no difference, since what was acknowledged is in the log and closing the store
// checkpoints it; there is nothing that ABORT could stop.
func cmdShutdown(c *conn, args [][]byte) {
	save, nosave, abort := false, false, false
	for _, a := range args[1:] {
		switch {
		case isWord(a, "save"):
			save = true
		case isWord(a, "nosave"):
			nosave = true
		case isWord(a, "abort"):
			abort = true
		case isWord(a, "now"), isWord(a, "force"):
		default:
			c.out.Error(errSyntax)
			return
		}
	}
	switch {
	case save && nosave, abort && len(args) > 2:
		c.out.Error(errSyntax)
	case abort:
		c.out.Error("ERR No shutdown in progress.")
	default:
		c.srv.askShutdown()
		c.closing = true
	}
}

// cmdWait does not wait for replicas that will never be there.
func cmdWait(c *conn, args [][]byte) {
	_, ok := c.integer(args[1])
	if !ok {
		return
	}
	if _, ok := c.timeout(args[2]); ok {
		c.out.Int(0)
	}
}

// timeout parses milliseconds, of which 0 is for ever, or answers with the error.
func (c *conn) timeout(arg []byte) (d time.Duration, ok bool) {
	n, ok := resp.ParseInt(arg)
	switch {
	case !ok:
		c.out.Error("ERR timeout is not an integer or out of range")
		return 0, false
	case n < 0:
		c.out.Error("ERR timeout is negative")
		return 0, false
	}
	return time.Duration(min(n, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond, true
}

// cmdWaitaof answers with 1 if all that the connection has written is on disk, and with
// the number of replicas. It syncs the log itself instead of waiting for others to.
func cmdWaitaof(c *conn, args [][]byte) {
	local, ok := resp.ParseInt(args[1])
	if !ok || local < 0 || local > 1 {
		c.out.Error("ERR value is out of range, value must between 0 and 1")
		return
	}
	if n, ok := resp.ParseInt(args[2]); !ok || n < 0 {
		c.out.Error(errNegative)
		return
	}
	limit, ok := c.timeout(args[3])
	if !ok {
		return
	}
	onDisk := c.lastWrite == 0
	if local == 1 && !onDisk {
		ctx, cancel := c.srv.ctx, context.CancelFunc(func() {})
		if limit > 0 {
			ctx, cancel = context.WithTimeout(ctx, limit)
		}
		err := c.srv.db.WaitDurable(ctx, c.lastWrite)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			c.fail(err)
			return
		}
		onDisk = err == nil
	}
	c.out.Array(2)
	c.out.Int(int64(zeroOne(onDisk)))
	c.out.Int(0)
}
