package server

// clientCommands are the subcommands of CLIENT.
func clientCommands() []*command {
	const sub = flagNoscript | flagLoading | flagStale
	return []*command{
		{name: "getname", arity: 2, flags: sub, since: "2.6.9",
			summary: "Get the name of the connection", run: cmdClientGetname},
		{name: "id", arity: 2, flags: sub, since: "5.0.0",
			summary: "Get the number of the connection", run: cmdClientID},
		{name: "setinfo", arity: 4, flags: sub, since: "7.2.0", args: "<LIB-NAME libname | LIB-VER libver>",
			summary: "Say which library the client uses", run: cmdClientSetinfo},
		{name: "setname", arity: 3, flags: sub, since: "2.6.9", args: "connection-name",
			summary: "Set the name of the connection", run: cmdClientSetname},
	}
}

func cmdClientID(c *conn, _ [][]byte) { c.out.Int(c.id) }

func cmdClientGetname(c *conn, _ [][]byte) {
	if c.name == "" {
		c.out.Null()
		return
	}
	c.out.BulkString(c.name)
}

func cmdClientSetname(c *conn, args [][]byte) {
	if !validName(args[2]) {
		c.out.Error(badName)
		return
	}
	c.name = string(args[2])
	c.out.Status("OK")
}

// cmdClientSetinfo takes what client libraries say of themselves. Nothing shows
// it yet.
func cmdClientSetinfo(c *conn, args [][]byte) {
	if !isWord(args[2], "lib-name") && !isWord(args[2], "lib-ver") {
		c.out.Error("ERR Unrecognized option '" + string(clip(args[2], 128)) + "'")
		return
	}
	c.out.Status("OK")
}
