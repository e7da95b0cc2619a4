package server

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// redisVersion is the version of Redis that the server says it is: tools look at it to
// learn which commands they may send. WAITAOF came with 7.2.
const redisVersion = "7.2.4"

// A section of INFO is a title and a function that writes its lines.
type section struct {
	name   string
	write  func(s *Server, add func(name string, value any))
	hidden bool // unless asked for by name, or with ALL or EVERYTHING
}

var sections = []section{
	{"Server", (*Server).infoServer, false},
	{"Clients", (*Server).infoClients, false},
	{"Memory", (*Server).infoMemory, false},
	{"Persistence", (*Server).infoPersistence, false},
	{"Stats", (*Server).infoStats, false},
	{"Replication", (*Server).infoReplication, false},
	{"CPU", (*Server).infoCPU, false},
	{"Modules", func(*Server, func(string, any)) {}, false},
	{"Commandstats", (*Server).infoCommandstats, true},
	{"Errorstats", (*Server).infoErrorstats, false},
	{"Cluster", (*Server).infoCluster, false},
	{"Keyspace", (*Server).infoKeyspace, false},
	{"Store", (*Server).infoStore, false},
}

func cmdInfo(c *conn, args [][]byte) {
	var b strings.Builder
	for i := range sections {
		sec := &sections[i]
		if !sec.wanted(args[1:]) {
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

// wanted reports whether the arguments of INFO ask for the section.
func (sec *section) wanted(args [][]byte) bool {
	for _, a := range args {
		switch {
		case isWord(a, strings.ToLower(sec.name)), isWord(a, "all"), isWord(a, "everything"):
			return true
		case isWord(a, "default") && !sec.hidden:
			return true
		}
	}
	return len(args) == 0 && !sec.hidden
}

func (s *Server) infoServer(add func(string, any)) {
	now := time.Now()
	up := int64(now.Sub(s.started).Seconds())
	add("redis_version", redisVersion)
	add("server_name", "kvd")
	add("kvd_version", s.opts.Version)
	add("redis_mode", "standalone")
	add("os", runtime.GOOS+" "+runtime.GOARCH)
	add("arch_bits", strconv.IntSize)
	add("go_version", runtime.Version())
	add("process_id", os.Getpid())
	add("run_id", s.runID)
	add("tcp_port", s.port())
	add("server_time_usec", now.UnixMicro())
	add("uptime_in_seconds", up)
	add("uptime_in_days", up/(24*3600))
}

func (s *Server) infoClients(add func(string, any)) {
	add("connected_clients", s.openCount())
	add("cluster_connections", 0)
	add("maxclients", s.conf.maxClients.Load())
	add("blocked_clients", 0)
	add("tracking_clients", s.tracking.clients.Load())
	add("watching_keys", s.watches.n.Load())
}

// infoMemory has what the process uses: the store's pages, which lie outside the Go heap,
// and that.
func (s *Server) infoMemory(add func(string, any)) {
	used, budget := int64(0), s.opts.MemoryBytes
	if s.Ready() {
		m := s.db.Metrics().Memory
		used, budget = m.TotalBytes, m.BudgetBytes
	}
	add("used_memory", used)
	add("used_memory_human", human(used))
	resident, peak, machine := residentBytes(), s.stats.used(used), machineBytes()
	add("used_memory_rss", resident)
	add("used_memory_rss_human", human(resident))
	add("used_memory_peak", peak)
	add("used_memory_peak_human", human(peak))
	add("total_system_memory", machine)
	add("total_system_memory_human", human(machine))
	add("mem_clients_normal", s.memory.held.Load())
	add("maxmemory", budget)
	add("maxmemory_human", human(budget))
	add("maxmemory_policy", "noeviction")
	add("mem_fragmentation_ratio", "1.00")
	add("mem_allocator", "go")
	add("go_memory_limit", debug.SetMemoryLimit(-1))
}

// human prints bytes as Redis does.
func human(bytes int64) string {
	for i, unit := range []string{"G", "M", "K"} {
		if scale := int64(1) << (30 - 10*i); bytes >= scale {
			return fmt.Sprintf("%.2f%s", float64(bytes)/float64(scale), unit)
		}
	}
	return fmt.Sprintf("%dB", bytes)
}

// infoPersistence has the log as the append-only file, and checkpoints as saves.
func (s *Server) infoPersistence(add func(string, any)) {
	ready := s.Ready()
	status := func(failed bool) string {
		if failed {
			return "err"
		}
		return "ok"
	}
	add("loading", zeroOne(!ready))
	add("async_loading", 0)
	add("rdb_changes_since_last_save", 0)
	add("rdb_bgsave_in_progress", zeroOne(s.saves.running.Load()))
	add("rdb_last_save_time", s.saves.last.Load())
	add("rdb_last_bgsave_status", status(s.saves.failed.Load()))
	add("rdb_last_bgsave_time_sec", s.saves.took.Load()/int64(time.Second))
	add("rdb_current_bgsave_time_sec", -1)
	add("aof_enabled", 1)
	add("aof_rewrite_in_progress", 0)
	add("aof_rewrite_scheduled", 0)
	add("aof_last_rewrite_time_sec", -1)
	add("aof_current_rewrite_time_sec", -1)
	add("aof_last_bgrewrite_status", "ok")
	add("aof_last_write_status", status(s.stopped.Load()))
	if ready {
		m := s.db.Metrics()
		add("aof_current_size", m.Log.Bytes)
		add("aof_pending_bio_fsync", 0)
		add("aof_delayed_fsync", 0)
	}
	add("appendfsync", s.fsync())
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
	add("instantaneous_ops_per_sec", s.stats.commandRate.perSecond.Load())
	add("total_net_input_bytes", s.stats.readBytes.Load())
	add("total_net_output_bytes", s.stats.sentBytes.Load())
	add("instantaneous_input_kbps", kbps(&s.stats.readRate))
	add("instantaneous_output_kbps", kbps(&s.stats.sendRate))
	add("rejected_connections", s.stats.refused.Load())
	add("expired_keys", s.stats.expired.Load())
	add("evicted_keys", 0)
	add("evicted_clients", s.memory.evicted.Load())
	add("tracking_total_keys", s.tracking.keys.Load())
	add("tracking_total_items", s.tracking.items.Load())
	add("tracking_total_prefixes", s.tracking.prefixCount())
	add("acl_access_denied_auth", s.stats.wrongPasswords.Load())
	add("protected_mode_denied", s.stats.denied.Load())
	add("keyspace_hits", s.stats.hits.Load())
	add("keyspace_misses", s.stats.misses.Load())
	add("pubsub_channels", 0)
	add("pubsub_patterns", 0)
	add("latest_fork_usec", 0)
	add("total_error_replies", s.errors.total())
}

func kbps(r *rate) string { return fmt.Sprintf("%.2f", float64(r.perSecond.Load())/1024) }

func (s *Server) infoReplication(add func(string, any)) {
	add("role", "master")
	add("connected_slaves", 0)
	add("master_failover_state", "no-failover")
	add("master_replid", s.runID)
	add("master_repl_offset", 0)
}

func (s *Server) infoCPU(add func(string, any)) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return
	}
	seconds := func(t syscall.Timeval) string {
		return fmt.Sprintf("%.6f", time.Duration(t.Nano()).Seconds())
	}
	add("used_cpu_sys", seconds(u.Stime))
	add("used_cpu_user", seconds(u.Utime))
}

func (s *Server) infoCluster(add func(string, any)) { add("cluster_enabled", 0) }

// infoCommandstats has the commands that were called, by name.
func (s *Server) infoCommandstats(add func(string, any)) {
	var all []*command
	for _, cmd := range s.commands.all {
		all = append(all, cmd)
	}
	slices.SortFunc(all, func(a, b *command) int { return cmp.Compare(a.full, b.full) })
	for _, cmd := range all {
		calls, rejected := cmd.stats.calls.Load(), cmd.stats.rejected.Load()
		if calls+rejected == 0 {
			continue
		}
		usec := float64(cmd.stats.nanos.Load()) / 1000
		add("cmdstat_"+cmd.full, fmt.Sprintf("calls=%d,usec=%.0f,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
			calls, usec, usec/float64(max(calls, 1)), rejected, cmd.stats.failed.Load()))
	}
}

func (s *Server) infoErrorstats(add func(string, any)) {
	s.errors.each(func(code string, n int64) {
		add("errorstat_"+code, fmt.Sprintf("count=%d", n))
	})
}

// infoKeyspace has the number of keys without those that are new beside leaves. DBSIZE
// has all, but merges for that, and INFO is what monitors ask for all the time.
func (s *Server) infoKeyspace(add func(string, any)) {
	if !s.Ready() {
		return
	}
	for _, ks := range s.db.Metrics().Spaces {
		if db, ok := s.databaseNamed(ks.Name); ok && ks.Keys > 0 {
			add("db"+strconv.Itoa(db), fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", ks.Keys, ks.Expiring))
		}
	}
}
