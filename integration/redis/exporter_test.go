package redis

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"faultline/integration/internal/rig"
)

// exporterMetrics are looked for in what the exporter says of a server with 1,004
// keys in database 0, of which one ends, and one in database 3.
var exporterMetrics = []string{
	`redis_up 1`,
	`redis_db_keys\{db="db0"\} 1004`,
	`redis_db_keys_expiring\{db="db0"\} 1`,
	`redis_db_keys\{db="db3"\} 1`,
	`redis_connected_clients [1-9]`,
	`redis_commands_processed_total [1-9]`,
	`redis_commands_total\{cmd="mset"\} 1`,
	`redis_commands_duration_seconds_total\{cmd="mset"\} `,
	`redis_keyspace_hits_total [0-9]`,
	`redis_memory_used_bytes [1-9]`,
	`redis_memory_max_bytes [0-9]`,
	`redis_uptime_in_seconds [0-9]`,
	`redis_slowlog_length [0-9]`,
	`redis_config_maxclients [1-9]`,
	`redis_instance_info\{.*redis_mode="standalone".*role="master".*\} 1`,
	`redis_loading_dump_file 0`,
	`redis_exporter_last_scrape_error\{err=""\} 0`,
	`redis_key_size\{db="db0",key="big"\} 5000`,
	`redis_key_value\{db="db0",key="a"\} 1`,
}

// TestExporter reads the metrics that Debian's prometheus-redis-exporter makes of
// a server.
func TestExporter(t *testing.T) {
	exporter := rig.Needs(t, "prometheus-redis-exporter")
	eachServer(t, func(t *testing.T, s *server) {
		fill(t, s)
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, args := range [][]string{{"EXPIRE", "b", "1000"}, {"SELECT", "3"}, {"SET", "k", "v"}} {
			if v, err := c.do(args...); err != nil || v.isError() {
				t.Fatal(args, v, err)
			}
		}
		metrics := scrape(t, exporter, s.addr)
		for _, want := range exporterMetrics {
			if !regexp.MustCompile(`(?m)^` + want).MatchString(metrics) {
				t.Errorf("no %s", want)
			}
		}
		if t.Failed() {
			t.Log(metrics)
		}
	})
}

// scrape starts the exporter, with the keys "a" and "big" to look at, and returns
// what it answers.
func scrape(t *testing.T, exporter, redis string) string {
	t.Helper()
	addr := freeAddr(t)
	ctx, cancel := context.WithTimeout(t.Context(), watchdog)
	defer cancel()
	cmd := exec.CommandContext(ctx, exporter, "-redis.addr", "redis://"+redis, "-web.listen-address", addr,
		"-check-single-keys", "db0=a,db0=big", "-include-config-metrics", "-include-system-metrics")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for {
		resp, err := http.Get("http://" + addr + "/metrics")
		if err != nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond) // it does not tell when it listens
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		metrics, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(metrics)
	}
}
