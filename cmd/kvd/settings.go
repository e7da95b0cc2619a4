package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A config is all that kvd serve can be told. The field of each setting has its default
// from newConfig.
type config struct {
	dir         path
	memory      size
	appendfsync string
	databases   int

	bind           hosts
	port           int
	listen         addresses
	unixSocket     path
	unixSocketPerm mode
	maxClients     int
	timeout        seconds
	tcpKeepalive   seconds

	protectedMode   yesNo
	requirePassFile path
	tlsPort         int
	tlsListen       addresses
	tlsCertFile     path
	tlsKeyFile      path
	tlsCACertFile   path
	tlsAuthClients  string

	maxBulk        size
	queryBuffer    size
	clientMemory   size
	outputLimit    outputLimit
	trackedKeys    int
	slowlogSlower  int
	slowlogMaxLen  int
	debugCommand   yesNo
	admin          addresses
	logLevel       string
	logFormat      string
	shutdownWithin seconds
	user           text
	landlock       string
	seccomp        string

	// For tests: checkpoints under load, and traps alone.
	dirtyBudget size
	logBytes    size
	trapOnly    yesNo

	// origin has where the value of each setting came from. A name that is missing has
	// its default.
	origin map[string]string
}

// A setting is one line of the table from which come the flags, the names in the
// environment and in the file, --help and docs/configuration.md.
type setting struct {
	name  string
	value pflag.Value
	about string // what it does, in one sentence without a full stop
	none  string // what an empty or zero default means
}

// env is the name of the setting in the environment.
func (s *setting) env() string {
	return "KVD_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// A group is a heading and its settings.
type group struct {
	title    string
	settings []setting
}

func newConfig() *config {
	return &config{
		dir:            "kvd-data",
		appendfsync:    "always",
		databases:      16,
		bind:           hosts{"127.0.0.1"},
		port:           6379,
		unixSocketPerm: 0o700,
		maxClients:     10_000,
		tcpKeepalive:   seconds(300 * time.Second),
		protectedMode:  true,
		tlsAuthClients: "yes",
		maxBulk:        512 << 20,
		queryBuffer:    1 << 30,
		clientMemory:   1 << 30,
		trackedKeys:    1_000_000,
		slowlogSlower:  10_000,
		slowlogMaxLen:  128,
		admin:          addresses{defaultAdmin},
		logLevel:       "info",
		logFormat:      "text",
		shutdownWithin: seconds(10 * time.Second),
		landlock:       "auto",
		seccomp:        "auto",
		origin:         map[string]string{},
	}
}

// defaultAdmin is the address of the admin's HTTP server. If it is in use, kvd goes on
// without: another kvd has it.
const defaultAdmin = "127.0.0.1:9379"

// groups returns the table. Its values are the fields of c.
func (c *config) groups() []group {
	port := func(to *int) number { return number{to, 0, math.MaxUint16} }
	return []group{
		{"Store", []setting{
			{"dir", &c.dir, "directory of the store, made if there is none", ""},
			{"appendfsync", choice{&c.appendfsync, []string{"always", "everysec", "no"}},
				"a write is answered when it is on disk (always), or when the kernel has it, which then writes it within a second (everysec) or when it likes (no)", ""},
			{"memory", &c.memory, "all memory of the store, e.g. 1GiB", "half of what the machine has, or what its control group leaves to kvd"},
			{"databases", number{&c.databases, 1, 100}, "how many databases SELECT knows", ""},
		}},
		{"Connections", []setting{
			{"bind", &c.bind, "addresses to listen on, for port and tls-port", ""},
			{"port", port(&c.port), "TCP port; 0 is none", ""},
			{"listen", &c.listen, "addresses with ports, in place of bind and port; port 0 takes a free one", "bind and port"},
			{"unixsocket", &c.unixSocket, "Unix socket to listen on as well", "none"},
			{"unixsocketperm", &c.unixSocketPerm, "permissions of the Unix socket", ""},
			{"maxclients", number{&c.maxClients, 1, math.MaxInt32},
				fmt.Sprintf("connections at once; kvd keeps %d of the open files that it may have, and lowers this to what they leave", ownDescriptors), ""},
			{"timeout", &c.timeout, "after so long without a command a connection is closed; 0 is never", ""},
			{"tcp-keepalive", &c.tcpKeepalive, "how often a silent client is asked whether it is still there; 0 is never", ""},
		}},
		{"Security", []setting{
			{"protected-mode", &c.protectedMode, "without a password, refuse clients of other machines, but those whose certificate is in order", ""},
			{"requirepass-file", &c.requirePassFile, "file with the password of clients, which others must not be able to read; SIGHUP reads it again", "no password"},
			{"tls-port", port(&c.tlsPort), "TCP port for TLS 1.3; 0 is none", ""},
			{"tls-listen", &c.tlsListen, "addresses with ports for TLS, in place of bind and tls-port", "bind and tls-port"},
			{"tls-cert-file", &c.tlsCertFile, "certificate of the server, PEM; SIGHUP reads it again", "none"},
			{"tls-key-file", &c.tlsKeyFile, "its key, PEM, which others must not be able to read", "none"},
			{"tls-ca-cert-file", &c.tlsCACertFile, "certificates of who may sign those of clients, PEM", "none"},
			{"tls-auth-clients", choice{&c.tlsAuthClients, []string{"yes", "no", "optional"}},
				"whether a client must show a certificate, if tls-ca-cert-file is set", ""},
			{"user", &c.user, "user, or uid:gid, to become once all is open; for a start as root", "stay who started it"},
			{"landlock", choice{&c.landlock, []string{"auto", "yes", "no"}},
				"let the kernel confine the process to its files: as far as it can (auto), or not to start where it cannot (yes)", ""},
			{"seccomp", choice{&c.seccomp, []string{"auto", "yes", "no"}},
				"let the kernel refuse system calls that the process never needs: if it can (auto), or not to start where it cannot (yes)", ""},
		}},
		{"Limits", []setting{
			{"proto-max-bulk-len", &c.maxBulk, "longest argument of a command", ""},
			{"client-query-buffer-limit", &c.queryBuffer, "most bytes of one command", ""},
			{"client-output-buffer-limit", &c.outputLimit, "replies that may wait for one client: normal, the bytes that end the connection, those that end it when they wait for as many seconds as stand last; 0 is no limit", ""},
			{"maxmemory-clients", &c.clientMemory, "all buffers of all clients; who has most is closed first", ""},
			{"tracking-table-max-keys", number{&c.trackedKeys, 0, math.MaxInt32}, "keys that CLIENT TRACKING remembers; 0 is no bound", ""},
			{"slowlog-log-slower-than", number{&c.slowlogSlower, -1, math.MaxInt}, "microseconds from which on a command is in SLOWLOG; -1 is none", ""},
			{"slowlog-max-len", number{&c.slowlogMaxLen, 0, 1 << 20}, "entries that SLOWLOG keeps", ""},
			{"enable-debug-command", &c.debugCommand, "let clients use DEBUG, which can stop the server for a while", ""},
		}},
		{"Operation", []setting{
			{"admin", &c.admin, "addresses of the HTTP server for /metrics, /healthz, /readyz and /debug/pprof; empty is none", "none"},
			{"loglevel", choice{&c.logLevel, []string{"debug", "info", "warn", "error"}}, "least severity that is logged", ""},
			{"log-format", choice{&c.logFormat, []string{"text", "json"}}, "form of the log, which goes to stderr", ""},
			{"shutdown-timeout", &c.shutdownWithin, "how long a shutdown waits for clients that do not take their replies", ""},
		}},
		{"", []setting{ // hidden
			{"dirty-budget", &c.dirtyBudget, "", ""},
			{"log-bytes", &c.logBytes, "", ""},
			{"trap-only", &c.trapOnly, "", ""},
		}},
	}
}

// each calls fn for every setting, the hidden ones too.
func (c *config) each(fn func(*setting)) {
	for _, g := range c.groups() {
		for i := range g.settings {
			fn(&g.settings[i])
		}
	}
}

// flags returns a set of flags for each group, the last of which is hidden.
func (c *config) flags() []*pflag.FlagSet {
	var sets []*pflag.FlagSet
	for _, g := range c.groups() {
		fs := pflag.NewFlagSet(g.title, pflag.ContinueOnError)
		fs.SortFlags = false
		for _, s := range g.settings {
			fs.Var(s.value, s.name, s.usage())
			if g.title == "" {
				fs.Lookup(s.name).Hidden = true
			}
			if s.value == &c.trapOnly {
				fs.Lookup(s.name).NoOptDefVal = "yes" // no value: in no other, lest "--flag no" mean yes
			}
		}
		sets = append(sets, fs)
	}
	return sets
}

// usage is the text of --help.
func (s *setting) usage() string {
	if s.none != "" && s.value.String() == "" {
		return s.about + " (default " + s.none + ")"
	}
	return s.about
}
