package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"faultline/server"
	"faultline/store"
)

// A metric is one number of the store.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*store.Metrics) float64
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// storeMetrics are all numbers of store.Metrics, but for those of keyspaces.
var storeMetrics = []metric{
	{"kvd_compact_pages_moved_total", "Pages that compaction has moved.", counter,
		func(m *store.Metrics) float64 { return float64(m.Moved) }},

	{"kvd_pages_mkwrite_traps_total", "Pages made writable since a store trapped.", counter,
		func(m *store.Metrics) float64 { return float64(m.Pages.MkwriteTraps) }},
	{"kvd_pages_mkwrite_prepared_total", "Pages made writable without a trap.", counter,
		func(m *store.Metrics) float64 { return float64(m.Pages.MkwritePrepared) }},
	{"kvd_pages_captured_total", "Pages whose image a writer has captured for a flush round.", counter,
		func(m *store.Metrics) float64 { return float64(m.Pages.Captured) }},
	{"kvd_pages_loads_total", "Pages brought into memory, fresh ones included.", counter,
		func(m *store.Metrics) float64 { return float64(m.Pages.Loads) }},
	{"kvd_pages_load_traps_total", "Pages brought into memory since a touch trapped.", counter,
		func(m *store.Metrics) float64 { return float64(m.Pages.LoadTraps) }},
	{"kvd_pages_evicted_total", "Pages taken out of memory.", counter,
		func(m *store.Metrics) float64 { return float64(m.Pages.Evicted) }},
	{"kvd_pages_reclaims_total", "Times that who loaded a page had to evict others himself.", counter,
		func(m *store.Metrics) float64 { return float64(m.Pages.Reclaims) }},
	{"kvd_pages_dirty", "Pages that are changed and not yet in the data file.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Pages.DirtyPages) }},
	{"kvd_pages_resident", "Pages in memory.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Pages.ResidentPages) }},
	{"kvd_pages_resident_values", "Of these, pages of long values.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Pages.GuestPages) }},

	{"kvd_changes_kept_total", "Writes kept beside leaves that were not in memory.", counter,
		func(m *store.Metrics) float64 { return float64(m.Changes.Kept) }},
	{"kvd_changes_taken_in_total", "Times that a leaf has taken in all writes beside it.", counter,
		func(m *store.Metrics) float64 { return float64(m.Changes.TakenIn) }},
	{"kvd_changes_errors_total", "Merges of writes into their leaves that failed, to be tried again.", counter,
		func(m *store.Metrics) float64 { return float64(m.MergeErrors) }},
	{"kvd_expiry_errors_total", "Attempts to delete expired keys that failed, to be tried again.", counter,
		func(m *store.Metrics) float64 { return float64(m.ReapErrors) }},

	{"kvd_flush_rounds_total", "Flush rounds in the data file.", counter,
		func(m *store.Metrics) float64 { return float64(m.Flush.Rounds) }},
	{"kvd_flush_pages_total", "Pages that flush rounds have written.", counter,
		func(m *store.Metrics) float64 { return float64(m.Flush.PagesWritten) }},
	{"kvd_flush_value_pages_total", "Pages of long values, which no round writes.", counter,
		func(m *store.Metrics) float64 { return float64(m.Flush.ValuePages) }},
	{"kvd_flush_writes_total", "Calls that wrote pages in place.", counter,
		func(m *store.Metrics) float64 { return float64(m.Flush.Writes) }},
	{"kvd_flush_recovered_pages", "Pages that the last start has written again from the journal.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Flush.Recovered) }},
	{"kvd_flush_last_round_seconds", "Length of the last flush round.", gauge,
		func(m *store.Metrics) float64 { return m.Flush.LastRound.Seconds() }},
	{"kvd_flush_last_pause_seconds", "Pause of writers in the last flush round.", gauge,
		func(m *store.Metrics) float64 { return m.Flush.LastPause.Seconds() }},
	{"kvd_flush_max_pause_seconds", "Longest pause of writers in a flush round.", gauge,
		func(m *store.Metrics) float64 { return m.Flush.MaxPause.Seconds() }},
	{"kvd_flush_paced_seconds_total", "Time that writers were slowed down, summed up.", counter,
		func(m *store.Metrics) float64 { return m.Flush.Paced.Seconds() }},
	{"kvd_flush_credits_free", "Pages that may still become dirty. Negative: overdrawn.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Flush.CreditsFree) }},
	{"kvd_flush_credits", "Pages that may be dirty at once.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Flush.CreditsTotal) }},
	{"kvd_flush_room_pages", "Pages that the data file has room for.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Flush.Room) }},

	{"kvd_log_appends_total", "Records appended to the log.", counter,
		func(m *store.Metrics) float64 { return float64(m.Log.Appends) }},
	{"kvd_log_bytes_total", "Bytes appended to the log.", counter,
		func(m *store.Metrics) float64 { return float64(m.Log.Bytes) }},
	{"kvd_log_writes_total", "Writes to files of the log.", counter,
		func(m *store.Metrics) float64 { return float64(m.Log.Writes) }},
	{"kvd_log_syncs_total", "Syncs of files of the log.", counter,
		func(m *store.Metrics) float64 { return float64(m.Log.Syncs) }},
	{"kvd_log_sync_seconds_total", "Time spent in syncs of the log.", counter,
		func(m *store.Metrics) float64 { return m.Log.SyncTime.Seconds() }},
	{"kvd_log_groups_total", "Groups of records that were made durable together.", counter,
		func(m *store.Metrics) float64 { return float64(m.Log.Groups) }},
	{"kvd_log_largest_group", "Most records made durable together.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Log.LargestGroup) }},
	{"kvd_log_segments", "Files that hold the log.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Log.Segments) }},
	{"kvd_log_recycled_total", "Files of the log that were used again.", counter,
		func(m *store.Metrics) float64 { return float64(m.Log.Recycled) }},

	{"kvd_memory_pages_bytes", "Memory of pages.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Memory.PagesBytes) }},
	{"kvd_memory_tables_bytes", "Memory of what is kept of every page of the file.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Memory.TablesBytes) }},
	{"kvd_memory_lent_bytes", "Memory of a flush round and of a scrub.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Memory.LentBytes) }},
	{"kvd_memory_log_bytes", "Memory of the buffers of the log.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Memory.LogBytes) }},
	{"kvd_memory_go_bytes", "Memory that the Go runtime has.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Memory.GoBytes) }},
	{"kvd_memory_bytes", "All memory of the store.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Memory.TotalBytes) }},
	{"kvd_memory_budget_bytes", "The bound of all memory of the store.", gauge,
		func(m *store.Metrics) float64 { return float64(m.Memory.BudgetBytes) }},
}

// A collector asks the server each time that somebody reads /metrics.
type collector struct {
	srv   *server.Server
	store []*prometheus.Desc // of storeMetrics

	up, stopped, loaded, loading                *prometheus.Desc
	keys, expiring                              *prometheus.Desc
	clients, maxClients, accepted, refused      *prometheus.Desc
	commands, calls, failed, rejected, duration *prometheus.Desc
}

func newCollector(srv *server.Server) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	c := &collector{
		srv:     srv,
		up:      desc("kvd_ready", "1 if clients can read and write: the store has recovered, and has not stopped."),
		stopped: desc("kvd_stopped", "1 if the store has stopped itself after an error of the disk."),
		loaded:  desc("kvd_loading_done_bytes", "Bytes of the log that the recovery has read."),
		loading: desc("kvd_loading_bytes", "Bytes of the log that the recovery has to read."),

		keys:     desc("kvd_keys", "Keys, without those that are new beside leaves that are not in memory.", "keyspace"),
		expiring: desc("kvd_keys_expiring", "Keys that expire.", "keyspace"),

		clients:    desc("kvd_connected_clients", "Clients."),
		maxClients: desc("kvd_max_clients", "The most clients at once."),
		accepted:   desc("kvd_connections_total", "Connections, the refused ones too."),
		refused:    desc("kvd_connections_refused_total", "Connections that were too many."),

		commands: desc("kvd_commands_total", "Commands that were answered."),
		calls:    desc("kvd_command_calls_total", "Calls of a command.", "command"),
		failed:   desc("kvd_command_failed_total", "Calls of a command that were answered with an error.", "command"),
		rejected: desc("kvd_command_rejected_total", "Commands that were not run.", "command"),
		duration: desc("kvd_command_seconds_total", "Time spent in a command, without the wait for the disk.", "command"),
	}
	for _, m := range storeMetrics {
		c.store = append(c.store, desc(m.name, m.help))
	}
	return c
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect is part of prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	err, s := c.srv.Err(), c.srv.Stats()
	send(c.up, gauge, truth(err == nil))
	send(c.stopped, gauge, truth(err != nil && err != server.ErrLoading))
	send(c.loaded, gauge, float64(s.LoadedBytes))
	send(c.loading, gauge, float64(s.LoadingBytes))
	send(c.clients, gauge, float64(s.Clients))
	send(c.maxClients, gauge, float64(s.MaxClients))
	send(c.accepted, counter, float64(s.Accepted))
	send(c.refused, counter, float64(s.Refused))
	send(c.commands, counter, float64(s.Commands))
	for _, cmd := range s.ByCommand {
		send(c.calls, counter, float64(cmd.Calls), cmd.Name)
		send(c.failed, counter, float64(cmd.Failed), cmd.Name)
		send(c.rejected, counter, float64(cmd.Rejected), cmd.Name)
		send(c.duration, counter, cmd.Time.Seconds(), cmd.Name)
	}
	m, ok := c.srv.StoreMetrics()
	if !ok {
		return
	}
	for _, ks := range m.Spaces {
		send(c.keys, gauge, float64(ks.Keys), ks.Name)
		send(c.expiring, gauge, float64(ks.Expiring), ks.Name)
	}
	for i := range storeMetrics {
		send(c.store[i], storeMetrics[i].kind, storeMetrics[i].value(&m))
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
