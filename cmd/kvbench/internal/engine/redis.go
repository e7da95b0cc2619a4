package engine

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// A redisEngine is a server that somebody else has started: Redis, kvd, or what
// else speaks their protocol. What durability it has is the server's to say.
type redisEngine struct {
	addr    string
	version string
	sync    string // appendfsync of the server, "" where nothing is appended
	facts   []string
}

func (*redisEngine) Name() string        { return "redis" }
func (e *redisEngine) Version() string   { return e.version }
func (*redisEngine) OffHeapBytes() int64 { return 0 }
func (*redisEngine) Survives() bool      { return true }

func (e *redisEngine) Settings() []string {
	return append([]string{
		"over the wire at " + e.addr + "; one connection, on which rueidis pipelines what its clients ask at the same time",
		"CPU is this process's and what the server says of itself; bytes to the device, size and recovery are not measured",
		"a batch is a pipeline of SET, which is not atomic; nothing is settled",
		"no order of keys, hence no scans",
	}, e.facts...)
}

// Reach asks the server what it is. It refuses one that has keys: they would be
// removed.
func (e *redisEngine) Reach(ctx context.Context) error {
	if e.addr == "" {
		return fmt.Errorf("engine redis: no address")
	}
	db, err := e.dial()
	if err != nil {
		return fmt.Errorf("engine redis: %w", err)
	}
	defer db.client.Close()
	n, err := db.Len()
	if err != nil {
		return fmt.Errorf("engine redis: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("engine redis: the server at %s has %d keys, which would be removed: want one that is empty", e.addr, n)
	}
	return e.ask(ctx, db)
}

// ask fills in what the server says of itself.
func (e *redisEngine) ask(ctx context.Context, db *redisDB) error {
	info, err := db.client.Do(ctx, db.client.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return fmt.Errorf("engine redis: %w", err)
	}
	e.version = "redis " + field(info, "redis_version")
	if v := field(info, "kvd_version"); v != "" {
		e.version = "kvd " + v
	}
	e.facts = nil
	settings := map[string]string{}
	for _, name := range []string{"appendonly", "appendfsync", "maxmemory", "save"} {
		got, err := db.client.Do(ctx, db.client.B().ConfigGet().Parameter(name).Build()).AsStrMap()
		if err != nil {
			e.facts = append(e.facts, "CONFIG GET "+name+" says: "+err.Error())
			continue
		}
		if value, ok := got[name]; ok {
			settings[name] = value
			e.facts = append(e.facts, fmt.Sprintf("the server has %s %q", name, value))
		}
	}
	e.sync = settings["appendfsync"]
	if settings["appendonly"] == "no" {
		e.sync = ""
	}
	return nil
}

// field is what a line of INFO says.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && key == name {
			return value
		}
	}
	return ""
}

func (e *redisEngine) dial() (*redisDB, error) {
	o := rueidis.ClientOption{InitAddress: []string{e.addr}, DisableCache: true, ForceSingleClient: true}
	if strings.Contains(e.addr, "/") {
		o.DialCtxFn = func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}
	}
	client, err := rueidis.NewClient(o)
	if err != nil {
		return nil, err
	}
	return &redisDB{client}, nil
}

// redisMark is the file in a directory whose store the server has.
const redisMark = "on-the-server"

func (e *redisEngine) Open(dir string, m Mode) (DB, error) {
	if m.Sync && e.sync != "always" {
		return nil, cannot(fmt.Sprintf("the server syncs %q, which a client can not change", e.sync))
	}
	db, err := e.dial()
	if err != nil {
		return nil, err
	}
	mark := filepath.Join(dir, redisMark)
	if _, err := os.Stat(mark); err == nil {
		return db, nil
	}
	if err := db.client.Do(context.Background(), db.client.B().Flushdb().Sync().Build()).Error(); err != nil {
		db.client.Close()
		return nil, fmt.Errorf("flushdb: %w", err)
	}
	return db, os.WriteFile(mark, nil, 0o600)
}

type redisDB struct{ client rueidis.Client }

func (db *redisDB) set(key, value []byte) rueidis.Completed {
	return db.client.B().Set().Key(rueidis.BinaryString(key)).Value(rueidis.BinaryString(value)).Build()
}

func (db *redisDB) Put(key, value []byte) error {
	return db.client.Do(context.Background(), db.set(key, value)).Error()
}

func (db *redisDB) Delete(key []byte) error {
	return db.client.Do(context.Background(), db.client.B().Del().Key(rueidis.BinaryString(key)).Build()).Error()
}

func (db *redisDB) NewBatch() Batch                { return &redisBatch{db: db} }
func (db *redisDB) NewReader() Reader              { return &redisReader{db: db} }
func (db *redisDB) Settle(_ context.Context) error { return nil }

func (db *redisDB) NewIterator() (Iterator, error) { return nil, cannot("has no order of keys") }

func (db *redisDB) Len() (int, error) {
	n, err := db.client.Do(context.Background(), db.client.B().Dbsize().Build()).AsInt64()
	return int(n), err
}

func (db *redisDB) Close() error {
	db.client.Close()
	return nil
}

// CPUTime is what the server has used, by its own account.
func (db *redisDB) CPUTime() (time.Duration, error) {
	info, err := db.client.Do(context.Background(), db.client.B().Info().Section("cpu").Build()).ToString()
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(field(info, name), 64)
		if err != nil {
			return 0, fmt.Errorf("INFO cpu, %s: %w", name, err)
		}
		sum += seconds
	}
	return time.Duration(sum * float64(time.Second)), nil
}

// A redisBatch keeps copies of its writes: rueidis refers to them until they are sent.
type redisBatch struct {
	db       *redisDB
	commands []rueidis.Completed
}

func (b *redisBatch) Put(key, value []byte) error {
	set := b.db.client.B().Set().Key(string(key)).Value(string(value)).Build()
	b.commands = append(b.commands, set)
	return nil
}

func (b *redisBatch) Commit() error {
	for _, reply := range b.db.client.DoMulti(context.Background(), b.commands...) {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	b.commands = b.commands[:0]
	return nil
}

type redisReader struct {
	db  *redisDB
	sum uint64
}

func (r *redisReader) Get(key []byte) (found bool, err error) {
	get := r.db.client.B().Get().Key(rueidis.BinaryString(key)).Build()
	value, err := r.db.client.Do(context.Background(), get).AsBytes()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	r.sum += Touch(value)
	return err == nil, err
}
