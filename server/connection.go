package server

import (
	"bytes"
	"strings"
)

// connectionCommands are about the connection.
func connectionCommands() []*command {
	const (
		quick = flagFast | flagLoading | flagStale
		open  = quick | flagNoscript | flagNoAuth | flagAllowBusy
		sub   = flagNoscript | flagLoading | flagStale
	)
	return []*command{
		{name: "client", arity: -2, since: "2.4.0",
			summary: "A container for client connection commands", subs: []*command{
				{name: "getname", arity: 2, flags: sub, since: "2.6.9",
					summary: "Get the name of the connection", run: cmdClientGetname},
				{name: "id", arity: 2, flags: sub, since: "5.0.0",
					summary: "Get the number of the connection", run: cmdClientID},
				{name: "setinfo", arity: 4, flags: sub, since: "7.2.0", args: "<LIB-NAME libname | LIB-VER libver>",
					summary: "Say which library the client uses", run: cmdClientSetinfo},
				{name: "setname", arity: 3, flags: sub, since: "2.6.9", args: "connection-name",
					summary: "Set the name of the connection", run: cmdClientSetname},
			}},
		{name: "echo", arity: 2, flags: quick, since: "1.0.0", args: "message",
			summary: "Answer with the argument", run: cmdEcho},
		{name: "hello", arity: -1, flags: open, since: "6.0.0", args: "[protover [AUTH username password] [SETNAME clientname]]",
			summary: "Agree on the version of the protocol: 2", run: cmdHello},
		{name: "ping", arity: -1, flags: flagFast, since: "1.0.0", args: "[message]",
			summary: "Answer, to show that the server lives", run: cmdPing},
		{name: "quit", arity: -1, flags: open, since: "1.0.0",
			summary: "Close the connection", run: cmdQuit},
		{name: "select", arity: 2, flags: quick, since: "1.0.0", args: "index",
			summary: "Select a database: there is only 0", run: cmdSelect},
	}
}

func cmdPing(c *conn, args [][]byte) {
	switch len(args) {
	case 1:
		c.out.Status("PONG")
	case 2:
		c.out.Bulk(args[1])
	default:
		c.wrongArity("ping")
	}
}

func cmdEcho(c *conn, args [][]byte) { c.out.Bulk(args[1]) }

func cmdQuit(c *conn, _ [][]byte) {
	c.out.Status("OK")
	c.closing = true
}

func cmdSelect(c *conn, args [][]byte) {
	n, ok := parseInt(args[1])
	switch {
	case !ok:
		c.out.Error("ERR value is not an integer or out of range")
	case n != 0:
		c.out.Error("ERR DB index is out of range")
	default:
		c.out.Status("OK")
	}
}

// cmdHello refuses RESP3: a client that offers it falls back on NOPROTO.
func cmdHello(c *conn, args [][]byte) {
	if len(args) > 1 {
		n, ok := parseInt(args[1])
		if !ok {
			c.out.Error("ERR Protocol version is not an integer or out of range")
			return
		}
		if n != 2 {
			c.out.Error("NOPROTO unsupported protocol version")
			return
		}
	}
	name, named := "", false
	for i := 2; i < len(args); i++ {
		switch {
		case isWord(args[i], "setname") && i+1 < len(args):
			i++
			if !validName(args[i]) {
				c.out.Error(badName)
				return
			}
			name, named = string(args[i]), true
		case isWord(args[i], "auth") && i+2 < len(args):
			c.out.Error(noPassword)
			return
		default:
			c.out.Error("ERR Syntax error in HELLO option '" + string(clip(args[i], 128)) + "'")
			return
		}
	}
	if named {
		c.name = name
	}
	c.out.Array(2 * 7)
	c.out.BulkString("server")
	c.out.BulkString("redis") // what clients compare with
	c.out.BulkString("version")
	c.out.BulkString(redisVersion)
	c.out.BulkString("proto")
	c.out.Int(2)
	c.out.BulkString("id")
	c.out.Int(c.id)
	c.out.BulkString("mode")
	c.out.BulkString("standalone")
	c.out.BulkString("role")
	c.out.BulkString("master")
	c.out.BulkString("modules")
	c.out.Array(0)
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

const (
	badName    = "ERR Client names cannot contain spaces, newlines or special characters."
	noPassword = "ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?"
)

// validName reports whether b can be shown in a list: printable ASCII without
// blanks.
func validName(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r < '!' || r > '~' }) < 0
}

// isWord reports whether an argument is word, which is in lower case.
func isWord(arg []byte, word string) bool {
	return len(arg) == len(word) && strings.EqualFold(string(arg), word)
}
