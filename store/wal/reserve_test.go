package wal

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"

	"faultline/internal/disk"
	"faultline/internal/memdisk"
)

// TestReserve appends to a log on a disk that is full, each record after it was
// reserved: at some point that is refused, and the log goes on; urgent records have half
// a segment more. When something is trimmed, or there is room again, so have the others.
// All that was appended is there afterwards.
func TestReserve(t *testing.T) {
	const segment = 16 << 10
	m := memdisk.New()
	o := Options{FS: m, Dir: "/d/wal", SegmentBytes: segment, BufferBytes: 4 << 10, NoHelper: true}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Replay(0, nil); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("r"), 100)
	appended := 0
	fill := func(urgent bool) (n int) {
		t.Helper()
		for ; ; n++ {
			err := l.Reserve(len(payload), urgent)
			if errors.Is(err, disk.ErrNoSpace) && errors.Is(err, syscall.ENOSPC) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err = l.Append(payload); err != nil {
				t.Fatal(err)
			}
			l.Release(len(payload))
			if err := l.Sync(context.Background(), l.Appended()); err != nil { // with a mark each time
				t.Fatal(err)
			}
			appended++
		}
	}
	if err := l.Reserve(len(payload), false); err != nil {
		t.Fatal(err)
	}
	l.Release(len(payload))
	m.SetQuota(m.Used() + 5*segment/2)
	fill(false)
	perRecord := int(reservation(len(payload)))
	if n := fill(true); n < segment/2/perRecord-2 {
		t.Errorf("%d urgent records, want %d", n, segment/2/perRecord)
	}
	if n := fill(false); n != 0 {
		t.Errorf("%d more records", n)
	}
	trimmed := l.Appended()
	if err := l.Trim(trimmed); err != nil {
		t.Fatal(err)
	}
	before := appended
	if n := fill(false); n < segment/perRecord {
		t.Errorf("%d records after a trim", n)
	}
	m.SetQuota(m.Used() + 3*segment)
	if n := fill(false); n < segment/perRecord {
		t.Errorf("%d records after there was room", n)
	}
	if n := l.reserved.Load(); n != 0 {
		t.Errorf("%d bytes reserved at the end", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(o); err != nil {
		t.Fatal(err)
	}
	stats, err := l.Replay(trimmed, func([]byte, LSN) error { return nil })
	if err != nil || stats.Records != int64(appended-before) {
		t.Errorf("%d records found, %v, want %d", stats.Records, err, appended-before)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
