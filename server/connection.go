package server

import (
	"bytes"
	"strings"

	"faultline/server/resp"
)

// connectionCommands are about the connection itself.
func connectionCommands() []*command {
	const (
		quick = flagFast | flagLoading | flagStale
		open  = quick | flagNoscript | flagNoAuth | flagAllowBusy
	)
	return []*command{
		{name: "auth", arity: -2, flags: open, since: "1.0.0", args: "[username] password",
			summary: "Give the password", run: cmdAuth},
		{name: "client", arity: -2, since: "2.4.0",
			summary: "A container for client connection commands", subs: clientCommands()},
		{name: "echo", arity: 2, flags: quick, since: "1.0.0", args: "message",
			summary: "Answer with the argument", run: cmdEcho},
		{name: "hello", arity: -1, flags: open, since: "6.0.0", args: "[protover [AUTH username password] [SETNAME clientname]]",
			summary: "Agree on the version of the protocol: 2 or 3", run: cmdHello},
		{name: "ping", arity: -1, flags: flagFast, since: "1.0.0", args: "[message]",
			summary: "Answer, to show that the server lives", run: cmdPing},
		{name: "quit", arity: -1, flags: open, since: "1.0.0",
			summary: "Close the connection", run: cmdQuit},
		{name: "reset", arity: 1, flags: open, since: "6.2.0",
			summary: "Make the connection as it was when it was new", run: cmdReset},
		{name: "select", arity: 2, flags: quick, since: "1.0.0", args: "index",
			summary: "Select a database", run: cmdSelect},
	}
}

func cmdPing(c *conn, args [][]byte) {
	if c.subscribed && c.out.Protocol() == 2 && len(args) <= 2 {
		c.out.Array(2)
		c.out.BulkString("pong")
		c.out.Bulk(append(args, nil)[1])
		return
	}
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

// cmdReset takes back what the connection has agreed on, its password too.
func cmdReset(c *conn, _ [][]byte) {
	c.discard()
	c.db, c.space = 0, nil
	c.setName(nil)
	c.out.SetProtocol(2)
	c.replies, c.muted = repliesOn, false
	c.stopTracking()
	c.subscribed = false
	c.login(c.srv.secret.Load() == nil)
	c.out.Status("RESET")
}

// A hello is the arguments of one HELLO. nil is what was not given.
type hello struct {
	version        int
	user, password []byte
	name           []byte
}

func cmdHello(c *conn, args [][]byte) {
	h, errText := parseHello(args, c.out.Protocol())
	if errText != "" {
		c.out.Error(errText)
		return
	}
	if h.user != nil && !c.authenticate(h.user, h.password) {
		return
	}
	if !c.authenticated {
		c.out.Error(helloNoAuth)
		return
	}
	if h.name != nil {
		c.setName(h.name)
	}
	c.out.SetProtocol(h.version)
	c.out.Map(7)
	c.out.BulkString("server")
	c.out.BulkString("redis") // what clients compare with
	c.out.BulkString("version")
	c.out.BulkString(redisVersion)
	c.out.BulkString("proto")
	c.out.Int(int64(h.version))
	c.out.BulkString("id")
	c.out.Int(c.id)
	c.out.BulkString("mode")
	c.out.BulkString("standalone")
	c.out.BulkString("role")
	c.out.BulkString("master")
	c.out.BulkString("modules")
	c.out.Array(0)
}

// parseHello returns the error's text if the arguments are wrong. version is what the
// connection speaks.
func parseHello(args [][]byte, version int) (h hello, errText string) {
	h.version = version
	if len(args) > 1 {
		n, ok := resp.ParseInt(args[1])
		if !ok {
			return h, "ERR Protocol version is not an integer or out of range"
		}
		if n != 2 && n != 3 {
			return h, "NOPROTO unsupported protocol version"
		}
		h.version = int(n)
	}
	for i := 2; i < len(args); i++ {
		switch {
		case isWord(args[i], "auth") && i+2 < len(args):
			h.user, h.password = args[i+1], args[i+2]
			i += 2
		case isWord(args[i], "setname") && i+1 < len(args):
			i++
			if !validName(args[i]) {
				return h, badName
			}
			h.name = args[i]
		default:
			return h, "ERR Syntax error in HELLO option '" + string(clip(args[i], 128)) + "'"
		}
	}
	return h, ""
}

// isWord reports whether an argument is word, which is in lower case.
func isWord(arg []byte, word string) bool {
	return len(arg) == len(word) && strings.EqualFold(string(arg), word)
}

const badName = "ERR Client names cannot contain spaces, newlines or special characters."

// validName reports whether b can be shown in a list: printable ASCII without
// blanks.
func validName(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r < '!' || r > '~' }) < 0
}
