package server

import (
	"bytes"
	"fmt"
	"strings"

	"faultline/server/resp"
)

// A command is one line of the table, from which come dispatch, the check of the
// number of arguments, and the replies of COMMAND.
type command struct {
	name    string // lower case
	arity   int    // arguments with the name; -n means n or more
	flags   flags
	keys    keySpec
	group   string
	since   string // the version of Redis that has it
	summary string
	run     func(c *conn, args [][]byte)
	subs    []*command // of a container: CLIENT, COMMAND, CONFIG

	full string // "config|get"; filled in by newTable
}

// A keySpec says which arguments are keys: first to last by step, as in COMMAND.
// A negative last counts from the end.
type keySpec struct{ first, last, step int }

// flags are those of COMMAND.
type flags uint

const (
	flagRead  flags = 1 << iota // its reply shows keys or values
	flagWrite                   // it changes them
	flagDenyoom
	flagAdmin
	flagFast
	flagLoading
	flagStale
)

// flagNames is in the order of the bits.
var flagNames = [...]string{"readonly", "write", "denyoom", "admin", "fast", "loading", "stale"}

func (f flags) names() []string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// commandList returns the table.
func commandList() []*command {
	const (
		conn = flagFast | flagLoading | flagStale
		info = flagLoading | flagStale
	)
	oneKey, allKeys, pairs := keySpec{1, 1, 1}, keySpec{1, -1, 1}, keySpec{1, -1, 2}
	list := []*command{
		{name: "get", arity: 2, flags: flagRead | flagFast, keys: oneKey, group: "string", since: "1.0.0",
			summary: "Get the value of a key", run: cmdGet},
		{name: "set", arity: -3, flags: flagWrite | flagDenyoom, keys: oneKey, group: "string", since: "1.0.0",
			summary: "Set the value of a key", run: cmdSet},
		{name: "mget", arity: -2, flags: flagRead | flagFast, keys: allKeys, group: "string", since: "1.0.0",
			summary: "Get the values of all the given keys", run: cmdMget},
		{name: "mset", arity: -3, flags: flagWrite | flagDenyoom, keys: pairs, group: "string", since: "1.0.1",
			summary: "Set several keys to several values, atomically", run: cmdMset},

		{name: "del", arity: -2, flags: flagWrite, keys: allKeys, group: "generic", since: "1.0.0",
			summary: "Delete keys, atomically", run: cmdDel},
		{name: "exists", arity: -2, flags: flagRead | flagFast, keys: allKeys, group: "generic", since: "1.0.0",
			summary: "Count which of the given keys exist", run: cmdExists},
		{name: "scan", arity: -2, flags: flagRead, group: "generic", since: "2.8.0",
			summary: "Iterate over the keys, in order", run: cmdScan},

		{name: "client", arity: -2, group: "connection", since: "2.4.0",
			summary: "A container for client connection commands", subs: []*command{
				{name: "getname", arity: 2, flags: conn, since: "2.6.9",
					summary: "Get the name of the connection", run: cmdClientGetname},
				{name: "id", arity: 2, flags: conn, since: "5.0.0",
					summary: "Get the number of the connection", run: cmdClientID},
				{name: "setinfo", arity: 4, flags: conn, since: "7.2.0",
					summary: "Say which library the client uses", run: cmdClientSetinfo},
				{name: "setname", arity: 3, flags: conn, since: "2.6.9",
					summary: "Set the name of the connection", run: cmdClientSetname},
			}},
		{name: "echo", arity: 2, flags: conn, group: "connection", since: "1.0.0",
			summary: "Answer with the argument", run: cmdEcho},
		{name: "hello", arity: -1, flags: conn, group: "connection", since: "6.0.0",
			summary: "Agree on the version of the protocol: 2", run: cmdHello},
		{name: "ping", arity: -1, flags: flagFast, group: "connection", since: "1.0.0",
			summary: "Answer, to show that the server lives", run: cmdPing},
		{name: "quit", arity: -1, flags: conn, group: "connection", since: "1.0.0",
			summary: "Close the connection", run: cmdQuit},
		{name: "select", arity: 2, flags: conn, group: "connection", since: "1.0.0",
			summary: "Select a database: there is only 0", run: cmdSelect},

		{name: "command", arity: -1, flags: info, group: "server", since: "2.8.13",
			summary: "Describe all commands", run: cmdCommand, subs: []*command{
				{name: "count", arity: 2, flags: info, since: "2.8.13",
					summary: "Count the commands", run: cmdCommandCount},
				{name: "docs", arity: -2, flags: info, since: "7.0.0",
					summary: "Document commands", run: cmdCommandDocs},
				{name: "info", arity: -2, flags: info, since: "2.8.13",
					summary: "Describe commands", run: cmdCommandInfo},
				{name: "list", arity: 2, flags: info, since: "7.0.0",
					summary: "List the names of all commands", run: cmdCommandList},
			}},
		{name: "config", arity: -2, group: "server", since: "2.0.0",
			summary: "A container for configuration commands", subs: []*command{
				{name: "get", arity: -3, flags: info | flagAdmin, since: "2.0.0",
					summary: "Get parameters by pattern", run: cmdConfigGet},
			}},
		{name: "dbsize", arity: 1, flags: flagRead | flagFast, group: "server", since: "1.0.0",
			summary: "Count the keys", run: cmdDbsize},
		{name: "info", arity: -1, flags: info, group: "server", since: "1.0.0",
			summary: "Describe the server's state", run: cmdInfo},
		{name: "shutdown", arity: -1, flags: info | flagAdmin, group: "server", since: "1.0.0",
			summary: "Checkpoint the store and end the server", run: cmdShutdown},
	}
	for _, c := range list {
		if c.subs == nil {
			continue
		}
		c.subs = append(c.subs, &command{name: "help", arity: 2, flags: info, since: "5.0.0",
			summary: "List the subcommands", run: helpOf(c)})
	}
	return list
}

// A table finds commands by name. It does not change.
type table struct {
	list []*command
	all  map[string]*command // by full name, subcommands too
}

func newTable() *table {
	t := &table{list: commandList(), all: make(map[string]*command)}
	for _, c := range t.list {
		c.full = c.name
		t.all[c.full] = c
		for _, sub := range c.subs {
			sub.full = c.name + "|" + sub.name
			sub.group = c.group
			t.all[sub.full] = sub
		}
	}
	return t
}

// maxNameBytes is longer than any full name.
const maxNameBytes = 32

// find returns the command of args, or nil. It does not allocate.
func (t *table) find(args [][]byte) *command {
	var name [maxNameBytes]byte
	n := lower(name[:], args[0])
	cmd := t.all[string(name[:n])]
	if cmd == nil || cmd.subs == nil || len(args) == 1 {
		return cmd
	}
	if n++; n >= len(name) {
		return nil
	}
	name[n-1] = '|'
	n += lower(name[n:], args[1])
	return t.all[string(name[:n])]
}

// lower writes s to dst in lower case and returns its length: 0, which finds
// nothing, if it does not fit or could be taken for a full name.
func lower(dst, s []byte) int {
	if len(s) > len(dst) {
		return 0
	}
	for i, c := range s {
		if c == '|' {
			return 0
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst[i] = c
	}
	return len(s)
}

// execute runs one command; its reply goes to c.out.
func (c *conn) execute(args [][]byte) {
	c.commands++
	cmd := c.srv.commands.find(args)
	switch {
	case cmd == nil:
		c.refuse(args)
	case !cmd.takes(len(args)):
		c.wrongArity(cmd)
	case cmd.flags&flagLoading == 0 && !c.srv.Ready():
		c.out.Error(errLoading)
	default:
		c.hasRead = c.hasRead || cmd.flags&flagRead != 0
		cmd.run(c, args)
	}
}

func (cmd *command) takes(n int) bool {
	return n == cmd.arity || cmd.arity < 0 && n >= -cmd.arity
}

func (c *conn) wrongArity(cmd *command) {
	c.out.Error("ERR wrong number of arguments for '" + cmd.full + "' command")
}

// refuse answers a command that is not in the table. A browser that was made to
// talk to this port sends an HTTP request, whose body could hold commands: its
// first lines end the connection, as in Redis.
func (c *conn) refuse(args [][]byte) {
	name := args[0]
	if bytes.EqualFold(name, []byte("post")) || bytes.EqualFold(name, []byte("host:")) {
		c.srv.opts.Log.Warn("closed a connection that speaks HTTP", "from", c.nc.RemoteAddr())
		c.closing = true
		return
	}
	if container := c.srv.commands.find(args[:1]); container != nil {
		c.out.Error(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.",
			clip(args[1], 128), strings.ToUpper(container.name)))
		return
	}
	var shown strings.Builder
	for _, a := range args[1:] {
		if shown.Len() >= 128 {
			break
		}
		fmt.Fprintf(&shown, "'%s' ", clip(a, 128-shown.Len()))
	}
	c.out.Error(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", clip(name, 128), shown.String()))
}

// clip is the %.*s of C: at most n bytes, up to a NUL.
func clip(b []byte, n int) []byte {
	b = b[:min(n, len(b))]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return b
}

// helpOf returns the HELP of a container.
func helpOf(container *command) func(*conn, [][]byte) {
	return func(c *conn, _ [][]byte) {
		c.out.Array(1 + 2*len(container.subs))
		c.out.Status(strings.ToUpper(container.name) + " <subcommand> [<arg> ...]. Subcommands are:")
		for _, sub := range container.subs {
			c.out.Status(strings.ToUpper(sub.name))
			c.out.Status("    " + sub.summary + ".")
		}
	}
}

func cmdCommand(c *conn, _ [][]byte) {
	c.out.Array(len(c.srv.commands.list))
	for _, cmd := range c.srv.commands.list {
		writeInfo(&c.out, cmd)
	}
}

func cmdCommandCount(c *conn, _ [][]byte) { c.out.Int(int64(len(c.srv.commands.list))) }

func cmdCommandList(c *conn, _ [][]byte) {
	c.out.Array(len(c.srv.commands.list))
	for _, cmd := range c.srv.commands.list {
		c.out.BulkString(cmd.name)
	}
}

func cmdCommandInfo(c *conn, args [][]byte) {
	if len(args) == 2 {
		cmdCommand(c, args)
		return
	}
	c.out.Array(len(args) - 2)
	for _, name := range args[2:] {
		if cmd := c.srv.commands.named(name); cmd != nil {
			writeInfo(&c.out, cmd)
		} else {
			c.out.NullArray()
		}
		if c.spill(); c.err != nil {
			return
		}
	}
}

func cmdCommandDocs(c *conn, args [][]byte) {
	docs := c.srv.commands.list
	if len(args) > 2 {
		docs = nil
		for _, name := range args[2:] {
			if cmd := c.srv.commands.named(name); cmd != nil {
				docs = append(docs, cmd)
			}
		}
	}
	c.out.Array(2 * len(docs))
	for _, cmd := range docs {
		writeDoc(&c.out, cmd)
		if c.spill(); c.err != nil {
			return
		}
	}
}

// named finds a command by its full name, in any case.
func (t *table) named(name []byte) *command { return t.all[strings.ToLower(string(name))] }

// writeInfo writes the ten fields that COMMAND has in Redis 7.0.
func writeInfo(w *resp.Writer, cmd *command) {
	w.Array(10)
	w.BulkString(cmd.full)
	w.Int(int64(cmd.arity))
	names := cmd.flags.names()
	w.Array(len(names))
	for _, name := range names {
		w.Status(name)
	}
	w.Int(int64(cmd.keys.first))
	w.Int(int64(cmd.keys.last))
	w.Int(int64(cmd.keys.step))
	w.Array(0) // ACL categories
	w.Array(0) // tips
	w.Array(0) // key specifications
	w.Array(len(cmd.subs))
	for _, sub := range cmd.subs {
		writeInfo(w, sub)
	}
}

// writeDoc writes a name and its map of COMMAND DOCS.
func writeDoc(w *resp.Writer, cmd *command) {
	w.BulkString(cmd.full)
	fields := 2 * 3
	if cmd.subs != nil {
		fields += 2
	}
	w.Array(fields)
	w.BulkString("summary")
	w.BulkString(cmd.summary)
	w.BulkString("since")
	w.BulkString(cmd.since)
	w.BulkString("group")
	w.BulkString(cmd.group)
	if cmd.subs == nil {
		return
	}
	w.BulkString("subcommands")
	w.Array(2 * len(cmd.subs))
	for _, sub := range cmd.subs {
		writeDoc(w, sub)
	}
}
