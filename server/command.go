package server

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
)

// A command is one line of the table, from which come dispatch, the check of the
// number of arguments, the replies of COMMAND, and docs/commands.md. The lines of
// a group stand beside their handlers.
type command struct {
	name    string // lower case
	arity   int    // arguments with the name; -n means n or more
	flags   flags
	acl     categories // those that do not follow from flags and group
	keys    keySpec
	since   string // the version of Redis that has it; of kvd for KV.*
	args    string // syntax of the arguments
	summary string
	run     func(c *conn, args [][]byte)
	subs    []*command // of a container: CLIENT, COMMAND, CONFIG

	full  string // "config|get"; filled in by newTable, as are group and short
	group string
	short bool // it takes about as long as a look at the clock: see stopwatch
	stats commandStats
}

// A keySpec says which arguments are keys: first to last by step, as in COMMAND.
// A negative last counts from the end.
type keySpec struct {
	first, last, step int
	access            string // what is done to them, in the words of COMMAND INFO; with ; to each
}

// of returns how many of n arguments are keys.
func (k keySpec) of(n int) int {
	last := k.last
	if last < 0 {
		last += n
	}
	if k.first == 0 || last < k.first {
		return 0
	}
	return (last-k.first)/k.step + 1
}

func oneKey(access string) keySpec   { return keySpec{1, 1, 1, access} }
func twoKeys(access string) keySpec  { return keySpec{1, 2, 1, access} }
func allKeys(access string) keySpec  { return keySpec{1, -1, 1, access} }
func keyPairs(access string) keySpec { return keySpec{1, -1, 2, access} }
func subKey(access string) keySpec   { return keySpec{2, 2, 1, access} } // of a subcommand

// flags are those of COMMAND.
type flags uint

const (
	flagWrite flags = 1 << iota // it changes keys
	flagRead                    // its reply shows keys or values
	flagDenyoom
	flagAdmin
	flagNoscript
	flagLoading
	flagStale
	flagSkipSlowlog
	flagFast
	flagNoAuth
	flagNoAsyncLoading
	flagNoMulti
	flagAllowBusy

	// flagWhole is ours: the command is about a whole database, so it is no part of a
	// transaction of the store. See multi.go.
	flagWhole
)

// flagNames is in the order of the bits, which is that of Redis.
var flagNames = [...]string{"write", "readonly", "denyoom", "admin", "noscript", "loading", "stale",
	"skip_slowlog", "fast", "no_auth", "no_async_loading", "no_multi", "allow_busy"}

func (f flags) names() []string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// categories are those of ACLs.
type categories uint

const (
	aclKeyspace categories = 1 << iota
	aclRead
	aclWrite
	aclString
	aclAdmin
	aclFast
	aclSlow
	aclDangerous
	aclConnection
	aclTransaction
	aclScripting
)

// categoryNames is in the order of the bits, which is that of Redis.
var categoryNames = [...]string{"keyspace", "read", "write", "string", "admin", "fast", "slow",
	"dangerous", "connection", "transaction", "scripting"}

// categories returns all that the command is in.
func (cmd *command) categories() categories {
	all := cmd.acl
	add := func(is bool, yes, no categories) {
		if is {
			all |= yes
		} else {
			all |= no
		}
	}
	add(cmd.flags&flagWrite != 0, aclWrite, 0)
	add(cmd.flags&flagRead != 0, aclRead, 0)
	add(cmd.flags&flagAdmin != 0, aclAdmin|aclDangerous, 0)
	add(cmd.flags&flagFast != 0, aclFast, aclSlow)
	if len(cmd.subs) > 0 && cmd.run == nil {
		return all // a container has no others in Redis
	}
	switch cmd.group {
	case "string":
		all |= aclString
	case "generic":
		all |= aclKeyspace
	case "transactions":
		all |= aclTransaction
	case "connection":
		all |= aclConnection
	case "scripting":
		all |= aclScripting
	}
	return all
}

func (c categories) names() []string {
	var names []string
	for i, name := range categoryNames {
		if c&(1<<i) != 0 {
			names = append(names, "@"+name)
		}
	}
	return names
}

// commandStats are what INFO commandstats shows.
type commandStats struct {
	calls, nanos     atomic.Int64
	rejected, failed atomic.Int64 // not run; answered with an error
}

func (s *commandStats) reset() {
	s.calls.Store(0)
	s.nanos.Store(0)
	s.rejected.Store(0)
	s.failed.Store(0)
}

// A group is the commands of one heading of Redis's documentation.
type group struct {
	name string
	list []*command
}

func commandGroups() []group {
	return []group{
		{"string", stringCommands()},
		{"generic", genericCommands()},
		{"generic", expireCommands()},
		{"kv", orderedCommands()},
		{"transactions", transactionCommands()},
		{"connection", connectionCommands()},
		{"server", commandCommands()},
		{"server", configCommands()},
		{"server", serverCommands()},
		{"server", slowlogCommands()},
		{"pubsub", subscribeCommands()},
		{"scripting", scriptingCommands()},
	}
}

// A table finds commands by name. But for their stats it does not change.
type table struct {
	list []*command
	all  map[string]*command // by full name, subcommands too
}

func newTable() *table {
	t := &table{all: make(map[string]*command)}
	for _, g := range commandGroups() {
		for _, c := range g.list {
			t.list = append(t.list, c)
			t.add(c, "", g.name)
		}
	}
	return t
}

// add files a command, and its subcommands, of which each container gets a HELP.
func (t *table) add(c *command, container, group string) {
	c.full, c.group = container+c.name, group
	c.short = c.flags&flagFast != 0 || c.full == "set"
	t.all[c.full] = c
	if c.subs == nil {
		return
	}
	c.subs = append(c.subs, &command{name: "help", arity: 2, flags: flagLoading | flagStale, acl: c.acl, since: "5.0.0",
		summary: "Prints this help", run: helpOf(c)})
	for _, sub := range c.subs {
		t.add(sub, c.full+"|", group)
	}
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

// named finds a command by its full name, in any case.
func (t *table) named(name []byte) *command { return t.all[strings.ToLower(string(name))] }

// A recent is the command that a connection has sent last, which it will likely send
// again, in the same letters.
type recent struct {
	cmd  *command // nil: none
	name []byte
}

// find is that of the table, but looks there only if the name is another one.
func (r *recent) find(t *table, args [][]byte) *command {
	if r.cmd != nil && bytes.Equal(args[0], r.name) {
		return r.cmd
	}
	cmd := t.find(args)
	if cmd != nil && cmd.subs == nil && cmd.full == cmd.name {
		r.cmd, r.name = cmd, append(r.name[:0], args[0]...)
	}
	return cmd
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

// execute runs one command, or queues it in a transaction; its reply goes to c.out.
func (c *conn) execute(args [][]byte) {
	c.tally.commands++
	cmd := c.recent.find(c.srv.commands, args)
	switch {
	case cmd == nil:
		c.refuse(args)
		c.multi.spoil()
	case !cmd.takes(len(args)):
		c.reject(cmd, "ERR wrong number of arguments for '"+cmd.full+"' command")
	case !c.authenticated && cmd.flags&flagNoAuth == 0:
		c.reject(cmd, noAuth)
	case cmd.flags&flagLoading == 0 && !c.srv.Ready():
		c.reject(cmd, errLoading)
	case c.listens(cmd):
		c.reject(cmd, "ERR Can't execute '"+cmd.full+"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	case !c.multi.open || cmd.isImmediate():
		if c.srv.pause.Load() != nil {
			c.awaitPause(cmd)
		}
		c.call(cmd, args)
	case cmd.flags&flagNoMulti != 0:
		c.reject(cmd, "ERR Command not allowed inside a transaction")
	default:
		c.enqueue(cmd, args)
	}
}

// call runs one command, and counts it.
func (c *conn) call(cmd *command, args [][]byte) {
	if c.db > 0 && c.space == nil && cmd.flags&flagLoading == 0 { // selected before there was a store
		if err := c.use(c.db); err != nil {
			c.fail(err)
			return
		}
	}
	began := c.timer.begin(c, cmd)
	mark, sends := c.out.Len(), c.sends
	c.shown.last = cmd
	c.hasRead = c.hasRead || cmd.flags&flagRead != 0
	if c.tracks != nil {
		c.trackReads(cmd, args)
	}
	cmd.run(c, args)
	if c.tracks != nil {
		c.tracks.afterCommand(cmd, c.multi.open || c.multi.running)
	}
	c.timer.end(c, cmd, began, args)
	if c.sends == sends && c.out.Len() > mark && c.out.Bytes()[mark] == '-' {
		cmd.stats.failed.Add(1)
		c.srv.errors.note(c.out.Bytes()[mark:])
	}
}

// reject answers a command that is not run, with an error. That spoils a transaction. If it
// is EXEC that is not run it ends what there was, a transaction or not.
func (c *conn) reject(cmd *command, text string) {
	cmd.stats.rejected.Add(1)
	if cmd.full == "exec" {
		c.discard()
		c.execAbort(text)
		return
	}
	c.multi.spoil()
	c.deny(text)
}

// deny answers with an error outside of call, and counts it.
func (c *conn) deny(text string) {
	mark := c.out.Len()
	c.out.Error(text)
	c.srv.errors.note(c.out.Bytes()[mark:])
}

func (cmd *command) takes(n int) bool {
	return n == cmd.arity || cmd.arity < 0 && n >= -cmd.arity
}

// wrongArity is for what arity cannot say.
func (c *conn) wrongArity(name string) {
	c.out.Error("ERR wrong number of arguments for '" + name + "' command")
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
		c.deny(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.",
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
	c.deny(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", clip(name, 128), shown.String()))
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
		c.out.Status(strings.ToUpper(container.name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
		for _, sub := range container.subs {
			c.out.Status(strings.TrimSpace(strings.ToUpper(sub.name) + " " + sub.args))
			c.out.Status("    " + sub.summary + ".")
		}
	}
}
