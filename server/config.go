package server

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"faultline/server/resp"
)

// configCommands are about the server's parameters.
func configCommands() []*command {
	const sub = flagAdmin | flagNoscript | flagLoading | flagStale
	return []*command{
		{name: "config", arity: -2, since: "2.0.0",
			summary: "A container for configuration commands", subs: []*command{
				{name: "get", arity: -3, flags: sub, since: "2.0.0", args: "parameter [parameter ...]",
					summary: "Get parameters by pattern", run: cmdConfigGet},
				{name: "resetstat", arity: 2, flags: sub, since: "2.0.0",
					summary: "Set the counts of INFO to zero", run: cmdConfigResetstat},
				{name: "rewrite", arity: 2, flags: sub, since: "2.8.0",
					summary: "Refuse to write a file: kvd's is not its own", run: cmdConfigRewrite},
				{name: "set", arity: -4, flags: sub, since: "2.0.0", args: "parameter value [parameter value ...]",
					summary: "Set parameters until the server ends", run: cmdConfigSet},
			}},
	}
}

// settings are the parameters that CONFIG SET changes while clients are served.
type settings struct {
	fsync        atomic.Int64 // a Fsync; appendfsync
	maxClients   atomic.Int64 // maxclients
	idleSeconds  atomic.Int64 // timeout; 0 = none
	bulkBytes    atomic.Int64 // proto-max-bulk-len
	commandBytes atomic.Int64 // client-query-buffer-limit
	slowMicros   atomic.Int64 // slowlog-log-slower-than; negative = never
	slowEntries  atomic.Int64 // slowlog-max-len
	trackedKeys  atomic.Int64 // tracking-table-max-keys; 0 = no bound
	protected    atomic.Int64 // protected-mode; 1 = yes
}

func (c *settings) init(o *Options) {
	c.fsync.Store(int64(o.Fsync))
	c.maxClients.Store(int64(o.MaxClients))
	c.bulkBytes.Store(int64(o.Limits.BulkBytes))
	c.commandBytes.Store(int64(o.Limits.CommandBytes))
	c.idleSeconds.Store(int64(o.Timeout / time.Second))
	if !o.Unprotected {
		c.protected.Store(1)
	}
	c.slowMicros.Store(10_000)
	c.slowEntries.Store(128)
	c.trackedKeys.Store(1_000_000)
}

// limits returns the limits of commands as they are set now.
func (s *Server) limits() resp.Limits {
	lim := s.opts.Limits
	lim.BulkBytes = int(s.conf.bulkBytes.Load())
	lim.CommandBytes = int(s.conf.commandBytes.Load())
	return lim
}

// A parameter is one of CONFIG. One without parse cannot be set to another value, one
// without get is not shown.
type parameter struct {
	name  string
	get   func() string
	parse func(text string) (set func(), reason string) // the reason, in Redis's words, why not
}

// parameters are those that the server has and those that tools ask for, in Redis's
// words. The log is what Redis calls the append-only file; there are no RDB files.
func (s *Server) parameters() []parameter {
	c := &s.conf
	all := []parameter{
		choice("appendfsync", &c.fsync, fsyncNames, []string{"everysec", "always", "no"}),
		constant("appendonly", "yes"),
		constant("client-output-buffer-limit", s.opts.OutputLimit.String()),
		size("client-query-buffer-limit", &c.commandBytes, 1<<20),
		constant("databases", strconv.Itoa(s.opts.Databases)),
		constant("dir", s.opts.Dir),
		s.clientsParameter(),
		part("maxmemory-clients", &s.memory.most, 1<<20, s.opts.MemoryBytes),
		constant("maxmemory", strconv.FormatInt(s.opts.MemoryBytes, 10)),
		constant("maxmemory-policy", "noeviction"),
		choice("protected-mode", &c.protected, yesNo, yesNo),
		size("proto-max-bulk-len", &c.bulkBytes, 1<<20),
		{name: "requirepass", parse: s.parsePassword},
		constant("save", ""),
		number("slowlog-log-slower-than", &c.slowMicros, -1, math.MaxInt64),
		number("slowlog-max-len", &c.slowEntries, 0, math.MaxInt64),
		number("timeout", &c.idleSeconds, 0, math.MaxInt32),
		number("tracking-table-max-keys", &c.trackedKeys, 0, math.MaxInt64),
	}
	for _, name := range slices.Sorted(maps.Keys(s.opts.Parameters)) {
		if !slices.ContainsFunc(all, func(p parameter) bool { return p.name == name }) {
			all = append(all, constant(name, s.opts.Parameters[name]))
		}
	}
	return all
}

var yesNo = []string{"no", "yes"}

func constant(name, value string) parameter {
	return parameter{name: name, get: func() string { return value }}
}

func number(name string, value *atomic.Int64, lo, hi int64) parameter {
	return stored(name, value, lo, hi, func(text string) (int64, string) {
		n, ok := resp.ParseInt([]byte(text))
		return n, unless(ok, "argument couldn't be parsed into an integer")
	})
}

// clientsParameter is maxclients, which descriptors bound.
func (s *Server) clientsParameter() parameter {
	p := number("maxclients", &s.conf.maxClients, 1, math.MaxUint32)
	parse, most := p.parse, s.opts.MostClients
	p.parse = func(text string) (set func(), reason string) {
		set, reason = parse(text)
		if n, _ := resp.ParseInt([]byte(text)); reason == "" && most > 0 && n > int64(most) {
			reason = fmt.Sprintf("The operating system is not able to handle the specified number of clients, try with %d", most)
		}
		return set, reason
	}
	return p
}

// stored is a number within bounds that parse makes of a text.
func stored(name string, value *atomic.Int64, lo, hi int64, parse func(text string) (n int64, reason string)) parameter {
	return parameter{
		name: name,
		get:  func() string { return strconv.FormatInt(value.Load(), 10) },
		parse: func(text string) (set func(), reason string) {
			n, reason := parse(text)
			if reason == "" {
				reason = outside(n, lo, hi)
			}
			return func() { value.Store(n) }, reason
		},
	}
}

func unless(ok bool, reason string) string {
	if ok {
		return ""
	}
	return reason
}

// outside returns Redis's reason if n is not within the bounds.
func outside(n, lo, hi int64) string {
	return unless(lo <= n && n <= hi, fmt.Sprintf("argument must be between %d and %d inclusive", lo, hi))
}

func size(name string, value *atomic.Int64, lo int64) parameter {
	return stored(name, value, lo, math.MaxInt64, func(text string) (int64, string) {
		n, ok := parseSize(text)
		return n, unless(ok, "argument must be a memory value")
	})
}

// part is a size, or a percentage of whole. It is shown in bytes.
func part(name string, value *atomic.Int64, lo, whole int64) parameter {
	return stored(name, value, lo, math.MaxInt64, func(text string) (int64, string) {
		digits, isPercentage := strings.CutSuffix(text, "%")
		if !isPercentage {
			n, ok := parseSize(text)
			return n, unless(ok, "argument must be a memory or percent value")
		}
		n, ok := resp.ParseInt([]byte(digits))
		switch {
		case !ok || n < 0:
			return 0, "argument must be a memory or percent value"
		case n > 100:
			return 0, "percentage argument must be less or equal to 100"
		}
		return whole / 100 * n, ""
	})
}

// parsePassword sets a password, or takes it away: until the server ends, or reads its
// file again. It is not shown, since only its Secret is known.
func (s *Server) parsePassword(text string) (set func(), reason string) {
	return func() {
		if text == "" {
			s.SetSecret(nil)
			return
		}
		secret := NewSecret([]byte(text))
		s.SetSecret(&secret)
	}, ""
}

// parseSize takes bytes as 1024, 1k, 1kb, 1MB: without b the unit is decimal.
func parseSize(text string) (n int64, ok bool) {
	digits := strings.TrimRight(text, "kKmMgGbB")
	unit, ok := map[string]int64{"": 1, "b": 1, "k": 1e3, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30}[strings.ToLower(text[len(digits):])]
	if !ok {
		return 0, false
	}
	n, ok = resp.ParseInt([]byte(digits))
	return n * unit, ok && n >= 0 && n <= math.MaxInt64/unit
}

func choice(name string, value *atomic.Int64, names, shown []string) parameter {
	return parameter{
		name: name,
		get:  func() string { return names[value.Load()] },
		parse: func(text string) (set func(), reason string) {
			for i, n := range names {
				if strings.EqualFold(n, text) {
					return func() { value.Store(int64(i)) }, ""
				}
			}
			return nil, "argument(s) must be one of the following: " + strings.Join(shown, ", ")
		},
	}
}

func cmdConfigGet(c *conn, args [][]byte) {
	var found []parameter
	for _, p := range c.srv.parameters() {
		for _, pattern := range args[2:] {
			if p.get != nil && matchGlob([]byte(strings.ToLower(string(pattern))), []byte(p.name)) {
				found = append(found, p)
				break
			}
		}
	}
	c.out.Map(len(found))
	for _, p := range found {
		c.out.BulkString(p.name)
		c.out.BulkString(p.get())
	}
}

// cmdConfigSet sets all of its parameters, or none.
func cmdConfigSet(c *conn, args [][]byte) {
	if len(args)%2 != 0 {
		c.out.Error(errSyntax)
		return
	}
	var sets []func()
	named := make(map[string]parameter)
	for _, p := range c.srv.parameters() {
		named[p.name] = p
	}
	seen := make(map[string]bool)
	for i := 2; i < len(args); i += 2 {
		name, text := strings.ToLower(string(args[i])), string(args[i+1])
		p, ok := named[name]
		if !ok {
			c.out.Error("ERR Unknown option or number of arguments for CONFIG SET - '" + string(args[i]) + "'")
			return
		}
		set, reason := p.newValue(text)
		if seen[name] {
			reason = "duplicate parameter"
		}
		if reason != "" {
			c.out.Error("ERR CONFIG SET failed (possibly related to argument '" + name + "') - " + reason)
			return
		}
		seen[name] = true
		sets = append(sets, set)
	}
	for _, set := range sets {
		set()
	}
	c.out.Status("OK")
}

// Configure sets a parameter as CONFIG SET does, for whoever runs the server.
func (s *Server) Configure(name, value string) error {
	for _, p := range s.parameters() {
		if p.name != name {
			continue
		}
		set, reason := p.newValue(value)
		if reason != "" {
			return fmt.Errorf("%s %s: %s", name, value, reason)
		}
		set()
		return nil
	}
	return fmt.Errorf("%s: no such parameter", name)
}

// newValue returns what sets the parameter to text, or why it cannot be set to it.
func (p *parameter) newValue(text string) (set func(), reason string) {
	if p.parse != nil {
		return p.parse(text)
	}
	return func() {}, unless(strings.EqualFold(text, p.get()), "can't set immutable config")
}

func cmdConfigRewrite(c *conn, _ [][]byte) {
	c.out.Error("ERR The server is running without a config file")
}

func cmdConfigResetstat(c *conn, _ [][]byte) {
	c.srv.resetStats()
	c.out.Status("OK")
}
