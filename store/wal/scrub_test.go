package wal

import (
	"bytes"
	"context"
	"testing"

	"faultline/internal/memdisk"
)

// TestScrubTrimmed trims a log while it is scrubbed, in front of where the scrub is: what
// is gone, or used again by then, must not be reported.
func TestScrubTrimmed(t *testing.T) {
	l, err := Open(Options{FS: memdisk.New(), Dir: "/d/wal", SegmentBytes: 64 << 10, BufferBytes: 16 << 10, NoHelper: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Replay(0, nil); err != nil {
		t.Fatal(err)
	}
	grow := func(to LSN) {
		t.Helper()
		for l.Appended() < to {
			if _, err := l.Append(bytes.Repeat([]byte("r"), 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Sync(context.Background(), l.Appended()); err != nil {
			t.Fatal(err)
		}
	}
	grow(4 * readBytes)
	_, end := l.ScrubSpan()
	calls := 0
	_, err = l.Scrub(Scrub{
		Passed: func(int64) error {
			if calls++; calls > 1 {
				return nil
			}
			at := l.Appended()
			if err := l.Trim(at); err != nil {
				return err
			}
			grow(at + 2*readBytes)
			return nil
		},
		Bad: func(err error) { t.Errorf("reported: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if from, _ := l.ScrubSpan(); calls < 2 || from < end-readBytes {
		t.Errorf("%d calls, the log begins at %d", calls, from)
	}
}
