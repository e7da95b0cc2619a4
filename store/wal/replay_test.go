package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
)

// A script plays a transcript against one log in a memdisk.
type script struct {
	fs  *memdisk.FS
	log *Log
	old []byte // what save kept
}

// TestReplay plays the transcripts in testdata/log: what is appended, what
// happens to the files, and what Replay makes of it. "open" replays too; a
// record shows as its first bytes, its length and the LSN after it.
//
//	open [from=lsn] [salt=n] [readonly]
//	append text [len=bytes]     write     sync     close     trim lsn=n
//	crash [drop]              a power cut: unsynced bytes stay or go
//	damage seg=k at=offset      flips a bit
//	wipe seg=k from=offset to=offset
//	rm seg=k                    cutoff seg=k size=n
//	save seg=k, restore seg=k from=offset   put saved bytes back
//	ls                          names, and how many bytes until only zeros follow
func TestReplay(t *testing.T) {
	datadriven.Walk(t, "testdata/log", func(t *testing.T, path string) {
		s := &script{fs: memdisk.New()}
		datadriven.RunTest(t, path, s.run)
	})
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	arg := func(key string, or int) int {
		d.MaybeScanArgs(t, key, &or)
		return or
	}
	name := s.path(arg("seg", 0))
	file := s.fs.Bytes(name)
	if d.HasArg("seg") && file == nil {
		return "no such segment\n"
	}
	switch d.Cmd {
	case "open":
		return s.open(LSN(arg("from", 0)), uint32(arg("salt", testSalt)), d.HasArg("readonly"))
	case "append":
		text := d.CmdArgs[0].Key
		payload := []byte(text)
		if n := arg("len", len(text)); n > len(text) {
			payload = append(payload, strings.Repeat(".", n-len(text))...)
		}
		end, err := s.log.Append(payload)
		return result(err, "end %d", end)
	case "write":
		return result(s.log.Write(s.log.Appended()), "written %d", s.log.Written())
	case "sync":
		err := s.log.Sync(context.Background(), s.log.Appended())
		return result(err, "durable %d", s.log.Durable())
	case "close":
		return result(s.log.Close(), "ok")
	case "trim":
		return result(s.log.Trim(LSN(arg("lsn", 0))), "ok")
	case "crash":
		how := memdisk.Keep
		if d.HasArg("drop") {
			how = memdisk.Drop
		}
		s.fs = s.fs.Crash(how, nil)
	case "damage":
		file[arg("at", 0)] ^= 1
	case "wipe":
		clear(file[arg("from", 0):arg("to", 0)])
	case "rm":
		s.fs.Put(name, nil)
	case "cutoff":
		s.fs.Put(name, file[:arg("size", 0)])
	case "save":
		s.old = slices.Clone(file)
	case "restore":
		copy(file[arg("from", 0):], s.old[arg("from", 0):])
		s.fs.SettleFile(name)
	case "ls":
		return s.list()
	default:
		d.Fatalf(t, "unknown command")
	}
	return ""
}

func result(err error, format string, args ...any) string {
	if err != nil {
		return fmt.Sprintln("error:", err)
	}
	return fmt.Sprintf(format+"\n", args...)
}

func (s *script) path(k int) string { return filepath.Join(testDir, fmt.Sprintf("%016x.log", k)) }

func (s *script) open(from LSN, salt uint32, readOnly bool) string {
	o := testOptions(s.fs)
	o.Salt, o.ReadOnly = salt, readOnly
	var out strings.Builder
	l, err := Open(o)
	if err == nil {
		s.log = l
		var stats Stats
		stats, err = l.Replay(from, func(payload []byte, end LSN) error {
			fmt.Fprintf(&out, "%.8s (%d) end %d\n", payload, len(payload), end)
			return nil
		})
		if err == nil {
			fmt.Fprintf(&out, "log ends at %d: %v\n", stats.End, stats.Torn)
		}
	}
	if err != nil {
		fmt.Fprintln(&out, "error:", err)
		fmt.Fprintln(&out, "corrupt:", errors.Is(err, disk.ErrCorrupt))
	}
	return out.String()
}

func (s *script) list() string {
	var out strings.Builder
	for _, name := range s.fs.Names() {
		data := s.fs.Bytes(name)
		n := len(data)
		for n > 0 && data[n-1] == 0 {
			n--
		}
		fmt.Fprintf(&out, "%s %d of %d\n", filepath.Base(name), n, len(data))
	}
	return out.String()
}

// withoutB returns what is left of a log with A, B and C, of which a crash has lost
// B, and its segment. A new record and its mark have just the room of B.
func withoutB(t *testing.T) (m *memdisk.FS, segment string) {
	t.Helper()
	m = memdisk.New()
	l := mustOpen(t, testOptions(m))
	a := mustAppend(t, l, "A")
	b := mustAppend(t, l, strings.Repeat("B", recordBytes(1)+markBytes-payloadAt))
	mustAppend(t, l, "C")
	if err := l.Write(l.Appended()); err != nil {
		t.Fatal(err)
	}
	m = m.Crash(memdisk.Keep, nil)
	segment = filepath.Join(testDir, "0000000000000000.log")
	clear(m.Bytes(segment)[a:b])
	return m, segment
}

// TestResurrection shows what the zeros of a cut are for. A log has A, B, C, of
// which a crash loses B. It is cut after A, D and its mark take the place of B,
// and there is a second crash. C must stay away; without the zeros (the test puts
// the old bytes back) it returns.
func TestResurrection(t *testing.T) {
	for _, zeros := range []bool{true, false} {
		m, segment := withoutB(t)
		before := slices.Clone(m.Bytes(segment))

		l, got := replayAll(t, testOptions(m), 0)
		if want := []string{"A"}; !slices.Equal(got, want) {
			t.Fatalf("after crash 1: %q, want %q", got, want)
		}
		if !zeros {
			copy(m.Bytes(segment), before)
			m.SettleFile(segment)
		}
		mustSync(t, l, mustAppend(t, l, "D"))

		want := []string{"A", "D"}
		if !zeros {
			want = append(want, "C")
		}
		if _, got = replayAll(t, testOptions(m.Crash(memdisk.Keep, nil)), 0); !slices.Equal(got, want) {
			t.Errorf("zeros %t: after crash 2: %q, want %q", zeros, got, want)
		}
	}
}

// TestDuringReplay calls what may be called while fn runs.
func TestDuringReplay(t *testing.T) {
	m := memdisk.New()
	l := mustOpen(t, testOptions(m))
	for range 10 {
		mustSync(t, l, mustAppend(t, l, strings.Repeat("x", 2000)))
	}
	m = m.Crash(memdisk.Drop, nil)
	l, err := Open(testOptions(m))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(nil); !errors.Is(err, ErrOrder) {
		t.Errorf("Append before Replay: %v", err)
	}
	_, err = l.Replay(0, func(payload []byte, end LSN) error {
		if err := l.Sync(context.Background(), end); err != nil {
			t.Errorf("Sync(%d): %v", end, err)
		}
		if err := l.Sync(context.Background(), end+1); !errors.Is(err, ErrOrder) {
			t.Errorf("Sync(%d): %v", end+1, err)
		}
		if l.Durable() != end || l.Appended() != end {
			t.Errorf("durable %d, appended %d, want %d", l.Durable(), l.Appended(), end)
		}
		return l.Trim(end)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replay(0, nil); !errors.Is(err, ErrOrder) {
		t.Errorf("second Replay: %v", err)
	}
	if n := len(m.Names()); n > 4 {
		t.Errorf("%d segments left by Trim", n)
	}
	mustSync(t, l, mustAppend(t, l, "y"))
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplayError checks that an error of fn comes out and leaves a log that can
// only be closed.
func TestReplayError(t *testing.T) {
	m := memdisk.New()
	l := mustOpen(t, testOptions(m))
	mustSync(t, l, mustAppend(t, l, "x"))
	l, err := Open(testOptions(m))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replay(0, func([]byte, LSN) error { return os.ErrInvalid }); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("Replay: %v", err)
	}
	if _, err := l.Append(nil); !errors.Is(err, ErrOrder) {
		t.Errorf("Append: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// FuzzReplay gives Replay any bytes as segments. It must not panic, must not
// take more memory than they do, and what it makes of them must be a log: the
// records that it has found, and the one that is appended, are found again.
func FuzzReplay(f *testing.F) {
	f.Add(uint16(0), []byte{})
	f.Fuzz(func(t *testing.T, from uint16, data []byte) {
		if len(data) > 1<<20 {
			t.Skip()
		}
		m := memdisk.New()
		data = append(data, make([]byte, -len(data)&4095)...)
		for k := range len(data) / 4096 {
			b := slices.Clone(data[4096*k:][:4096])
			m.Put(filepath.Join(testDir, fmt.Sprintf("%016x.log", k)), b)
		}
		start := LSN(from) * recordAlign

		l, err := Open(testOptions(m))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		stats, err := l.Replay(start, func(payload []byte, end LSN) error {
			found = append(found, string(payload))
			return nil
		})
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(16*len(data)+8<<20) {
			t.Errorf("%d bytes allocated for %d", took, len(data))
		}
		if err != nil {
			if !errors.Is(err, disk.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if l.Durable() != stats.End {
			t.Errorf("durable %d, end %d", l.Durable(), stats.End)
		}
		mustSync(t, l, mustAppend(t, l, "appended"))
		l, again := replayAll(t, testOptions(m.Crash(memdisk.Drop, nil)), start)
		if want := append(found, "appended"); !slices.Equal(again, want) {
			t.Fatalf("found %q, then %q", want, again)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFuzzSeeds writes the seeds of FuzzReplay anew if -rewrite is given; they
// are logs with records of some sizes, whole and damaged.
func TestFuzzSeeds(t *testing.T) {
	if !slices.Contains(os.Args, "-rewrite") {
		t.Skip("only with -rewrite")
	}
	m := memdisk.New()
	l := mustOpen(t, testOptions(m))
	var ends []LSN
	for i, n := range []int{0, 1, 7, 300, 3000, 4096, 9000, 20} {
		end := mustAppend(t, l, strings.Repeat("s", n))
		ends = append(ends, end)
		if i%2 == 1 {
			mustSync(t, l, end)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log []byte
	for _, name := range m.Names() {
		log = append(log, m.Bytes(name)...)
	}
	flipped, tornLog := slices.Clone(log), slices.Clone(log)
	flipped[30] ^= 1
	clear(tornLog[ends[6]-512:])
	noise := make([]byte, 5000)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, seed := range map[string]struct {
		from uint16
		data []byte
	}{
		"whole":    {0, log},
		"from":     {uint16(ends[3] / recordAlign), log},
		"off":      {1, log},
		"beyond":   {60000, log},
		"flipped":  {0, flipped},
		"torn":     {0, tornLog},
		"shifted":  {0, log[8:]},
		"noise":    {0, noise},
		"one-word": {0, log[:8]},
	} {
		text := fmt.Sprintf("go test fuzz v1\nuint16(%d)\n[]byte(%q)\n", seed.from, seed.data)
		path := filepath.Join("testdata/fuzz/FuzzReplay", name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, _ := replayAll(t, o, 0)
	return l
}

// replayAll opens a log and returns its payloads.
func replayAll(t testing.TB, o Options, from LSN) (*Log, []string) {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	_, err = l.Replay(from, func(payload []byte, end LSN) error {
		got = append(got, string(payload))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, got
}

func mustAppend(t testing.TB, l *Log, payload string) LSN {
	t.Helper()
	end, err := l.Append([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func mustSync(t testing.TB, l *Log, lsn LSN) {
	t.Helper()
	if err := l.Sync(context.Background(), lsn); err != nil {
		t.Fatal(err)
	}
	if l.Durable() < lsn {
		t.Fatalf("durable %d after Sync(%d)", l.Durable(), lsn)
	}
}
