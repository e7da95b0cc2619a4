package server

import (
	"strconv"
	"strings"
	"testing"
)

// infoLine returns the value of a line of INFO.
func infoLine(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "(none)"
}

// TestInfoBytes counts what it sends, and receives.
func TestInfoBytes(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	const pings = 10
	c.SendRaw(strings.Repeat("PING\r\n", pings))
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for range pings {
		if _, err := c.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	info := do(t, c, "INFO").Str
	for name, want := range map[string]int{
		"total_net_input_bytes":  pings * len("PING\r\n"),
		"total_net_output_bytes": pings * len("+PONG\r\n"),
	} {
		if got := infoLine(info, name); got != strconv.Itoa(want) {
			t.Errorf("%s:%s, want %d", name, got, want)
		}
	}
	if used, peak := infoLine(info, "used_memory"), infoLine(info, "used_memory_peak"); len(peak) < len(used) {
		t.Errorf("used_memory:%s, used_memory_peak:%s", used, peak)
	}
}

// TestInfoCounts runs a few commands and looks for each in the counts; CONFIG RESETSTAT
// must set them to zero.
func TestInfoCounts(t *testing.T) {
	_, addr := start(t, openStore(t), Options{})
	c := dial(t, addr)
	do(t, c, "SET", "a", "x")
	do(t, c, "GET", "a")
	do(t, c, "MGET", "a", "b")
	do(t, c, "SETEX", "c", "100", "x")
	c.Do("INCR", "a") // not an integer
	c.Do("GET")       // wrong number of arguments
	c.Do("FOO")       // unknown
	do(t, c, "SELECT", "3")
	do(t, c, "SET", "a", "x")
	info := do(t, c, "INFO", "EVERYTHING").Str
	for name, want := range map[string]string{
		"keyspace_hits":            "2",
		"keyspace_misses":          "1",
		"total_commands_processed": "9",
		"total_error_replies":      "3",
		"errorstat_ERR":            "count=3",
		"db0":                      "keys=2,expires=1,avg_ttl=0",
		"db3":                      "keys=1,expires=0,avg_ttl=0",
	} {
		if got := infoLine(info, name); got != want {
			t.Errorf("%s:%s, want %s", name, got, want)
		}
	}
	for name, want := range map[string][]string{
		"cmdstat_set":  {"calls=2,", "rejected_calls=0,failed_calls=0"},
		"cmdstat_get":  {"calls=1,", "rejected_calls=1,failed_calls=0"},
		"cmdstat_incr": {"calls=1,", "rejected_calls=0,failed_calls=1"},
	} {
		got := infoLine(info, name)
		if !strings.HasPrefix(got, want[0]) || !strings.HasSuffix(got, want[1]) {
			t.Errorf("%s:%s, want %s...%s", name, got, want[0], want[1])
		}
	}
	do(t, c, "CONFIG", "RESETSTAT")
	info = do(t, c, "INFO", "ALL").Str
	if strings.Contains(info, "cmdstat_set") || infoLine(info, "keyspace_hits") != "0" || infoLine(info, "total_error_replies") != "0" {
		t.Errorf("after RESETSTAT:\n%s", info)
	}
}

// TestSaves checks that SAVE and BGSAVE checkpoint, and that INFO and LASTSAVE know.
func TestSaves(t *testing.T) {
	db := openStore(t)
	srv, addr := start(t, db, Options{})
	c := dial(t, addr)
	srv.saves.last.Store(0)
	do(t, c, "SET", "a", "1")
	before := db.Metrics().Flush.Rounds
	do(t, c, "SAVE")
	if db.Metrics().Flush.Rounds == before {
		t.Error("SAVE made no round")
	}
	if n := do(t, c, "LASTSAVE").Int; n == 0 {
		t.Error("LASTSAVE does not know")
	}
	srv.saves.last.Store(0)
	do(t, c, "BGSAVE")
	for srv.saves.running.Load() {
		do(t, c, "PING")
	}
	if info := do(t, c, "INFO").Str; infoLine(info, "rdb_last_save_time") == "0" || infoLine(info, "rdb_last_bgsave_status") != "ok" {
		t.Errorf("INFO after BGSAVE:\n%s", info)
	}
	srv.saves.running.Store(true)
	for _, command := range []string{"SAVE", "BGSAVE", "BGREWRITEAOF"} {
		if _, err := c.Do(command); err == nil || !strings.Contains(err.Error(), "already in progress") {
			t.Errorf("%s during a save: %v", command, err)
		}
	}
	srv.saves.running.Store(false)
}
