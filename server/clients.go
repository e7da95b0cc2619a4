package server

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"faultline/server/resp"
)

// clientCommands are the subcommands of CLIENT.
func clientCommands() []*command {
	const sub = flagNoscript | flagLoading | flagStale
	return []*command{
		{name: "caching", arity: 3, flags: sub, since: "6.0.0", args: "<YES | NO>",
			summary: "Say whether the keys of the next command are tracked", run: cmdClientCaching},
		{name: "getname", arity: 2, flags: sub, since: "2.6.9",
			summary: "Get the name of the connection", run: cmdClientGetname},
		{name: "getredir", arity: 2, flags: sub, since: "6.0.0",
			summary: "Get the number of the connection that gets the messages of tracking", run: cmdClientGetredir},
		{name: "id", arity: 2, flags: sub, since: "5.0.0",
			summary: "Get the number of the connection", run: cmdClientID},
		{name: "info", arity: 2, flags: sub, since: "6.2.0",
			summary: "Describe the connection", run: cmdClientInfo},
		{name: "kill", arity: -3, flags: flagAdmin | sub, since: "2.4.0",
			args:    "<ip:port | [ID client-id | TYPE type | USER username | ADDR ip:port | LADDR ip:port | SKIPME <YES | NO> | MAXAGE seconds] ...>",
			summary: "End connections", run: cmdClientKill},
		{name: "list", arity: -2, flags: flagAdmin | sub, since: "2.4.0", args: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
			summary: "Describe all connections", run: cmdClientList},
		{name: "no-evict", arity: 3, flags: flagAdmin | sub, since: "7.0.0", args: "<ON | OFF>",
			summary: "Spare the connection when memory for connections is short", run: cmdClientNoEvict},
		{name: "no-touch", arity: 3, flags: sub, since: "7.2.0", args: "<ON | OFF>",
			summary: "Say that reads do not count as use of a key: nothing here counts it", run: cmdClientNoTouch},
		{name: "pause", arity: -3, flags: flagAdmin | sub, since: "3.0.0", args: "timeout [WRITE | ALL]",
			summary: "Make commands wait", run: cmdClientPause},
		{name: "reply", arity: 3, flags: sub, since: "3.2.0", args: "<ON | OFF | SKIP>",
			summary: "Say whether commands are answered", run: cmdClientReply},
		{name: "setinfo", arity: 4, flags: sub, since: "7.2.0", args: "<LIB-NAME libname | LIB-VER libver>",
			summary: "Say which library the client uses", run: cmdClientSetinfo},
		{name: "setname", arity: 3, flags: sub, since: "2.6.9", args: "connection-name",
			summary: "Set the name of the connection", run: cmdClientSetname},
		{name: "tracking", arity: -3, flags: sub, since: "6.0.0",
			args:    "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
			summary: "Ask to be told when keys change", run: cmdClientTracking},
		{name: "trackinginfo", arity: 2, flags: sub, since: "6.2.0",
			summary: "Describe what the connection tracks", run: cmdClientTrackinginfo},
		{name: "unblock", arity: -3, flags: flagAdmin | sub, since: "5.0.0", args: "client-id [TIMEOUT | ERROR]",
			summary: "Unblock a connection: no command here blocks", run: cmdClientUnblock},
		{name: "unpause", arity: 2, flags: flagAdmin | sub, since: "6.2.0",
			summary: "End a pause", run: cmdClientUnpause},
	}
}

// connections returns those that are open, the oldest first.
func (s *Server) connections() []*conn {
	s.mu.Lock()
	list := make([]*conn, 0, len(s.mu.open))
	for c := range s.mu.open {
		list = append(list, c)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *conn) int { return int(a.id - b.id) })
	return list
}

// find returns the connection with a number, nil if there is none.
func (s *Server) find(id int64) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.open {
		if c.id == id {
			return c
		}
	}
	return nil
}

func cmdClientID(c *conn, _ [][]byte) { c.out.Int(c.id) }

func cmdClientGetname(c *conn, _ [][]byte) {
	if name := word(&c.shown.name); name != "" {
		c.out.BulkString(name)
		return
	}
	c.out.Null()
}

func cmdClientSetname(c *conn, args [][]byte) {
	if !validName(args[2]) {
		c.out.Error(badName)
		return
	}
	c.setName(args[2])
	c.out.Status("OK")
}

func (c *conn) setName(name []byte) {
	s := string(name)
	c.shown.name.Store(&s)
}

// cmdClientSetinfo takes what client libraries say of themselves.
func cmdClientSetinfo(c *conn, args [][]byte) {
	value := string(args[3])
	var to *atomic.Pointer[string]
	switch {
	case isWord(args[2], "lib-name"):
		to = &c.shown.lib
	case isWord(args[2], "lib-ver"):
		to = &c.shown.libVersion
	default:
		c.out.Error("ERR Unrecognized option '" + string(clip(args[2], 128)) + "'")
		return
	}
	if !validName(args[3]) {
		c.out.Error("ERR " + strings.ToLower(string(args[2])) + " cannot contain spaces, newlines or special characters.")
		return
	}
	to.Store(&value)
	c.out.Status("OK")
}

func cmdClientInfo(c *conn, _ [][]byte) {
	c.show()
	c.out.Verbatim(c.describe(int64(c.in.Len())))
}

func cmdClientList(c *conn, args [][]byte) {
	c.show()
	filter := clientFilter{skipme: false}
	switch {
	case len(args) == 2:
	case len(args) == 4 && isWord(args[2], "type"):
		if filter.kind = clientKind(args[3]); filter.kind == "" {
			c.out.Error("ERR Unknown client type '" + string(clip(args[3], 128)) + "'")
			return
		}
	case len(args) > 3 && isWord(args[2], "id"):
		for _, a := range args[3:] {
			id, ok := resp.ParseInt(a)
			if !ok {
				c.out.Error("ERR Invalid client ID")
				return
			}
			filter.ids = append(filter.ids, id)
		}
	default:
		c.out.Error(errSyntax)
		return
	}
	var b strings.Builder
	for _, other := range c.srv.connections() {
		if filter.takes(c, other) {
			query := other.shown.partial.Load()
			if other == c {
				query = int64(c.in.Len())
			}
			b.WriteString(other.describe(query))
		}
	}
	c.out.Verbatim(b.String())
}

// clientKind returns the kind of clients of that name, "" if there is none.
func clientKind(name []byte) string {
	switch {
	case isWord(name, "normal"):
		return "normal"
	case isWord(name, "pubsub"):
		return "pubsub"
	case isWord(name, "slave"), isWord(name, "replica"), isWord(name, "master"):
		return "other" // there are none
	}
	return ""
}

// A clientFilter picks connections, for CLIENT LIST and KILL. What is zero takes all.
type clientFilter struct {
	ids         []int64
	addr, laddr string
	kind        string
	minAge      time.Duration
	skipme      bool
}

// kind is normal or pubsub.
func (c *conn) kind() string {
	if clientState(c.shown.state.Load())&stateSubscribed != 0 {
		return "pubsub"
	}
	return "normal"
}

func (f *clientFilter) takes(me, c *conn) bool {
	addr, laddr := c.addresses()
	switch {
	case f.skipme && c == me,
		f.ids != nil && !slices.Contains(f.ids, c.id),
		f.addr != "" && f.addr != addr,
		f.laddr != "" && f.laddr != laddr,
		f.kind != "" && f.kind != c.kind(),
		f.minAge > 0 && time.Since(c.born) < f.minAge:
		return false
	}
	return true
}

func cmdClientKill(c *conn, args [][]byte) {
	filter, errText := parseKill(args)
	if errText != "" {
		c.out.Error(errText)
		return
	}
	killed := int64(0)
	for _, other := range c.srv.connections() {
		if other.killed.Load() || !filter.takes(c, other) {
			continue
		}
		killed++
		if other == c {
			c.closing = true
		} else {
			other.kill()
		}
	}
	switch {
	case len(args) > 3:
		c.out.Int(killed)
	case killed == 0:
		c.out.Error("ERR No such client")
	default:
		c.out.Status("OK")
	}
}

// parseKill returns the error's text if the arguments are wrong.
func parseKill(args [][]byte) (f clientFilter, errText string) {
	if len(args) == 3 { // the old form, with which one can end oneself
		f.addr = string(args[2])
		return f, ""
	}
	f.skipme = true
	for opts := args[2:]; len(opts) > 0; opts = opts[2:] {
		if len(opts) == 1 {
			return f, errSyntax
		}
		name, value := opts[0], opts[1]
		switch n, ok := resp.ParseInt(value); {
		case isWord(name, "id"):
			if !ok || n < 1 {
				return f, "ERR client-id should be greater than 0"
			}
			f.ids = []int64{n}
		case isWord(name, "maxage"):
			if !ok || n < 1 {
				return f, "ERR maxage is not an integer or out of range"
			}
			f.minAge = time.Duration(min(n, 1<<32)) * time.Second
		case isWord(name, "addr"):
			f.addr = string(value)
		case isWord(name, "laddr"):
			f.laddr = string(value)
		case isWord(name, "type"):
			if f.kind = clientKind(value); f.kind == "" {
				return f, "ERR Unknown client type '" + string(clip(value, 128)) + "'"
			}
		case isWord(name, "user"):
			if string(value) != "default" {
				return f, "ERR No such user '" + string(clip(value, 128)) + "'"
			}
		case isWord(name, "skipme") && isWord(value, "yes"):
			f.skipme = true
		case isWord(name, "skipme") && isWord(value, "no"):
			f.skipme = false
		default:
			return f, errSyntax
		}
	}
	return f, ""
}

func cmdClientReply(c *conn, args [][]byte) {
	switch {
	case isWord(args[2], "on"):
		c.replies, c.muted = repliesOn, false
		c.out.Status("OK")
	case isWord(args[2], "off"):
		c.replies, c.muted = repliesOff, true
	case isWord(args[2], "skip"):
		if c.replies == repliesOn {
			c.replies = skipNext
		}
		c.muted = true
	default:
		c.out.Error(errSyntax)
	}
}

func cmdClientNoEvict(c *conn, args [][]byte) { c.onOff(args[2], &c.shown.noEvict) }
func cmdClientNoTouch(c *conn, args [][]byte) { c.onOff(args[2], &c.shown.noTouch) }

func (c *conn) onOff(arg []byte, flag *atomic.Bool) {
	on := isWord(arg, "on")
	if !on && !isWord(arg, "off") {
		c.out.Error(errSyntax)
		return
	}
	flag.Store(on)
	c.out.Status("OK")
}

func cmdClientUnblock(c *conn, args [][]byte) {
	if len(args) > 4 || len(args) == 4 && !isWord(args[3], "timeout") && !isWord(args[3], "error") {
		c.out.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
		return
	}
	if _, ok := resp.ParseInt(args[2]); !ok {
		c.out.Error(errNotInteger)
		return
	}
	c.out.Int(0)
}

// A pause makes commands wait until it ends.
type pause struct {
	end    chan struct{} // closed by over
	until  time.Time
	writes bool // only commands that write
}

func cmdClientPause(c *conn, args [][]byte) {
	p := &pause{end: make(chan struct{})}
	if len(args) > 3 {
		p.writes = isWord(args[3], "write")
		if !p.writes && !isWord(args[3], "all") {
			c.out.Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
			return
		}
	}
	ms, ok := resp.ParseInt(args[2])
	switch {
	case !ok || ms > 1<<50:
		c.out.Error("ERR timeout is not an integer or out of range")
		return
	case ms < 0:
		c.out.Error("ERR timeout is negative")
		return
	}
	c.srv.beginPause(p, time.Now().Add(time.Duration(min(ms, 1<<40))*time.Millisecond))
	c.out.Status("OK")
}

// beginPause begins p, which ends at until, or when the pause ends that there is: one can
// grow, not shrink, as in Redis.
func (s *Server) beginPause(p *pause, until time.Time) {
	for {
		old := s.pause.Load()
		if p.until = until; old != nil && old.until.After(until) {
			p.until = old.until
		}
		if s.pause.CompareAndSwap(old, p) {
			old.over()
			return
		}
	}
}

func cmdClientUnpause(c *conn, _ [][]byte) {
	c.srv.pause.Swap(nil).over()
	c.out.Status("OK")
}

// over lets those look again who wait for p, which is not the server's any more; nil is no
// pause.
func (p *pause) over() {
	if p != nil {
		close(p.end)
	}
}

// writes tells whether a command writes, or executes one that does.
func (c *conn) writes(cmd *command) bool {
	if cmd.full == "exec" {
		for _, q := range c.multi.queue {
			if q.cmd.flags&flagWrite != 0 {
				return true
			}
		}
	}
	return cmd.flags&flagWrite != 0
}

// awaitPause returns when a pause lets cmd run, which it does while the server shuts down.
// Replies to what came before are sent first.
func (c *conn) awaitPause(cmd *command) {
	for {
		p := c.srv.pause.Load()
		if p == nil || c.ending.Load() || p.writes && !c.writes(cmd) {
			return
		}
		c.flush()
		left := time.NewTimer(time.Until(p.until))
		select {
		case <-p.end:
		case <-left.C:
			c.srv.pause.CompareAndSwap(p, nil)
		case <-c.srv.ctx.Done():
			left.Stop()
			return
		}
		left.Stop()
	}
}
