package server

// serverCommands are about the whole server.
func serverCommands() []*command {
	return []*command{
		{name: "dbsize", arity: 1, flags: flagRead | flagFast | flagWhole, acl: aclKeyspace, since: "1.0.0",
			summary: "Count the keys", run: cmdDbsize},
		{name: "info", arity: -1, flags: flagLoading | flagStale, acl: aclDangerous, since: "1.0.0", args: "[section [section ...]]",
			summary: "Describe the server's state", run: cmdInfo},
		{name: "shutdown", arity: -1, flags: flagAdmin | flagNoscript | flagLoading | flagStale | flagNoMulti | flagAllowBusy, since: "1.0.0", args: "[NOSAVE | SAVE]",
			summary: "Checkpoint the store and end the server", run: cmdShutdown},
	}
}

func cmdDbsize(c *conn, _ [][]byte) { c.out.Int(int64(c.srv.db.Len())) }

// cmdShutdown has no reply when it succeeds: the connection ends, as all do.
// SAVE and NOSAVE make no difference, since what was acknowledged is in the log
// and closing the store checkpoints it.
func cmdShutdown(c *conn, args [][]byte) {
	for _, a := range args[1:] {
		if !isWord(a, "save") && !isWord(a, "nosave") || len(args) > 2 {
			c.out.Error("ERR syntax error")
			return
		}
	}
	c.srv.askShutdown()
	c.closing = true
}
