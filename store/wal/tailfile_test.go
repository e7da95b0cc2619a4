package wal

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
)

// TestTailCleared takes a tail file of which a power cut has kept one half and
// lost the other, with the record before, and lets the log go on with a record
// that ends where the kept one begins. That one must not come back: neither after
// a kill, for which the file must have been zeroed, nor after a power cut that
// keeps of the tail file only what was synced, for which the zeros must have been.
func TestTailCleared(t *testing.T) {
	for _, how := range []memdisk.Loss{memdisk.Kill, memdisk.Drop} {
		m := memdisk.New()
		a, b, c := strings.Repeat("a", 1000), strings.Repeat("b", 1000), strings.Repeat("c", 1000)
		options := func(m *memdisk.FS) Options {
			o := mappedOptions(m)
			o.BufferBytes = 1200 // a record in each half
			return o
		}
		l := mustOpen(t, options(m))
		for _, payload := range []string{a, b} {
			if _, err := l.Append([]byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		m = m.Crash(memdisk.Kill, nil)
		for _, name := range m.Names() {
			if name == filepath.Join(testDir, tailName) {
				clear(m.Bytes(name)[:512])
				m.SettleFile(name)
			} else {
				m.Forget(name)
			}
		}

		l, got, _, err := replayInto(options(m), 0)
		if err != nil || len(got) != 0 {
			t.Fatalf("%v: %d records, %v, want none", how, len(got), err)
		}
		end, err := l.Append([]byte(c))
		if err == nil && how == memdisk.Drop {
			err = l.Sync(context.Background(), end)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, got, _, err = replayInto(options(m.Crash(how, nil)), 0)
		if err != nil || len(got) != 1 || got[0] != c {
			t.Errorf("%v: found %.1q, %v, want only the record after the cut", how, got, err)
		}
	}
}

// TestTailHalves appends until both halves have been used several times, with
// records that outgrow one, kills the process after every record, and looks for
// all that was appended: none was written by a call.
func TestTailHalves(t *testing.T) {
	m := memdisk.New()
	l := mustOpen(t, mappedOptions(m))
	var want []string
	for i := range 60 {
		size := 700
		if i%13 == 12 {
			size = 9000
		}
		payload := strings.Repeat(string(rune('A'+i)), size)
		end, err := l.Append([]byte(payload))
		if err == nil && size > 4096 {
			err = l.Write(end) // it is not in the tail file
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, payload)
		if l.Written() < end && size < 4096 && i%13 > 6 {
			t.Errorf("record %d: appended up to %d, %d in the kernel", i, end, l.Written())
		}
		for _, readOnly := range []bool{true, false} {
			o := mappedOptions(m.Crash(memdisk.Kill, nil))
			o.ReadOnly = readOnly
			r, got, stop, err := replayInto(o, 0)
			if err != nil || stop < l.Written() || !slices.Equal(got, want[:len(got)]) {
				t.Fatalf("record %d, read-only %t: %d records up to %d, %v, want up to %d",
					i, readOnly, len(got), stop, err, l.Written())
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestTailMark loses the end of the segments of a killed process: the whole of the
// last one, with several groups that were synced. The tail file has the newest group
// only, but with its mark: Replay must not take the log for one that ends before. The
// segments as they were must replay.
func TestTailMark(t *testing.T) {
	m := memdisk.New()
	l := mustOpen(t, mappedOptions(m))
	for range 12 {
		mustSync(t, l, mustAppend(t, l, strings.Repeat("a", 500)))
	}
	last := l.segs.path(l.segs.number(l.Appended()))
	for _, lost := range []bool{false, true} {
		left := m.Crash(memdisk.Kill, nil)
		if lost {
			clear(left.Bytes(last))
			left.Settle()
		}
		_, got, _, err := replayInto(mappedOptions(left), 0)
		if lost && (!errors.Is(err, disk.ErrCorrupt) || !strings.Contains(err.Error(), tailName)) {
			t.Errorf("%s lost: %d records, %v", last, len(got), err)
		}
		if !lost && (err != nil || len(got) != 12) {
			t.Errorf("as it was: %d records, %v", len(got), err)
		}
	}
}
