package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"faultline/kv"
)

// TestErrors sends each error that a server has, and looks for the one of package kv.
func TestErrors(t *testing.T) {
	var reply atomic.Value
	reply.Store("")
	f := serveFake(t, func(_ int, command string) string {
		if strings.HasPrefix(command, "SET ") {
			return "-" + reply.Load().(string) + "\r\n"
		}
		return usual
	})
	db := f.open()
	for _, c := range []struct {
		text string
		want error
	}{
		{"MISCONF store stopped by an earlier error: sync the log: input/output error", kv.ErrStopped},
		{"MISCONF no room on the disk: grow the file: no space left on device", kv.ErrNoSpace},
		{"MISCONF Redis is configured to save RDB snapshots", kv.ErrStopped},
		{"OOM no page left", kv.ErrFull},
		{"OOM command not allowed when used memory > 'maxmemory'.", kv.ErrFull},
		{"READONLY You can't write against a read only replica.", kv.ErrReadOnly},
		{"ERR key of 9000 bytes: too large: the limit is 1000", kv.ErrTooLarge},
		{"ERR string exceeds maximum allowed size (proto-max-bulk-len)", kv.ErrTooLarge},
		{"ERR Protocol error: invalid bulk length", kv.ErrTooLarge},
		{"ERR corrupt data: data at byte 8192", kv.ErrCorrupt},
		{"ERR unknown command 'SET', with args beginning with: ", errors.ErrUnsupported},
	} {
		reply.Store(c.text)
		err := db.Put([]byte("key"), nil, kv.Async)
		var server *rueidis.RedisError
		if !errors.Is(err, c.want) || !errors.As(err, &server) {
			t.Errorf("%s: %v, want %v", c.text, err, c.want)
		}
	}
	reply.Store("NOAUTH Authentication required.")
	err := db.Put([]byte("key"), nil, kv.Async)
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			t.Errorf("%v is %v", err, kind)
		}
	}
}

// TestSync looks at what follows a write, by what the server waits for.
func TestSync(t *testing.T) {
	var fsync, waited atomic.Value
	fsync.Store("always")
	waited.Store("*2\r\n:1\r\n:0\r\n")
	f := serveFake(t, func(_ int, command string) string {
		switch name, _, _ := strings.Cut(command, " "); name {
		case "CONFIG":
			return fmt.Sprintf("%%1\r\n+appendfsync\r\n+%s\r\n", fsync.Load())
		case "WAITAOF":
			return waited.Load().(string)
		case "EXEC":
			return "*1\r\n+OK\r\n"
		}
		return usual
	})
	key := []byte("key")
	writes := map[string]func(*DB, kv.Durability) error{
		"put": func(db *DB, d kv.Durability) error { return db.Put(key, nil, d) },
		"batch": func(db *DB, d kv.Durability) error {
			return db.Write(t.Context(), d, func(b kv.Batch) error { return b.Put(key, nil) })
		},
		"update": func(db *DB, d kv.Durability) error {
			return db.Update(t.Context(), nil, d, func(tx kv.Tx) error { return tx.Put(key, nil) })
		},
	}
	for name, write := range writes {
		for _, c := range []struct {
			fsync, waited string
			d             kv.Durability
			waits         bool
			err           error
		}{
			{"always", "", kv.Sync, false, nil},
			{"everysec", "*2\r\n:1\r\n:0\r\n", kv.Async, false, nil},
			{"everysec", "*2\r\n:1\r\n:0\r\n", kv.Sync, true, nil},
			{"no", "*2\r\n:0\r\n:0\r\n", kv.Sync, true, errors.ErrUnsupported},
			{"no", "-ERR unknown command 'WAITAOF'\r\n", kv.Sync, true, errors.ErrUnsupported},
		} {
			fsync.Store(c.fsync)
			waited.Store(c.waited)
			db := f.open()
			f.told()
			if err := write(db, c.d); !errors.Is(err, c.err) {
				t.Errorf("%s to a server with %s: %v", name, c.fsync, err)
			}
			told := f.told()
			last := told[len(told)-1]
			if waits := strings.HasSuffix(last, " WAITAOF 1 0 0"); waits != c.waits {
				t.Errorf("%s to a server with %s: %q", name, c.fsync, told)
			} else if waits && strings.Fields(last)[0] != strings.Fields(told[len(told)-2])[0] {
				t.Errorf("%s: the wait is on another connection: %q", name, told)
			}
		}
	}
}

// TestSyncAsksAgain restarts the server with another policy.
func TestSyncAsksAgain(t *testing.T) {
	var fsync atomic.Value
	fsync.Store("always")
	f := serveFake(t, func(conn int, command string) string {
		switch name, _, _ := strings.Cut(command, " "); name {
		case "CONFIG":
			return fmt.Sprintf("%%1\r\n+appendfsync\r\n+%s\r\n", fsync.Load())
		case "WAITAOF":
			return "*2\r\n:1\r\n:0\r\n"
		case "DEL":
			fsync.Store("everysec")
			return ""
		case "EXISTS":
			return ":0\r\n"
		}
		return usual
	})
	db := f.open()
	if err := db.Put([]byte("key"), nil, kv.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Delete([]byte("key"), kv.Sync); err == nil {
		t.Fatal("a lost connection is no error")
	}
	for range 32 { // on all connections, of which one is new
		if _, err := db.Has([]byte("key")); err != nil {
			t.Fatal(err)
		}
	}
	f.told()
	if err := db.Put([]byte("key"), nil, kv.Sync); err != nil {
		t.Fatal(err)
	}
	if told := f.told(); !strings.HasSuffix(told[len(told)-1], "WAITAOF 1 0 0") {
		t.Errorf("the server waits no more, and is not asked to: %q", told)
	}
}

// TestLoading meets a server that is starting.
func TestLoading(t *testing.T) {
	const loading = "-LOADING the store is recovering: 40%\r\n"
	var left atomic.Int64
	f := serveFake(t, func(_ int, command string) string {
		switch name, _, _ := strings.Cut(command, " "); name {
		case "HELLO", "CLIENT", "MULTI":
		case "EXEC":
			if left.Load() > 0 {
				return "-EXECABORT Transaction discarded because of previous errors.\r\n"
			}
			return "*1\r\n+OK\r\n"
		default:
			if left.Add(-1) >= 0 {
				return loading
			}
		}
		return usual
	})
	left.Store(3)
	db := f.open()
	key := []byte("key")
	for name, call := range map[string]func(*DB) error{
		"get": func(db *DB) error { _, err := db.Get(key); return err },
		"put": func(db *DB) error { return db.Put(key, nil, kv.Sync) },
		"batch": func(db *DB) error {
			return db.Write(db.ctx, kv.Sync, func(b kv.Batch) error { return b.Put(key, nil) })
		},
		"update": func(db *DB) error {
			return db.Update(db.ctx, nil, kv.Sync, func(tx kv.Tx) error { return tx.Put(key, nil) })
		},
	} {
		left.Store(3)
		if err := call(db); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		left.Store(1 << 40)
		ctx, cancel := context.WithTimeout(t.Context(), 1) // over at once, or after one try
		if err := call(db.WithContext(ctx)); err == nil {
			t.Errorf("%s: no error of a server that never starts", name)
		}
		cancel()
	}
}

// TestLost cuts the connection off when a command has arrived. Reads are tried again,
// writes are not: nobody knows what became of them.
func TestLost(t *testing.T) {
	var lose atomic.Int64
	f := serveFake(t, func(_ int, command string) string {
		switch name, _, _ := strings.Cut(command, " "); name {
		case "GET", "SET", "EXEC", "MGET":
			if lose.Add(-1) >= 0 {
				return ""
			}
		}
		switch {
		case strings.HasPrefix(command, "GET"):
			return "$5\r\nvalue\r\n"
		case strings.HasPrefix(command, "MGET"):
			return "*1\r\n$5\r\nvalue\r\n"
		case strings.HasPrefix(command, "EXEC"):
			return "*1\r\n+OK\r\n"
		}
		return usual
	})
	db := f.open()
	key := []byte("key")
	count := func(name string) (n int) {
		for _, command := range f.told() {
			if strings.Fields(command)[1] == name {
				n++
			}
		}
		return n
	}
	lose.Store(2)
	if value, err := db.Get(key); string(value) != "value" || err != nil {
		t.Errorf("get: %q, %v", value, err)
	}
	if n := count("GET"); n != 3 {
		t.Errorf("%d GETs, want 3", n)
	}
	lose.Store(1)
	if err := db.Put(key, nil, kv.Async); err == nil {
		t.Error("put: no error")
	}
	if n := count("SET"); n != 1 {
		t.Errorf("%d SETs, want 1", n)
	}
	lose.Store(2)
	runs := 0
	update := func(tx kv.Tx) error { runs++; return tx.Put(key, nil) }
	if err := db.Update(t.Context(), [][]byte{key}, kv.Async, update); err != nil || runs != 1 {
		t.Errorf("update whose reads are lost: %v after %d runs", err, runs)
	}
	f.told()
	lose.Store(1)
	if err := db.Update(t.Context(), nil, kv.Async, update); err == nil {
		t.Error("update whose EXEC is lost: no error")
	}
	if n := count("EXEC") + count("SET"); n > 1 {
		t.Errorf("%d EXECs, want 1", n)
	}
}

// TestUpdate looks at the commands of transactions.
func TestUpdate(t *testing.T) {
	var conflicts atomic.Int64
	f := serveFake(t, func(_ int, command string) string {
		switch name, _, _ := strings.Cut(command, " "); name {
		case "MGET":
			if command == "MGET refused" {
				return "-ERR corrupt data\r\n"
			}
			return "*1\r\n$1\r\n1\r\n"
		case "EXEC":
			if conflicts.Add(-1) >= 0 {
				return "_\r\n"
			}
			return "*0\r\n"
		}
		return usual
	})
	db := f.open()
	runs, failure := 0, errors.New("no")
	read := func(tx kv.Tx) error { runs++; _, err := tx.Get([]byte("a")); return err }
	write := func(tx kv.Tx) error { return errors.Join(read(tx), tx.Put([]byte("b"), []byte("2"))) }
	for _, c := range []struct {
		name      string
		keys      [][]byte
		fn        func(kv.Tx) error
		conflicts int64
		runs      int
		err       error
		want      string
	}{
		{"nothing", nil, func(kv.Tx) error { return nil }, 0, 0, nil, ""},
		{"read", nil, read, 0, 1, nil, "WATCH a|MGET a|MULTI|EXEC"},
		{"named", [][]byte{[]byte("a")}, write, 0, 1, nil, "WATCH a|MGET a|MULTI|SET b 2|EXEC"},
		{"conflicts", nil, write, 2, 3, nil, strings.Repeat("WATCH a|MGET a|MULTI|SET b 2|EXEC|", 3)},
		{"refused", [][]byte{[]byte("refused")}, write, 0, 0, kv.ErrCorrupt, "WATCH refused|MGET refused|UNWATCH"},
		{"failure", nil, func(tx kv.Tx) error { return errors.Join(write(tx), failure) }, 0, 1, failure, "WATCH a|MGET a|UNWATCH"},
	} {
		runs = 0
		conflicts.Store(c.conflicts)
		f.told()
		if err := db.Update(t.Context(), c.keys, kv.Async, c.fn); !errors.Is(err, c.err) || runs != c.runs {
			t.Errorf("%s: %v after %d runs", c.name, err, runs)
		}
		var told []string
		for _, command := range f.told() {
			_, command, _ = strings.Cut(command, " ")
			told = append(told, command)
		}
		if got := strings.Join(told, "|"); got != strings.TrimSuffix(c.want, "|") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// TestPasswordFile changes the password while the client runs.
func TestPasswordFile(t *testing.T) {
	var hello atomic.Value
	f := serveFake(t, func(_ int, command string) string {
		switch name, _, _ := strings.Cut(command, " "); name {
		case "HELLO":
			hello.Store(command)
		}
		return usual
	})
	name := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), f.url, WithPasswordFile("", name)); err == nil {
		t.Error("a missing file is no error")
	}
	write("first\nnot this\n")
	db := f.open(WithPasswordFile("", name))
	if got := hello.Load(); got != "HELLO 3 AUTH default first" {
		t.Error(got)
	}
	write("second\r\n")
	if _, err := db.Space("1"); err != nil { // it has connections of its own
		t.Error(err)
	}
	if got := hello.Load(); got != "HELLO 3 AUTH default second" {
		t.Error(got)
	}
}

// TestPages walks keys whose values become long suddenly: pages become small.
func TestPages(t *testing.T) {
	const short, long = 2000, 20
	f := serveFake(t, func(_ int, command string) string {
		words := strings.Fields(command)
		if words[0] != "KV.RANGE" {
			return usual
		}
		var from, limit, last int
		fmt.Sscanf(strings.TrimLeft(words[1], "([-"), "%d", &from)
		fmt.Sscanf(words[4], "%d", &limit)
		if words[1] != "-" {
			from++
		}
		reply := ""
		for last = from; last < short+long && last < from+limit && len(reply) < 16<<20; last++ {
			value := "v"
			if last >= short {
				value = strings.Repeat("v", 1<<20)
			}
			reply += fmt.Sprintf("$5\r\n%05d\r\n$%d\r\n%s\r\n", last, len(value), value)
		}
		return fmt.Sprintf("*%d\r\n%s", 2*(last-from), reply)
	})
	db := f.open()
	n := 0
	for item, err := range db.All() {
		if err != nil || string(item.Key) != fmt.Sprintf("%05d", n) {
			t.Fatalf("item %d: %s, %v", n, item.Key, err)
		}
		n++
	}
	if n != short+long {
		t.Errorf("%d items, want %d", n, short+long)
	}
	told := f.told()
	if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, " LIMIT 1000 ") }) {
		t.Errorf("no long page: %q", told)
	}
	if last := told[len(told)-1]; !strings.Contains(last, " LIMIT 1 ") {
		t.Errorf("the last page is %q", last)
	}
}

// TestOpenEnds ends Open with its context, before the server has accepted and after.
func TestOpenEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	f := serveFake(t, func(_ int, command string) string {
		if strings.HasPrefix(command, "PING") {
			if asked.Add(1) == 3 {
				cancel()
			}
			return "-LOADING the store is recovering\r\n"
		}
		return usual
	})
	if _, err := Open(ctx, f.url); !errors.Is(err, context.Canceled) {
		t.Errorf("open of a server that is starting: %v", err)
	}
	if _, err := Open(ctx, f.url); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
}

// TestUpdateEnds ends transactions in ways that leave no time for UNWATCH: the next one
// has another connection.
func TestUpdateEnds(t *testing.T) {
	f := serveFake(t, func(_ int, command string) string {
		switch name, _, _ := strings.Cut(command, " "); name {
		case "MGET":
			return "*1\r\n$1\r\n1\r\n"
		case "EXEC":
			return "*0\r\n"
		}
		return usual
	})
	db := f.open()
	read := func(tx kv.Tx) error { _, err := tx.Get([]byte("a")); return err }
	for name, fn := range map[string]func(context.Context) error{
		"deadline": func(ctx context.Context) error { <-ctx.Done(); return nil },
		"error":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		f.told()
		err := db.Update(ctx, nil, kv.Async, func(tx kv.Tx) error { return errors.Join(read(tx), fn(ctx)) })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		before := strings.Fields(f.told()[0])[0]
		if err := db.Update(t.Context(), nil, kv.Async, read); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
		if after := strings.Fields(f.told()[0])[0]; after == before {
			t.Errorf("after %s: connection %s is used again, with keys watched", name, after)
		}
	}
}

// TestUpdatePanics lets the function panic, and looks at what its connection is told.
func TestUpdatePanics(t *testing.T) {
	f := serveFake(t, func(_ int, command string) string {
		if strings.HasPrefix(command, "MGET") {
			return "*1\r\n$1\r\n1\r\n"
		}
		return usual
	})
	db := f.open()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		db.Update(t.Context(), [][]byte{[]byte("a")}, kv.Async, func(kv.Tx) error { panic("no") })
	}()
	if told := f.told(); !strings.HasSuffix(told[len(told)-1], " UNWATCH") {
		t.Errorf("%q", told)
	}
}
