package server

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
	"unicode"

	"faultline/store"
)

// redisVersion is the version of Redis whose texts and shapes the replies have.
const redisVersion = "7.0.15"

// A section of INFO is a title and a function that writes its lines.
type section struct {
	name  string
	write func(s *Server, add func(name string, value any))
}

var sections = []section{
	{"Server", (*Server).infoServer},
	{"Clients", (*Server).infoClients},
	{"Memory", (*Server).infoMemory},
	{"Persistence", (*Server).infoPersistence},
	{"Stats", (*Server).infoStats},
	{"Replication", (*Server).infoReplication},
	{"Keyspace", (*Server).infoKeyspace},
	{"Store", (*Server).infoStore},
}

func cmdInfo(c *conn, args [][]byte) {
	var b strings.Builder
	for _, sec := range sections {
		if !wants(args[1:], strings.ToLower(sec.name)) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		fmt.Fprintf(&b, "# %s\r\n", sec.name)
		sec.write(c.srv, func(name string, value any) { fmt.Fprintf(&b, "%s:%v\r\n", name, value) })
	}
	c.out.Verbatim(b.String())
}

// wants reports whether the arguments of INFO ask for a section.
func wants(args [][]byte, section string) bool {
	for _, a := range args {
		for _, word := range []string{section, "default", "all", "everything"} {
			if isWord(a, word) {
				return true
			}
		}
	}
	return len(args) == 0
}

func (s *Server) infoServer(add func(string, any)) {
	up := int64(time.Since(s.started).Seconds())
	add("redis_version", redisVersion)
	add("server_name", "kvd")
	add("kvd_version", s.opts.Version)
	add("redis_mode", "standalone")
	add("os", runtime.GOOS+" "+runtime.GOARCH)
	add("arch_bits", strconv.IntSize)
	add("go_version", runtime.Version())
	add("process_id", os.Getpid())
	add("uptime_in_seconds", up)
	add("uptime_in_days", up/(24*3600))
}

func (s *Server) infoClients(add func(string, any)) {
	add("connected_clients", s.openCount())
	add("maxclients", s.opts.MaxClients)
	add("blocked_clients", 0)
}

// infoMemory counts what the Go runtime holds; the store's pages lie outside,
// section Store has them.
func (s *Server) infoMemory(add func(string, any)) {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	add("used_memory", sample[0].Value.Uint64())
	add("maxmemory", s.opts.MemoryBytes)
	add("maxmemory_policy", "noeviction")
}

func (s *Server) infoPersistence(add func(string, any)) {
	ready := s.Ready()
	add("loading", zeroOne(!ready))
	add("async_loading", 0)
	add("rdb_bgsave_in_progress", 0)
	add("aof_enabled", 1)
	status := "ok"
	if s.stopped.Load() {
		status = "err"
	}
	add("aof_last_write_status", status)
	add("durability", durabilityName(s.opts.Durability))
	if !ready {
		s.infoLoading(add)
	}
}

// zeroOne is how INFO shows a condition.
func zeroOne(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (s *Server) infoStats(add func(string, any)) {
	add("total_connections_received", s.stats.accepted.Load())
	add("total_commands_processed", s.stats.commands.Load())
	add("rejected_connections", s.stats.refused.Load())
}

func (s *Server) infoReplication(add func(string, any)) {
	add("role", "master")
	add("connected_slaves", 0)
}

// infoKeyspace has the number of keys without those that are new beside leaves. DBSIZE
// has all, but merges for that, and INFO is what monitors ask for all the time.
func (s *Server) infoKeyspace(add func(string, any)) {
	if !s.Ready() {
		return
	}
	if n := s.db.Metrics().Keys; n > 0 {
		add("db0", fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", n))
	}
}

// infoStore shows every number of store.Metrics under its own name.
func (s *Server) infoStore(add func(string, any)) {
	if !s.Ready() {
		return
	}
	addFields("store", reflect.ValueOf(s.db.Metrics()), add)
}

func addFields(prefix string, v reflect.Value, add func(string, any)) {
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		name, field := prefix+"_"+snake(v.Type().Field(i).Name), v.Field(i)
		switch d, isDuration := field.Interface().(time.Duration); {
		case isDuration:
			add(name+"_usec", d.Microseconds())
		case field.Kind() == reflect.Struct:
			addFields(name, field, add)
		case field.CanInt() || field.CanUint() || field.CanFloat() || field.Kind() == reflect.Bool:
			add(name, field.Interface())
		}
	}
}

// snake turns LogBytes and LSN into log_bytes and lsn.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		starts := i > 0 && unicode.IsUpper(r) &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if starts {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func durabilityName(d store.Durability) string {
	if d == store.Async {
		return "async"
	}
	return "sync"
}
