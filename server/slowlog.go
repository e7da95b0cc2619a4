package server

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"faultline/server/resp"
)

// slowlogCommands are about the slow log.
func slowlogCommands() []*command {
	const log = flagAdmin | flagLoading | flagStale
	return []*command{
		{name: "slowlog", arity: -2, since: "2.2.12",
			summary: "A container for slow log commands", subs: []*command{
				{name: "get", arity: -2, flags: log, since: "2.2.12", args: "[count]",
					summary: "Get the newest entries of the slow log", run: cmdSlowlogGet},
				{name: "len", arity: 2, flags: log, since: "2.2.12",
					summary: "Count the entries of the slow log", run: cmdSlowlogLen},
				{name: "reset", arity: 2, flags: log, since: "2.2.12",
					summary: "Forget the entries of the slow log", run: cmdSlowlogReset},
			}},
	}
}

// What an entry has of its command at most, as in Redis.
const (
	slowArgs     = 32
	slowArgBytes = 128
)

// A slowEntry is a command that took long.
type slowEntry struct {
	id         int64
	at         time.Time
	took       time.Duration
	args       []string
	addr, name string // of the client
}

// A slowlog has the last commands that took long.
type slowlog struct {
	micros *atomic.Int64 // slowlog-log-slower-than; negative: none
	most   *atomic.Int64 // slowlog-max-len
	mu     struct {
		sync.Mutex
		entries []slowEntry // the oldest first
		next    int64       // id
	}
}

// exact tells whether commands are to be measured one by one.
func (l *slowlog) exact() bool {
	n := l.micros.Load()
	return n >= 0 && n < exactBelow.Microseconds()
}

// takes tells whether a command that took so long has an entry.
func (l *slowlog) takes(took time.Duration) bool {
	n := l.micros.Load()
	return n >= 0 && took.Microseconds() >= n
}

func (l *slowlog) add(c *conn, cmd *command, args [][]byte, took time.Duration) {
	addr, _ := c.addresses()
	e := slowEntry{at: time.Now(), took: took, args: slowWords(cmd, args), addr: addr, name: word(&c.shown.name)}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.mu.next
	l.mu.next++
	l.mu.entries = append(l.mu.entries, e)
	if over := len(l.mu.entries) - int(l.most.Load()); over > 0 {
		l.mu.entries = append(l.mu.entries[:0], l.mu.entries[over:]...)
	}
}

// slowWords returns the arguments of a command, shortened, and without passwords.
func slowWords(cmd *command, args [][]byte) []string {
	words := make([]string, 0, min(len(args), slowArgs))
	for i, a := range args {
		switch {
		case i == slowArgs-1 && len(args) > slowArgs:
			return append(words, fmt.Sprintf("... (%d more arguments)", len(args)-i))
		case isSecret(cmd, args, i):
			words = append(words, "(redacted)")
		case len(a) > slowArgBytes:
			words = append(words, fmt.Sprintf("%s... (%d more bytes)", a[:slowArgBytes], len(a)-slowArgBytes))
		default:
			words = append(words, string(a))
		}
	}
	return words
}

// isSecret tells whether an argument may be, or go with, a password.
func isSecret(cmd *command, args [][]byte, i int) bool {
	switch cmd.full {
	case "auth":
		return i > 0
	case "hello":
		return i > 2 && isWord(args[i-1], "auth") || i > 3 && isWord(args[i-2], "auth")
	case "config|set":
		return i > 2 && strings.EqualFold(string(args[i-1]), "requirepass")
	}
	return false
}

func cmdSlowlogGet(c *conn, args [][]byte) {
	most := int64(10)
	if len(args) > 3 {
		c.out.Error("ERR unknown subcommand or wrong number of arguments for '" + string(clip(args[1], 128)) + "'. Try SLOWLOG HELP.")
		return
	}
	if len(args) == 3 {
		n, ok := resp.ParseInt(args[2])
		if !ok || n < -1 {
			c.out.Error("ERR count should be greater than or equal to -1")
			return
		}
		most = n
	}
	l := &c.srv.slow
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.mu.entries)
	if most >= 0 {
		n = int(min(int64(n), most))
	}
	c.out.Array(n)
	for i := range n {
		e := &l.mu.entries[len(l.mu.entries)-1-i]
		c.out.Array(6)
		c.out.Int(e.id)
		c.out.Int(e.at.Unix())
		c.out.Int(e.took.Microseconds())
		c.out.Array(len(e.args))
		for _, a := range e.args {
			c.out.BulkString(a)
		}
		c.out.BulkString(e.addr)
		c.out.BulkString(e.name)
	}
}

func cmdSlowlogLen(c *conn, _ [][]byte) {
	l := &c.srv.slow
	l.mu.Lock()
	defer l.mu.Unlock()
	c.out.Int(int64(len(l.mu.entries)))
}

func cmdSlowlogReset(c *conn, _ [][]byte) {
	l := &c.srv.slow
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.entries = nil
	c.out.Status("OK")
}
