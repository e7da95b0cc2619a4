package wal

import (
	"fmt"

	"faultline/internal/disk"
)

// A full disk must be met before a record is appended, for what comes after cannot
// be refused any more: so who appends reserves first, and finds the segments made.
//
//	appended     reserved     kept for urgent records        end
//	   |            |                   |                      |
//	---+------------+--- half a segment +----------------------+   made, or spare
//
// The half segment that only urgent records may use is for deletes: on a full disk
// they must go on until a checkpoint trims the log, which makes spares.

// Reserve keeps room in the log for a record with n bytes of payload, until Release.
// It makes the segments that the record needs, and may wait for that. The error wraps
// disk.ErrNoSpace if there is no room for them: the log is then as it was, and goes
// on. urgent says that the record may use what is kept for such.
func (l *Log) Reserve(n int, urgent bool) error {
	if err := l.err(); err != nil {
		return err
	}
	size := reservation(n)
	reserved := l.reserved.Add(size)
	// Records that were appended since reserved was read count twice, never not at all.
	end := l.appended.Load() + uint64(reserved) + markBytes
	if !urgent {
		end += l.segs.size / 2
	}
	if end <= l.segs.end.Load() {
		return nil
	}
	err := l.segs.ready(l.segs.number(LSN(end - 1)))
	if err == nil {
		return nil
	}
	l.reserved.Add(-size)
	if disk.Full(err) && !l.segs.isBroken() {
		return disk.NoSpace(fmt.Errorf("make room in the log: %w", err))
	}
	return l.stop(fmt.Errorf("make room in the log: %w", err))
}

// Release ends a Reserve of n bytes, after the record is appended or was given up.
func (l *Log) Release(n int) { l.reserved.Add(-reservation(n)) }

// reservation is what a record with n bytes of payload needs at most: no mark comes
// without a record before it.
func reservation(n int) int64 { return int64(recordBytes(n) + markBytes) }
