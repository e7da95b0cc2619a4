package flusher

import (
	"errors"
	"testing"

	"faultline/internal/memdisk"
)

// TestJournalForgotten fails the sync of a journal in the way of the kernel: what it was
// to write is lost, can still be read, and a later sync says that all is well. The process
// dies, and the power is cut before each call of the recovery. Had that built on the
// journal, pages would be in place with nothing to repair them: they must be those of the
// cut before.
func TestJournalForgotten(t *testing.T) {
	r := newRig(t, memdisk.New())
	r.fs.Drops = r.path("journal")
	r.open()
	r.writeAll()
	r.checkpoint()
	want := r.done
	r.write(1, 3, 4)
	r.fail = func(l string) error {
		if l == "j" {
			return errDisk
		}
		return nil
	}
	if err := r.tryCheckpoint(); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	r.abandon()
	every := func() (ways []memdisk.Loss) {
		for how := range memdisk.NumLoss {
			ways = append(ways, how)
		}
		return ways
	}
	crashes(t, r, r.fs, every, func(r *rig) error {
		if err := r.tryOpen(false); err != nil {
			return err
		}
		_, err := r.tryCheck()
		return errors.Join(err, r.f.closeFiles())
	}, func(r *rig, left *memdisk.FS, when string) {
		r = r.reopened(left)
		r.open()
		if lsn := r.check(when); lsn != want {
			t.Errorf("%s: cut %d, want %d", when, lsn, want)
		}
		r.abandon()
	})
}
