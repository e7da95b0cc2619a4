package server

import (
	"slices"
	"strings"

	"faultline/server/resp"
)

// commandCommands are about the table itself.
func commandCommands() []*command {
	const info = flagLoading | flagStale
	return []*command{
		{name: "command", arity: -1, flags: info, acl: aclConnection, since: "2.8.13",
			summary: "Describe all commands", run: cmdCommand, subs: []*command{
				{name: "count", arity: 2, flags: info, acl: aclConnection, since: "2.8.13",
					summary: "Count the commands", run: cmdCommandCount},
				{name: "docs", arity: -2, flags: info, acl: aclConnection, since: "7.0.0", args: "[command-name [command-name ...]]",
					summary: "Document commands", run: cmdCommandDocs},
				{name: "getkeys", arity: -4, flags: info, acl: aclConnection, since: "2.8.13", args: "command [arg ...]",
					summary: "List the arguments of a command that are keys", run: cmdCommandGetkeys},
				{name: "getkeysandflags", arity: -4, flags: info, acl: aclConnection, since: "7.0.0", args: "command [arg ...]",
					summary: "The same, with what is done to each", run: cmdCommandGetkeysandflags},
				{name: "info", arity: -2, flags: info, acl: aclConnection, since: "2.8.13", args: "[command-name [command-name ...]]",
					summary: "Describe commands", run: cmdCommandInfo},
				{name: "list", arity: -2, flags: info, acl: aclConnection, since: "7.0.0", args: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
					summary: "List the names of commands", run: cmdCommandList},
			}},
	}
}

func cmdCommand(c *conn, _ [][]byte) {
	c.out.Array(len(c.srv.commands.list))
	for _, cmd := range c.srv.commands.list {
		writeInfo(&c.out, cmd)
		if c.spill(); c.err != nil {
			return
		}
	}
}

func cmdCommandCount(c *conn, _ [][]byte) { c.out.Int(int64(len(c.srv.commands.list))) }

func cmdCommandList(c *conn, args [][]byte) {
	wanted, ok := listFilter(args[2:])
	if !ok {
		c.out.Error(errSyntax)
		return
	}
	var names []string
	for name, cmd := range c.srv.commands.all {
		if wanted(cmd) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(args) == 2 {
		c.out.Set(len(names))
	} else {
		c.out.Array(len(names)) // so it is in Redis
	}
	for _, name := range names {
		c.out.BulkString(name)
	}
}

// listFilter returns the filter of COMMAND LIST; ok is false if there is none such. With
// one, subcommands are listed too, as in Redis.
func listFilter(opts [][]byte) (wanted func(*command) bool, ok bool) {
	switch {
	case len(opts) == 0:
		return func(cmd *command) bool { return cmd.full == cmd.name }, true
	case len(opts) != 3 || !isWord(opts[0], "filterby"):
		return nil, false
	case isWord(opts[1], "module"):
		return func(*command) bool { return false }, true
	case isWord(opts[1], "aclcat"):
		category := "@" + strings.ToLower(string(opts[2]))
		return func(cmd *command) bool { return slices.Contains(cmd.categories().names(), category) }, true
	case isWord(opts[1], "pattern"):
		pattern := []byte(strings.ToLower(string(opts[2])))
		return func(cmd *command) bool { return matchGlob(pattern, []byte(cmd.full)) }, true
	}
	return nil, false
}

func cmdCommandGetkeys(c *conn, args [][]byte) {
	c.writeKeys(args[2:], func(_ *command, _ int, key []byte) { c.out.Bulk(key) })
}

func cmdCommandGetkeysandflags(c *conn, args [][]byte) {
	c.writeKeys(args[2:], func(cmd *command, i int, key []byte) {
		c.out.Array(2)
		c.out.Bulk(key)
		writeWords(&c.out, cmd.useOf(i, args[2:]))
	})
}

// writeKeys answers with what write says of each key of the command that args are.
func (c *conn) writeKeys(args [][]byte, write func(cmd *command, i int, key []byte)) {
	switch cmd := c.srv.commands.find(args); {
	case cmd == nil:
		c.out.Error("ERR Invalid command specified")
	case cmd.keys.first == 0:
		c.out.Error("ERR The command has no key arguments")
	case !cmd.takes(len(args)):
		c.out.Error("ERR Invalid number of arguments specified for command")
	default:
		keys := keysOf([]queued{{cmd, args}})
		c.out.Array(len(keys))
		for i, key := range keys {
			write(cmd, i, key)
		}
	}
}

// useOf returns what a command does with its i-th key, in the words of COMMAND INFO. Only
// with SET that depends on other arguments: with GET it reads the key too.
func (cmd *command) useOf(i int, args [][]byte) []string {
	uses := strings.Split(cmd.keys.access, ";")
	use, varies := strings.CutSuffix(uses[min(i, len(uses)-1)], " variable_flags")
	if varies && !slices.ContainsFunc(args[3:], func(a []byte) bool { return isWord(a, "get") }) {
		use = "OW update"
	}
	return strings.Fields(use)
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
			c.out.Null()
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
	c.out.Map(len(docs))
	for _, cmd := range docs {
		writeDoc(&c.out, cmd)
		if c.spill(); c.err != nil {
			return
		}
	}
}

// writeInfo writes the ten fields that COMMAND has in Redis 7.0.
func writeInfo(w *resp.Writer, cmd *command) {
	w.Array(10)
	w.BulkString(cmd.full)
	w.Int(int64(cmd.arity))
	writeWords(w, cmd.flags.names())
	w.Int(int64(cmd.keys.first))
	w.Int(int64(cmd.keys.last))
	w.Int(int64(cmd.keys.step))
	writeWords(w, cmd.categories().names())
	w.Set(0) // tips
	writeKeySpecs(w, cmd.keys)
	if len(cmd.subs) == 0 {
		w.Set(0)
		return
	}
	w.Array(len(cmd.subs))
	for _, sub := range cmd.subs {
		writeInfo(w, sub)
	}
}

func writeWords(w *resp.Writer, words []string) {
	w.Set(len(words))
	for _, word := range words {
		w.Status(word)
	}
}

// writeKeySpecs says the same as first, last and step, in the form of Redis 7. Where the
// keys are not all used alike each has a specification.
func writeKeySpecs(w *resp.Writer, k keySpec) {
	uses := strings.Split(k.access, ";")
	switch {
	case k.first == 0:
		w.Set(0)
		return
	case len(uses) == 1:
		last := k.last
		if last > 0 {
			last -= k.first // from the first key on; -1 is the last argument
		}
		w.Set(1)
		writeKeySpec(w, uses[0], k.first, last, k.step)
		return
	}
	w.Set(len(uses))
	for i, use := range uses {
		writeKeySpec(w, use, k.first+i, 0, 1)
	}
}

func writeKeySpec(w *resp.Writer, use string, first, last, step int) {
	w.Map(3)
	w.BulkString("flags")
	writeWords(w, strings.Fields(use))
	w.BulkString("begin_search")
	w.Map(2)
	w.BulkString("type")
	w.BulkString("index")
	w.BulkString("spec")
	w.Map(1)
	w.BulkString("index")
	w.Int(int64(first))
	w.BulkString("find_keys")
	w.Map(2)
	w.BulkString("type")
	w.BulkString("range")
	w.BulkString("spec")
	w.Map(3)
	w.BulkString("lastkey")
	w.Int(int64(last))
	w.BulkString("keystep")
	w.Int(int64(step))
	w.BulkString("limit")
	w.Int(0)
}

// writeDoc writes a name and its map of COMMAND DOCS.
func writeDoc(w *resp.Writer, cmd *command) {
	w.BulkString(cmd.full)
	fields := 3
	if cmd.subs != nil {
		fields++
	}
	w.Map(fields)
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
	w.Map(len(cmd.subs))
	for _, sub := range cmd.subs {
		writeDoc(w, sub)
	}
}
