package server

import (
	"strconv"
	"strings"

	"faultline/store"
)

// configCommands are about the server's parameters.
func configCommands() []*command {
	return []*command{
		{name: "config", arity: -2, since: "2.0.0",
			summary: "A container for configuration commands", subs: []*command{
				{name: "get", arity: -3, flags: flagAdmin | flagNoscript | flagLoading | flagStale, since: "2.0.0", args: "parameter [parameter ...]",
					summary: "Get parameters by pattern", run: cmdConfigGet},
			}},
	}
}

// A parameter is one line of CONFIG GET.
type parameter struct{ name, value string }

// parameters are those that tools ask for, in Redis's words. The log is what
// Redis calls the append-only file; there are no RDB files.
func (s *Server) parameters() []parameter {
	fsync := "always"
	if s.opts.Durability == store.Async {
		fsync = "no" // the kernel decides
	}
	return []parameter{
		{"appendfsync", fsync},
		{"appendonly", "yes"},
		{"client-query-buffer-limit", strconv.Itoa(s.opts.Limits.CommandBytes)},
		{"databases", strconv.Itoa(s.opts.Databases)},
		{"dir", s.opts.Dir},
		{"maxclients", strconv.Itoa(s.opts.MaxClients)},
		{"maxmemory", strconv.FormatInt(s.opts.MemoryBytes, 10)},
		{"maxmemory-policy", "noeviction"},
		{"proto-max-bulk-len", strconv.Itoa(s.opts.Limits.BulkBytes)},
		{"save", ""},
		{"timeout", "0"},
	}
}

func cmdConfigGet(c *conn, args [][]byte) {
	var found []parameter
	for _, p := range c.srv.parameters() {
		for _, pattern := range args[2:] {
			if matchGlob([]byte(strings.ToLower(string(pattern))), []byte(p.name)) {
				found = append(found, p)
				break
			}
		}
	}
	c.out.Map(len(found))
	for _, p := range found {
		c.out.BulkString(p.name)
		c.out.BulkString(p.value)
	}
}
