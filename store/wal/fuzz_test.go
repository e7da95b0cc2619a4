package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
)

// tailOf makes a tail file of what script says. Four bytes make a record with the
// crc that it needs: which half it is in, its kind, how far its LSN is from the end
// of the one before there, the length of its payload, and what is in it.
func tailOf(script []byte) []byte {
	const half = 4096
	mem := make([]byte, 2*half)
	var at [2]int
	var lsn [2]LSN
	for ; len(script) >= 4; script = script[4:] {
		i, kind := script[0]&1, KindBatch
		payload := bytes.Repeat(script[3:4], int(script[2])*3)
		if script[0]&2 != 0 {
			kind = KindMark
			payload = binary.LittleEndian.AppendUint64(nil, uint64(script[3])*recordAlign)
		}
		n := recordBytes(len(payload))
		if at[i]+n > half {
			continue
		}
		lsn[i] += LSN(int8(script[1])) * recordAlign
		putRecord(mem[int(i)*half+at[i]:][:n], lsn[i], kind, payloadCRC(testSalt, payload), payload)
		at[i] += n
		lsn[i] += LSN(n)
	}
	return mem
}

// FuzzTail gives Replay a tail file of records in any order, then with some bytes
// changed, beside a log that has two records. It must not panic, and what it makes
// of them must be a log: the records of the segments come first, and all that was
// found is found again, with the one that is appended.
func FuzzTail(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint16(0))
	f.Add([]byte{0, 0, 5, 'a', 0, 0, 5, 'b', 1, 8, 20, 'c'}, []byte{}, uint16(0))
	f.Add([]byte{0, 6, 5, 'a', 1, 11, 5, 'b', 3, 0, 0, 3}, []byte{0xff}, uint16(17))
	m := memdisk.New()
	l := mustOpen(f, testOptions(m))
	first := []string{"first", "second, and longer than the first"}
	for _, payload := range first {
		mustSync(f, l, mustAppend(f, l, payload))
	}
	f.Fuzz(func(t *testing.T, script, patch []byte, at uint16) {
		tail := tailOf(script)
		copy(tail[int(at)%len(tail):], patch)
		m := m.Crash(memdisk.Kill, nil)
		m.Put(filepath.Join(testDir, tailName), tail)
		l, found, end, err := replayInto(mappedOptions(m), 0)
		if err != nil {
			if !errors.Is(err, disk.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if len(found) < len(first) || !slices.Equal(found[:len(first)], first) {
			t.Fatalf("found %q", found)
		}
		if l.Durable() != end {
			t.Errorf("durable %d, end %d", l.Durable(), end)
		}
		mustSync(t, l, mustAppend(t, l, "appended"))
		last, again := replayAll(t, mappedOptions(m.Crash(memdisk.Drop, nil)), 0)
		if err := errors.Join(l.Close(), last.Close()); err != nil {
			t.Error(err)
		}
		if want := append(found, "appended"); !slices.Equal(again, want) {
			t.Fatalf("found %q, then %q", want, again)
		}
	})
}
