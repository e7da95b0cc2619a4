package integration

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"faultline/internal/campaign"
	"faultline/server/resp/resptest"
	"faultline/store"
)

const (
	fillKeys = 60_000 // some 25 MB with their values
	fillGaps = 300    // keys of a history, each behind so many
	sweepers = 4
	sweep    = 150 // keys that are read at a time
)

// fillKey is a key between those of a history. Its value stays the same for ever.
func fillKey(n int) string { return fmt.Sprintf("%02d/%05d", n%fillGaps, n) }

func fillValue(n int) string {
	return strings.Repeat(strconv.Itoa(n)+" ", 20+n%97)
}

// fillNumber is the inverse of fillKey.
func fillNumber(key string) (int, bool) {
	_, number, ok := strings.Cut(key, "/")
	n, err := strconv.Atoi(number)
	return n, ok && err == nil
}

// newFilled makes a store with all fillKeys and returns its directory.
func newFilled(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "filled")
	db, err := store.Open(dir, &store.Options{MemoryBudget: 128 << 20, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string, fillKeys)
	for n := range fillKeys {
		all[fillKey(n)] = fillValue(n)
	}
	putAll(t, db, all)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// verifyFill compares a server's contents with what newFilled has made of it. The
// keys of a history are compared by porcupine.
func verifyFill(t *testing.T, k *kvd) {
	t.Helper()
	there := 0
	for key, value := range k.contents() {
		if n, ok := fillNumber(key); ok && n < fillKeys && key == fillKey(n) && value == fillValue(n) {
			there++
		} else if _, err := parseValue(resptest.Reply{Str: value}); ok || err != nil {
			t.Errorf("%.20q has a value that was never written: %.40q", key, value)
		}
	}
	if there != fillKeys {
		t.Errorf("%d keys of those around a history, want %d", there, fillKeys)
	}
}

// crowd has a server that has just started read more than there is memory for.
func crowd(t *testing.T, k *kvd) {
	t.Helper()
	keys := []string{"MGET"}
	for n := 0; n < fillKeys; n += 37 { // hardly two in a leaf
		keys = append(keys, fillKey(n))
	}
	c := k.dial()
	defer c.Close()
	if _, err := c.Do(keys...); err != nil {
		t.Fatal(err)
	}
}

// A sweeper reads and writes what lies around the keys of a history, so that their
// leaves are not in memory for long. It writes what is there, so that it has nothing
// to remember.
type sweeper struct {
	rng  *rand.Rand
	site *site
}

// run works until the site is closed. Its error is what no client may see.
func (s *sweeper) run() error {
	return s.site.visit(func(addr string, life int) error {
		conn, err := resptest.Dial(addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		for {
			if _, _, closed := s.site.state(life); closed {
				return nil
			}
			if err := s.work(conn); err != nil {
				return fmt.Errorf("sweeper: %w", err)
			}
		}
	})
}

// work reads some keys, and writes one of them.
func (s *sweeper) work(conn *resptest.Conn) error {
	numbers, keys := make([]int, sweep), make([]string, sweep)
	for i := range numbers {
		numbers[i] = s.rng.IntN(fillKeys)
		keys[i] = fillKey(numbers[i])
	}
	conn.Send("SET", keys[0], fillValue(numbers[0]))
	conn.Send(slices.Insert(keys, 0, "MGET")...)
	if err := conn.Flush(); err != nil {
		return err
	}
	r, err := conn.Receive()
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return err
	}
	if r, err = conn.Receive(); err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		return err
	}
	for i, n := range numbers {
		if got := r.Array[i]; got.Str != fillValue(n) {
			return fmt.Errorf("%s is %.40q", fillKey(n), got)
		}
	}
	return nil
}

// TestLinearizableSmallMemory is TestLinearizable with the keys of the history between
// several times as much data as the server may have in memory, which others read and
// write meanwhile: so the leaves of the history come and go, and their writes
// are kept beside them and merged.
func TestLinearizableSmallMemory(t *testing.T) {
	from := newFilled(t)
	async := []string{"--appendfsync", "no"}
	logBytes := []string{"--log-bytes", "256KiB"} // merges often
	for _, v := range []setting{
		{name: "sync/P=4", procs: 4},
		{name: "async-log/P=1", procs: 1, flags: slices.Concat(async, logBytes)},
		{name: "sync-log-fault/P=2", procs: 2, flags: logBytes, fault: true},
	} {
		t.Run(v.name, func(t *testing.T) {
			v.from, v.flags = from, slices.Concat(smallMemory, v.flags)
			did := v.search(t, campaign.Scale(t, 7_500))
			t.Logf("before the kills %v", did)
			played(t, did, 50)
		})
	}
}
