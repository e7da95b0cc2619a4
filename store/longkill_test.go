package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"faultline/internal/campaign"
	"faultline/pagemeta"
)

// killedEnv is set in the process that TestLongKilled kills: seed, how long values are
// at most, and directory.
const killedEnv = "FAULTLINE_LONG_KILLED"

// killedKeys is how many keys it writes.
const killedKeys = 12

// killedValue is what write n, from 1 on, gives a key: nil deletes it.
func killedValue(key int, n uint64, most int) []byte {
	r := rand.New(rand.NewPCG(uint64(key), n))
	if n == 0 || r.IntN(6) == 0 {
		return nil
	}
	return longBytes(uint64(key)<<16+n, 64<<10+r.IntN(most)>>r.IntN(5))
}

func killedOptions() *Options {
	return &Options{MemoryBudget: 64 << 20, LogBytes: 16 << 20, CheckpointEvery: 50 * time.Millisecond}
}

// TestLongKilledChild writes long values over one another until it is killed. Each
// line that it prints is a key and the number of a write to it, which has begun or, with
// a dot, is acknowledged.
func TestLongKilledChild(t *testing.T) {
	env := strings.SplitN(os.Getenv(killedEnv), " ", 3)
	if len(env) < 3 {
		return // it is for TestLongKilled
	}
	s, _ := strconv.ParseUint(env[0], 10, 64)
	most, _ := strconv.Atoi(env[1])
	dir := env[2]
	db, err := Open(dir, killedOptions())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(s, 0))
	for n := s << 20; ; n++ {
		key := r.IntN(killedKeys)
		k, value := fmt.Appendf(nil, "key%d", key), killedValue(key, n, most)
		fmt.Println("write", key, n)
		switch {
		case value == nil:
			err = db.Delete(k, Sync)
		case r.IntN(2) == 0:
			err = db.PutReader(context.Background(), k, bytes.NewReader(value), -1, Sync)
		default:
			err = db.Put(k, value, Sync)
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("write", key, n, ".")
	}
}

// TestLongKilled kills a process that writes, overwrites and deletes long values, again
// and again, at random moments. Each key must have the value of the last write that was
// acknowledged, or of one that had begun then, whole. At the end all is deleted, no page
// is in use by a value, and the data file is as small as it was at first, but for a step
// of growth.
//
// FAULTLINE_SCALE=32 writes values of up to 64 MiB.
func TestLongKilled(t *testing.T) {
	seed, kills, most := campaign.Seed(t), campaign.Scale(t, 6), min(campaign.Scale(t, 2<<20), 64<<20)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	may := make([][]uint64, killedKeys) // which writes a key may have the value of
	for key := range may {
		may[key] = []uint64{0}
	}
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if err := open(t, dir, killedOptions()).Close(); err != nil {
		t.Fatal(err)
	}
	first, largest := size(), int64(0)
	acked := 0
	for kill := range kills {
		acked += killWriter(t, fmt.Sprintf("%d %d %s", seed<<10+uint64(kill)+1, most, dir), time.Duration(100+rng.IntN(300))*time.Millisecond, may)
		db, err := Open(dir, killedOptions())
		if err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		largest = max(largest, size())
		for key := range may {
			n, err := oneOf(db, key, may[key], most)
			if err != nil {
				t.Fatalf("kill %d: %v", kill, err)
			}
			may[key] = []uint64{n}
		}
		if _, err := db.Verify(t.Context()); err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		if kill == kills-1 {
			for key := range may {
				if err := db.Delete(fmt.Appendf(nil, "key%d", key), Async); err != nil {
					t.Fatal(err)
				}
			}
			if s := db.tree.State(); s.Values != 0 || len(db.open.all()) > 0 {
				t.Errorf("all is deleted: %+v", s)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acked == 0 {
		t.Error("no write was acknowledged")
	}
	const step = 4<<20 + 16*pagemeta.PageBytes // of growth; less is not given back
	if last := size(); last > first+step {
		t.Errorf("%d bytes of data at the end, %d at first", last, first)
	}
	t.Logf("%d kills, %d writes acknowledged, %d MiB of data at most, %d at the end", kills, acked, largest>>20, size()>>20)
}

// killWriter runs the child for so long, notes in may what a kill can leave, and returns
// how many writes were acknowledged.
func killWriter(t *testing.T, env string, after time.Duration, may [][]uint64) (acked int) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLongKilledChild$", "-test.v")
	child.Env = append(os.Environ(), killedEnv+"="+env)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var key int
		var n uint64
		if c, err := fmt.Sscanf(lines.Text(), "write %d %d", &key, &n); err != nil || c != 2 {
			if strings.Contains(lines.Text(), "_test.go:") && !strings.Contains(lines.Text(), "FAULTLINE_SEED") {
				t.Errorf("the writer: %s", lines.Text())
			}
			continue
		}
		if timer == nil { // it has opened the store
			timer = time.AfterFunc(after, func() { _ = child.Process.Kill() })
			defer timer.Stop()
		}
		if strings.HasSuffix(lines.Text(), ".") {
			may[key] = []uint64{n}
			acked++
		} else {
			may[key] = append(may[key], n)
		}
	}
	_ = child.Wait() // it was killed
	return acked
}

// oneOf returns the write that key has the value of, which must be one of may.
func oneOf(db *DB, key int, may []uint64, most int) (uint64, error) {
	got, err := db.Get(fmt.Appendf(nil, "key%d", key))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	for _, n := range may {
		if want := killedValue(key, n, most); bytes.Equal(got, want) && (want == nil) == (err != nil) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("key %d: %d bytes, %v, which no write of %v has left", key, len(got), err, may)
}
